/* cloche doctor --spec: what of a file is wrong, and what Cloche ignores. */
#include "runtime/cli/cli.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

static void print_json(const char *path, const struct strings *ignored, const struct error *err)
{
    fputs("{\"spec\":", stdout);
    cli_print_json_string(stdout, path);
    fputs(",\"ignored\":[", stdout);
    for (size_t i = 0; i < ignored->count; i++) {
        fputs(i == 0 ? "" : ",", stdout);
        cli_print_json_string(stdout, ignored->items[i]);
    }
    fputs("],\"error\":", stdout);
    if (err->code == NULL) {
        puts("null}");
        return;
    }
    fputs("{\"code\":", stdout);
    cli_print_json_string(stdout, err->code);
    fputs(",\"message\":", stdout);
    cli_print_json_string(stdout, err->message);
    fputs("}}\n", stdout);
}

int cli_doctor_spec(const char *path, bool json)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    struct strings ignored = {0};
    const char *text = NULL, *bundle_dir = NULL;
    size_t size = 0;
    int r = spec_read_file(s->arena, path, &text, &size, &bundle_dir, &err);
    if (r == 0)
        r = spec_unknown_properties(s->arena, text, size, &ignored, &err);
    if (r == 0)
        r = spec_apply_json(s, text, size, bundle_dir, &err);
    if (r == 0)
        r = spec_validate(s, &err);

    if (json) {
        print_json(path, &ignored, &err);
    } else {
        for (size_t i = 0; i < ignored.count; i++)
            printf("ignored: %s\n", ignored.items[i]);
        if (r < 0 && strcmp(err.code, "spec.unreadable") == 0)
            return cli_fail(&err, false, EXIT_FAILURE);
        if (r < 0)
            printf("%s: %s\n", path, err.message);
        else
            printf("%s is a valid spec%s\n", path,
                   ignored.count == 0 ? "" : "; Cloche ignores the properties above");
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
