#include "base/cleanup.h"
#include "base/io.h"
#include "config/builtin.h"
#include "config/toolchain.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

Test(toolchain, every_built_in_one_is_valid_and_complete)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names = {0};
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    toolchain_names(a, &names);
    cr_expect_geq(names.count, 10);
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        struct error err = ERROR_INIT;
        cr_assert_eq(toolchain_load(&tc, names.items[i], &err), 0, "%s", err.message);
        cr_expect_str_eq(tc->name, names.items[i]);
        cr_expect_str_eq(tc->origin, "built in");
        cr_expect(tc->description[0] != '\0' && tc->package[0] != '\0');
        for (size_t k = 0; k < tc->default_flags.count; k++)
            cr_expect_eq(toolchain_check_flag(tc, tc->default_flags.items[k], &err), 0, "%s: %s",
                         tc->name, err.message);
    }
}

static char *packed(const struct toolchain *tc, size_t *ret_size)
{
    char *data = NULL;
    FILE *f = open_memstream(&data, ret_size);
    toolchain_pack(tc, f);
    fclose(f);
    return data;
}

Test(toolchain, what_the_build_packed_is_what_the_files_say)
{
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    size_t files = 0;
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++)
        files += strncmp(f->name, "toolchains/", 11) == 0;
    for (const struct packed_toolchain *p = packed_toolchains; p->name != NULL; p++, files--) {
        _cleanup_toolchain_ struct toolchain *loaded = NULL, *read = NULL;
        struct error err = ERROR_INIT;
        char file[64];
        size_t size, x_size, y_size;
        snprintf(file, sizeof file, "toolchains/%s.json", p->name);
        const char *text = config_builtin(file, &size);
        cr_assert_eq(toolchain_parse(&read, text, size, "built in", &err), 0, "%s", err.message);
        cr_assert_eq(toolchain_load(&loaded, p->name, &err), 0);
        _cleanup_free_ char *x = packed(loaded, &x_size), *y = packed(read, &y_size);
        cr_expect(x_size == y_size && memcmp(x, y, x_size) == 0, "%s", p->name);
        cr_expect(memcmp(p->data, y, y_size) == 0, "%s", p->name);
        cr_expect(strcmp(loaded->name, p->name) == 0 && loaded->compile.count > 0);
    }
    cr_expect_eq(files, 0);
}

static const struct {
    const char *file, *toolchain;
} files[] = {
    {"a.c", "c"},           {"dir.d/b.cpp", "cpp"},
    {"x.cc", "cpp"},        {"x.py", "python"},
    {"x.sh", "shell"},      {"Main.java", "java"},
    {"m.go", "go"},         {"m.rs", "rust"},
    {"x.js", "javascript"}, {"x.txt", NULL},
    {".c", NULL},           {"dir/.c", NULL},
    {"noextension", NULL},  {"", NULL},
    {"a.c/b", NULL},
};

Test(toolchain, is_chosen_by_extension)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        struct error err = ERROR_INIT;
        int r = toolchain_for_file(&tc, files[i].file, &err);
        if (files[i].toolchain == NULL) {
            cr_expect(r < 0 && strcmp(err.code, "toolchain.unknown") == 0, "%s", files[i].file);
            cr_expect(strstr(err.hint, ".cpp") != NULL, "%s", err.hint);
            cr_expect_eq(toolchain_for_file(&tc, files[i].file, NULL), -1);
        } else {
            cr_expect(r == 0 && strcmp(tc->name, files[i].toolchain) == 0, "%s", files[i].file);
        }
    }
}

static const struct {
    const char *flag;
    bool allowed;
} flags[] = {
    {"-O2", true},
    {"-O9", false},
    {"-Wall", true},
    {"-Wno-unused", true},
    {"-Wl,-rpath,/x", false},
    {"-Wp,-MD,/tmp/x", false},
    {"-Wa,-L", false},
    {"-fplugin=/x.so", false},
    {"-fwrapv", true},
    {"-specs=/x", false},
    {"--specs=/x", false},
    {"@file", false},
    {"-wrapper", false},
    {"-B/tmp", false},
    {"-o", false},
    {"-o/etc/x", false},
    {"-x", false},
    {"-include", false},
    {"-I/etc", true},
    {"-std=c99", true},
    {"-lm", true},
    {"-l/../x", false},
    {"-fuse-ld=gold", true},
    {"-fuse-ld=/bin/sh", false},
    {"-fdump-tree-all", false},
    {"-fsanitize=address", true},
    {"", false},
    {"-", false},
    {"x.c", false},
    {"-O2\n-x", false},
    {"-fprofile-generate", false},
    {"-iplugindir=/x", false},
    {"-T/x", false},
    {"-dumpdir", false},
    {"-save-temps", false},
    {"-M", false},
    {"-Xlinker", false},
    {"-static", true},
    {"-pipe", false},
};

Test(toolchain, flags_are_an_allow_list)
{
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(toolchain_load(&tc, "c", &err), 0);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        int r = toolchain_check_flag(tc, flags[i].flag, &err);
        cr_expect_eq(r == 0, flags[i].allowed, "%s", flags[i].flag);
        if (r < 0)
            cr_expect(strcmp(err.code, "compile.flag") == 0 && strstr(err.hint, "-O2") == NULL &&
                          strstr(err.hint, "-O[0123sg]") != NULL,
                      "%s", err.hint);
    }
}

#define GOOD                                                                                       \
    "{\"name\":\"x\",\"extensions\":[\".x\"],\"programs\":[\"sh\"],\"compile\":[\"sh\"],"          \
    "\"run\":[\"{program}\"],\"version\":[\"sh\"],\"paths\":[\"/usr\"]"

static const struct {
    const char *text, *says;
} bad[] = {
    {"{}", "name"},
    {"[", "toolchain.invalid"},
    {GOOD ",\"compilee\":[\"x\"]}", "compilee"},
    {GOOD ",\"diagnostics\":\"gcc\"}", "gcc-json"},
    {GOOD ",\"object\":[\"x\"]}", "link"},
    {GOOD ",\"artifact_name\":\"../x\"}", "artifact_name"},
    {GOOD ",\"env\":[\"NAME\"]}", "KEY=VALUE"},
    {GOOD ",\"memory_bytes\":-1}", "memory_bytes"},
    {GOOD ",\"identity\":[\"relative\"]}", "identity"},
};

Test(toolchain, bad_files_are_named_precisely)
{
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(toolchain_parse(&tc, GOOD "}", strlen(GOOD "}"), "f.json", &err), 0, "%s",
                 err.message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct toolchain *none = NULL;
        cr_expect_eq(toolchain_parse(&none, bad[i].text, strlen(bad[i].text), "f.json", &err), -1);
        cr_expect_str_eq(err.code, "toolchain.invalid");
        cr_expect(strstr(err.message, bad[i].says) != NULL || strcmp(bad[i].says, err.code) == 0,
                  "%s: %s", bad[i].text, err.message);
        cr_expect(strstr(err.message, "f.json") != NULL, "%s", err.message);
    }
}

Test(toolchain, a_file_of_the_users_comes_first)
{
    char dir[] = "/tmp/cloche-toolchain-XXXXXX", path[128];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/cloche", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/cloche/toolchains", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/cloche/toolchains/x.json", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(io_write_all(fd, GOOD "}", strlen(GOOD "}")), 0);
    close(fd);
    setenv("XDG_CONFIG_HOME", dir, 1);
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    struct error err = ERROR_INIT;
    cr_expect_eq(toolchain_for_file(&tc, "file.x", &err), 0, "%s", err.message);
    cr_expect_str_eq(tc->origin, path);

    /* and takes what the built-in one of its name does not */
    char own[160];
    snprintf(own, sizeof own, "%s/cloche/toolchains/go.json", dir);
    cr_assert_eq(rename(path, own), 0);
    _cleanup_toolchain_ struct toolchain *second = NULL;
    cr_expect_eq(toolchain_for_file(&second, "file.x", &err), 0, "%s", err.message);
    cr_expect_str_eq(second->origin, own);
    unlink(own);
    for (char *p = path + strlen(path); strlen(path) > strlen(dir); *p = '\0')
        p = strrchr(path, '/'), *p = '\0', rmdir(path);
}

Test(toolchain, templates)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings tmpl = {0}, sources = {0}, none = {0}, out = {0};
    const char *words[] = {"sh",        "{flags}",    "-o{output}:{depfile}",
                           "{sources}", "x{sources}", "{unknown}"};
    for (size_t i = 0; i < 6; i++)
        strings_add(a, &tmpl, words[i]);
    strings_add(a, &sources, "{output}");
    strings_add(a, &sources, "b c");
    struct toolchain_values v = {
        .sources = &sources, .flags = &none, .output = "/o", .depfile = "/d"};
    struct error err = ERROR_INIT;
    cr_assert_eq(toolchain_expand(a, &tmpl, &v, &out, &err), 0);
    const char *expected[] = {"-o/o:/d", "{output}", "b c", "x{sources}", "{unknown}"};
    cr_assert_eq(out.count, 6);
    cr_expect(out.items[0][0] == '/', "%s", out.items[0]);
    for (size_t i = 0; i < 5; i++)
        cr_expect_str_eq(out.items[i + 1], expected[i]);
    tmpl.items[0] = arena_strdup(a, "no-such-program");
    out = (struct strings){0};
    cr_expect_eq(toolchain_expand(a, &tmpl, &v, &out, &err), -1);
    cr_expect_str_eq(err.code, "toolchain.missing");
}
