/* The file of an administrator, and counting. */
#include "runtime/quota.h"

#include "base/io.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *text;
    uint64_t quota;
    bool good;
} files[] = {
    {"{}", QUOTA_NONE, true},
    {"{\"sandboxes\": 7}", 7, true},
    {"{\"sandboxes\": 0}", 0, true},
    {"{\"sandboxes\": 7, \"users\": {\"1000\": 3}}", 3, true},
    {"{\"sandboxes\": 7, \"users\": {\"1000\": 30}}", 30, true},
    {"{\"sandboxes\": 7, \"users\": {\"100\": 3, \"10000\": 4}}", 7, true},
    {"{\"users\": {\"1000\": 3}}", 3, true},
    {"", 0, false},
    {"7", 0, false},
    {"[7]", 0, false},
    {"{\"sandboxes\": -1}", 0, false},
    {"{\"sandboxes\": 1.5}", 0, false},
    {"{\"sandboxes\": \"7\"}", 0, false},
    {"{\"sandboxes\": 1e300}", 0, false},
    {"{\"sandbox\": 7}", 0, false},
    {"{\"sandboxes\": 7, \"users\": []}", 0, false},
    {"{\"sandboxes\": 7, \"users\": {\"1000\": null}}", 0, false},
    {"{\"sandboxes\": 7", 0, false},
};

Test(quota, files)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct error err = ERROR_INIT;
        uint64_t quota = 12345;
        int rc = quota_parse(files[i].text, strlen(files[i].text), 1000, &quota, &err);
        cr_assert_eq(rc, files[i].good ? 0 : -1, "%s: %d", files[i].text, rc);
        if (files[i].good)
            cr_assert_eq(quota, files[i].quota, "%s: %llu", files[i].text,
                         (unsigned long long)quota);
        else
            cr_assert_str_eq(err.code, "quota.invalid", "%s", files[i].text);
    }
}

Test(quota, counts_sandboxes_and_nothing_else)
{
    char top[] = "/tmp/quota-XXXXXX";
    static const char *const names[] = {"a", "b", ".new-1-c", ".gone-1-d"};
    struct error err = ERROR_INIT;
    cr_assert(mkdtemp(top) != NULL);
    int all = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(mkdirat(all, names[i], 0700), 0);
    cr_expect_eq(quota_check(all, QUOTA_NONE, &err), 0);
    cr_expect_eq(quota_check(all, 100, &err), 0);
    cr_expect_eq(quota_check(all, 3, &err), 0);
    cr_expect_eq(quota_check(all, 2, &err), -1);
    cr_expect_str_eq(err.code, "quota.sandboxes");
    cr_expect_eq(quota_check(all, 0, &err), -1);
    for (size_t i = 0; i < 4; i++)
        unlinkat(all, names[i], AT_REMOVEDIR);
    cr_expect_eq(quota_check(all, 0, &err), -1);
    cr_expect_eq(quota_check(all, 1, &err), 0);
    close(all);
    rmdir(top);
}
