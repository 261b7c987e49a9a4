/* What the build printed for the start program is what the reader says. */
#include "base/cleanup.h"
#include "config/builtin.h"
#include "config/spec.h"
#include "isolation/seccomp.h"
#include "runtime/start/compiled.h"

#include <criterion/criterion.h>
#include <string.h>

Test(start, compiled_profiles_equal_the_profiles_read)
{
    size_t files = 0, compiled = 0;
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++)
        files += strncmp(f->name, "profiles/", 9) == 0;
    for (const struct compiled_profile *p = compiled_profiles; p->name != NULL; p++, compiled++) {
        struct error err = ERROR_INIT;
        _cleanup_spec_ struct spec *read = spec_new(), *printed = spec_new();
        cr_assert_eq(spec_apply_profile(read, p->name, &err), 0, "%s", err.message);
        p->apply(printed);
        _cleanup_free_ char *a = spec_to_json(read), *b = spec_to_json(printed);
        cr_assert_str_eq(a, b);
    }
    cr_assert_eq(files, compiled);
    cr_assert_gt(files, 0);
}

Test(start, compiled_filters_equal_the_filters_built)
{
    size_t compiled = 0;
    for (const struct compiled_filter *f = compiled_filters; f->name != NULL; f++, compiled++) {
        struct error err = ERROR_INIT;
        char name[96];
        snprintf(name, sizeof name, "seccomp/%s.json", f->name);
        struct seccomp_filter built;
        cr_assert_eq(seccomp_filter_build(&built, config_builtin(name, NULL), &err), 0, "%s",
                     err.message);
        cr_assert_eq(built.count, f->count);
        cr_assert_eq(built.notifies, f->notifies);
        cr_assert_eq(built.flags, f->flags);
        cr_assert_arr_eq(built.instructions, f->instructions, f->count * sizeof *f->instructions);
        seccomp_filter_free(&built);
    }
    cr_assert_gt(compiled, 0);
}
