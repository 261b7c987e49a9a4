/* Whole files: the corpus in tests/spec, and what the installed runtimes write. */
#include "base/cleanup.h"
#include "config/spec.h"
#include "tests/unit/spec_equal.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_spec(struct spec *s, const char *path, struct error *err)
{
    *err = (struct error)ERROR_INIT;
    if (spec_apply_file(s, path, err) < 0)
        return -1;
    return spec_validate(s, err);
}

static void expect_files(const char *pattern, size_t least, void (*check)(const char *path))
{
    glob_t found;
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "no %s here", pattern);
    cr_assert_geq(found.gl_pathc, least, "%zu of %s", found.gl_pathc, pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check(found.gl_pathv[i]);
    globfree(&found);
}

static void check_good(const char *path)
{
    _cleanup_spec_ struct spec *s = spec_new(), *back = spec_new();
    struct error err;
    cr_expect_eq(read_spec(s, path, &err), 0, "%s", err.message);
    if (err.code != NULL)
        return;
    _cleanup_free_ char *json = spec_to_json(s);
    cr_expect_eq(spec_apply_json(back, json, strlen(json), NULL, &err), 0, "%s: %s\n%s", path,
                 err.message, json);
    const char *differs = spec_differs(s, back);
    cr_expect_null(differs, "%s: written and read again it differs in %s\n%s", path, differs, json);
}

Test(spec_files, good)
{
    expect_files("tests/spec/good/*.json", 15, check_good);
}

/* "CODE MESSAGE" in the file beside it; the message without the file's name in front */
static void check_bad(const char *path)
{
    char beside[PATH_MAX], expected[5000] = "", got[5000];
    snprintf(beside, sizeof beside, "%.*sexpected", (int)(strlen(path) - 4), path);
    _cleanup_fclose_ FILE *f = fopen(beside, "re");
    cr_assert_not_null(f, "no %s", beside);
    size_t n = fread(expected, 1, sizeof expected - 1, f);
    expected[n > 0 && expected[n - 1] == '\n' ? n - 1 : n] = '\0';

    _cleanup_spec_ struct spec *s = spec_new();
    struct error err;
    cr_expect_eq(read_spec(s, path, &err), -1, "%s was taken", path);
    const char *message = err.message;
    if (strncmp(message, path, strlen(path)) == 0)
        message += strlen(path) + 2;
    snprintf(got, sizeof got, "%s %s", err.code == NULL ? "none" : err.code, message);
    cr_expect_str_eq(got, expected, "%s:\n%s\nexpected:\n%s", path, got, expected);
}

Test(spec_files, bad)
{
    expect_files("tests/spec/bad/*.json", 25, check_bad);
}

Test(spec_files, unreadable)
{
    static const struct {
        const char *path, *why;
    } table[] = {
        {"tests/spec/nothing.json", "cannot read the spec \"tests/spec/nothing.json\": No such "
                                    "file or directory"},
        {"tests/spec", "cannot read the spec \"tests/spec\": Is a directory"},
        {"", "cannot read the spec \"\": No such file or directory"},
        {"/dev/zero", "cannot read the spec \"/dev/zero\": File too large"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        struct error err;
        cr_expect_eq(read_spec(s, table[i].path, &err), -1);
        cr_expect_str_eq(err.code, "spec.unreadable");
        cr_expect_str_eq(err.message, table[i].why);
        cr_expect_str_eq(err.path, table[i].path);
    }
}

/* --- files by other runtimes ----------------------------------------------------------------- */

static void check_written_by(const char *tool, const char *arguments, enum spec_network network)
{
    char dir[] = "/tmp/cloche-spec-XXXXXX", command[256], path[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(command, sizeof command, "command -v %s >/dev/null", tool);
    bool installed = system(command) == 0;
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (installed) {
        snprintf(command, sizeof command, "cd %s && %s spec %s", dir, tool, arguments);
        cr_expect_eq(system(command), 0, "%s", command);

        _cleanup_spec_ struct spec *s = spec_new();
        struct error err;
        cr_expect_eq(read_spec(s, path, &err), 0, "%s", err.message);
        char rootfs[64];
        snprintf(rootfs, sizeof rootfs, "%s/rootfs", dir);
        cr_expect_str_eq(s->rootfs_path, rootfs);
        cr_expect(s->rootfs == ROOTFS_DIR && s->rootfs_readonly);
        cr_expect_str_eq(s->args.items[0], "sh");
        cr_expect_eq(s->mount_count, 7);
        cr_expect_eq(s->network, network);
        cr_expect(s->ns_new[NS_USER], "always");
        check_good(path);
    }
    unlink(path);
    cr_expect_eq(rmdir(dir), 0);
    if (!installed)
        cr_skip_test("%s is not installed", tool);
}

Test(spec_files, written_by_runc)
{
    check_written_by("runc", "", NETWORK_NONE);
}

Test(spec_files, written_by_runc_rootless)
{
    check_written_by("runc", "--rootless", NETWORK_HOST);
}

Test(spec_files, written_by_crun)
{
    check_written_by("crun", "", NETWORK_NONE);
}

Test(spec_files, written_by_crun_rootless)
{
    check_written_by("crun", "--rootless", NETWORK_NONE);
}
