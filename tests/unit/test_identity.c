#include "compiler/identity.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const tree[] = {
    "lib/",           "lib/b-gnu/",     "lib/a-gnu/",       "lib/.c-gnu/",    "lib/d-gnu",
    "lib/b-gnu/x.so", "lib/a-gnu/x.so", "lib/a-gnu/y.so.1", "lib/a-gnu/sub/", "lib/a-gnu/sub/z"};
static const char *const patterns[] = {"lib/*-gnu/x.so", "lib/*-gnu/*.so*", "lib/*-gnu/x.so",
                                       "lib/*/sub/[yz]", "lib/?-gnu",       "none/*/x",
                                       "lib/*-none/x",   "lib/.*-gnu"};

/* What stands there of @list, relative to @top. */
static void print(struct arena *a, const char **text, const char *top, const char *path)
{
    if (access(path, F_OK) == 0)
        *text = arena_printf(a, "%s%s\n", *text, path + strlen(top));
}

Test(identity, patterns_are_matched_as_glob_does)
{
    _cleanup_arena_ struct arena *a = arena_new();
    char top[] = "/tmp/cloche-identity-XXXXXX";
    cr_assert_not_null(mkdtemp(top));
    for (size_t i = 0; i < sizeof tree / sizeof *tree; i++) {
        const char *path = arena_printf(a, "%s/%s", top, tree[i]);
        bool is_dir = path[strlen(path) - 1] == '/';
        cr_assert_eq(is_dir ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0), 0, "%s", path);
    }
    struct strings list = {0}, found = {0};
    const char *expected = "", *text = "";
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        const char *pattern = arena_printf(a, "%s/%s", top, patterns[i]);
        strings_add(a, &list, pattern);
        glob_t all;
        if (glob(pattern, 0, NULL, &all) == 0) {
            for (size_t k = 0; k < all.gl_pathc; k++)
                print(a, &expected, top, all.gl_pathv[k]);
        }
        globfree(&all);
    }
    identity_glob(a, &list, &found);
    for (size_t i = 0; i < found.count; i++)
        print(a, &text, top, found.items[i]);
    cr_expect_str_eq(text, expected);
    cr_expect_not_null(strstr(text, "/lib/a-gnu/x.so\n/lib/b-gnu/x.so\n/lib/a-gnu/x.so\n"), "%s",
                       text);
    for (size_t i = sizeof tree / sizeof *tree; i-- > 0;)
        remove(arena_printf(a, "%s/%s", top, tree[i]));
    rmdir(top);
}
