/* The pure parts of isolation/cgroup*.c: what /proc says, however strange, and names. */
#include "isolation/cgroup_impl.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

static struct cgroup_layout layout;
static char self_text[8192], mountinfo_text[65536];

static void parse(const char *self, const char *mountinfo)
{
    memset(&layout, 0, sizeof layout);
    snprintf(self_text, sizeof self_text, "%s", self);
    snprintf(mountinfo_text, sizeof mountinfo_text, "%s", mountinfo);
    cgroup_parse_self(&layout, self_text);
    cgroup_parse_mountinfo(&layout, mountinfo_text);
}

#define HYBRID_SELF                                                                                \
    "8:pids:/\n7:blkio:/b\n4:memory:/outer/inner\n2:cpu,cpuacct:/c\n9:name=systemd:/\n0::/u\n"
#define HYBRID_MOUNTS                                                                              \
    "30 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                                   \
    "32 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup "                \
    "rw,cpu,cpuacct\n"                                                                             \
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:1 master:2 - cgroup cgroup rw,memory\n"          \
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"                                \
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"               \
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"

Test(cgroup_parse, hybrid)
{
    const char *rel;
    parse(HYBRID_SELF, HYBRID_MOUNTS);
    cr_assert_eq(layout.mount_count, 4);
    cr_assert_str_eq(layout.own_v1[CTL_MEMORY], "/outer/inner");
    cr_assert_str_eq(layout.own_v1[CTL_CPU], "/c");
    cr_assert_str_eq(layout.own_v1[CTL_CPUACCT], "/c");
    cr_assert_str_eq(layout.own_v1[CTL_IO], "/b");
    cr_assert_null(layout.own_v1[CTL_CPUSET]);
    cr_assert_str_eq(layout.own_v2, "/u");

    const struct cgroup_mount *m = cgroup_find_mount(&layout, CTL_MEMORY, 0, &rel);
    cr_assert_not_null(m);
    cr_assert_str_eq(m->point, "/sys/fs/cgroup/memory");
    cr_assert_str_eq(rel, "outer/inner");
    cr_assert_eq(m->dev, makedev(0, 32));
    m = cgroup_find_mount(&layout, CTL_CPU, 0, &rel);
    cr_assert_eq(m->controllers, CTL_BIT(CTL_CPU) | CTL_BIT(CTL_CPUACCT));
    m = cgroup_find_mount(&layout, CTL_COUNT, 0, &rel);
    cr_assert_str_eq(m->point, "/sys/fs/cgroup/unified");
    cr_assert_str_eq(rel, "u");
    /* known to the kernel, mounted nowhere */
    cr_assert_null(cgroup_find_mount(&layout, CTL_IO, 0, &rel));
}

Test(cgroup_parse, pure_v2_in_a_container)
{
    const char *rel;
    parse("0::/docker/abc/shell\n",
          "29 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    const struct cgroup_mount *m = cgroup_find_mount(&layout, CTL_COUNT, 0, &rel);
    cr_assert_not_null(m);
    cr_assert_str_eq(rel, "shell");
}

Test(cgroup_parse, escaped_paths_and_every_later_mount)
{
    const char *rel;
    parse("0::/\n", "29 23 0:26 / /odd\\040place\\134x\\011 rw - cgroup2 none rw\n"
                    "30 23 0:26 / /second rw - cgroup2 none rw\n");
    const struct cgroup_mount *m = cgroup_find_mount(&layout, CTL_COUNT, 0, &rel);
    cr_assert_str_eq(m->point, "/odd place\\x\t");
    m = cgroup_find_mount(&layout, CTL_COUNT, (size_t)(m - layout.mounts) + 1, &rel);
    cr_assert_str_eq(m->point, "/second");
    cr_assert_null(cgroup_find_mount(&layout, CTL_COUNT, (size_t)(m - layout.mounts) + 1, &rel));
}

Test(cgroup_parse, hostile_mountinfo)
{
    static const char *const texts[] = {
        "",
        "\n\n\n",
        " - cgroup2 ",
        " - cgroup2 x rw",
        "29 23 0:26 / - cgroup2 cgroup2 rw",
        "29 23 0:26 / /x - cgroup2",
        "29 23 0:26 / /x rw - cgroup2 cgroup2",
        "29 23 0:26 / relative rw - cgroup2 cgroup2 rw",
        "29 23 0:26 relative /x rw - cgroup2 cgroup2 rw",
        "29 23 026 / /x rw - cgroup2 cgroup2 rw",
        "29 23 0: / /x rw - cgroup2 cgroup2 rw",
        "29 23 :26 / /x rw - cgroup2 cgroup2 rw",
        "29 23 0:99999999999999999999 / /x rw - cgroup2 cgroup2 rw",
        "29 23 -1:2 / /x rw - cgroup2 cgroup2 rw",
        "29 23 0:26 / /x rw - cgroup3 cgroup2 rw",
        "29 23 0:26 / /x rw - tmpfs cgroup2 rw",
        "29 23 0:26 / /x rw - cgroup cgroup rw,name=systemd",
        "29 23 0:26 / /x rw - cgroup cgroup rw,memoryx,xpids",
        "29 23 0:26 \\057 \\777 rw - cgroup2 cgroup2 rw",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        parse("0::/\n", texts[i]);
        cr_assert_eq(layout.mount_count, 0, "accepted: %s", texts[i]);
    }
}

Test(cgroup_parse, every_prefix_of_mountinfo)
{
    char text[sizeof HYBRID_MOUNTS];
    for (size_t n = 0; n < sizeof HYBRID_MOUNTS; n++) {
        memcpy(text, HYBRID_MOUNTS, n);
        text[n] = '\0';
        parse(HYBRID_SELF, text);
        cr_assert_leq(layout.mount_count, 4);
        for (size_t i = 0; i < layout.mount_count; i++)
            cr_assert_eq(layout.mounts[i].point[0], '/');
    }
}

Test(cgroup_parse, more_mounts_than_room)
{
    char text[CGROUP_MOUNTS_MAX * 2 * 64] = "";
    size_t used = 0;
    for (int i = 0; i < CGROUP_MOUNTS_MAX * 2; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "29 23 0:%d / /m%d rw - cgroup2 none rw\n", i, i);
    parse("0::/\n", text);
    cr_assert_eq(layout.mount_count, CGROUP_MOUNTS_MAX);
}

Test(cgroup_parse, hostile_self)
{
    static const char *const texts[] = {
        "",      ":",         "::",   "0:",   "0::",   "0::x",   "4:",     "4::",         "4:a:b",
        "4::/x", "memory:/x", "\n\n", "0:/x", "00::/", "1:m:/x", ":::/x:", "4:memoryx:/", "0:x:/"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        parse(texts[i], HYBRID_MOUNTS);
        cr_assert_null(layout.own_v2, "v2 from: %s", texts[i]);
        for (int c = 0; c < CTL_COUNT; c++)
            cr_assert_null(layout.own_v1[c], "v1 from: %s", texts[i]);
    }
    /* colons belong to the path behind the second one */
    parse("0::/a:b:c", "");
    cr_assert_str_eq(layout.own_v2, "/a:b:c");
}

Test(cgroup_parse, below_root)
{
    static const struct {
        const char *root, *own, *rel;
    } rows[] = {
        {"/", "/", ""},           {"/", "/a/b", "a/b"},   {"/a", "/a", ""},   {"/a", "/a/b", "b"},
        {"/a", "/ab", NULL},      {"/a/b", "/a", NULL},   {"/", "/..", NULL}, {"/", "/../x", NULL},
        {"/", "/..x/y", "..x/y"}, {"/..", "/../x", NULL}, {"/x", "/", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *rel = cgroup_below_root(rows[i].root, rows[i].own);
        if (rows[i].rel == NULL)
            cr_assert_null(rel, "%s below %s", rows[i].own, rows[i].root);
        else
            cr_assert_str_eq(rel, rows[i].rel);
    }
}

Test(cgroup_parse, controllers)
{
    cr_assert_eq(cgroup_parse_controllers("cpuset cpu io memory hugetlb pids rdma misc"),
                 CTL_BIT(CTL_CPUSET) | CTL_BIT(CTL_CPU) | CTL_BIT(CTL_IO) | CTL_BIT(CTL_MEMORY) |
                     CTL_BIT(CTL_HUGETLB) | CTL_BIT(CTL_PIDS));
    cr_assert_eq(cgroup_parse_controllers(""), 0);
    cr_assert_eq(cgroup_parse_controllers("  \n"), 0);
    cr_assert_eq(cgroup_parse_controllers("memoryx xpids cp blkio freezer cpuacct"), 0);
}

Test(cgroup_parse, names)
{
    char long_name[NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[NAME_MAX + 1] = '\0';
    static const char *const bad[] = {"",    ".",   "..", "../x", "/x",    "a/b",
                                      ".hi", "a\n", "\t", "a/..", "x\x7f", "run-1-0/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(cgroup_name_ok(bad[i]), "accepted: %s", bad[i]);
    cr_assert_not(cgroup_name_ok(long_name));
    long_name[NAME_MAX] = '\0';
    cr_assert(cgroup_name_ok(long_name));
    cr_assert(cgroup_name_ok("run-1-0"));
    cr_assert(cgroup_name_ok("a..b"));
}

Test(cgroup_parse, run_names)
{
    static const char *const bad[] = {"run-",
                                      "run--1",
                                      "run-0-1",
                                      "run-1",
                                      "run-1-",
                                      "run-x-1",
                                      "run-1-x",
                                      "run-1-1x",
                                      "run- 1-1",
                                      "run-+1-1",
                                      "run--1-1",
                                      "run-99999999999-1",
                                      "Run-1-1",
                                      "run-1-1-1",
                                      "run-2147483648-0",
                                      "xrun-1-1",
                                      "run-1-99999999999999999999"};
    pid_t pid = -1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(cgroup_run_pid(bad[i], &pid), "accepted: %s", bad[i]);
    cr_assert(cgroup_run_pid("run-123-0", &pid));
    cr_assert_eq(pid, 123);
    cr_assert(cgroup_run_pid("run-2147483647-18446744073709551615", &pid));
    cr_assert_eq(pid, 2147483647);
}

Test(cgroup_parse, chosen_paths)
{
    char buf[32];
    struct error err = ERROR_INIT;
    cr_assert_eq(cgroup_path_below("/a//b/c/", buf, sizeof buf, &err), 0);
    cr_assert_str_eq(buf, "a/b/c");
    cr_assert_eq(cgroup_path_below("a", buf, sizeof buf, &err), 0);
    static const char *const bad[] = {
        "",      "/",      "//",      "..", "/../x", "a/../b",
        "a/./b", "a/.hid", "a/b\n/c", ".",  "./a",   "0123456789/0123456789/0123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct error)ERROR_INIT;
        cr_assert_eq(cgroup_path_below(bad[i], buf, sizeof buf, &err), -1, "accepted: %s", bad[i]);
        cr_assert_str_eq(err.code, "cgroup.path");
        cr_assert_str_eq(err.path, "linux.cgroupsPath");
    }
}

Test(cgroup_parse, keys)
{
    uint64_t v = 7;
    const char *text = "low 1\noom 2\noom_kill 3\noom_group_kill 4";
    cr_assert(cgroup_parse_key(text, "oom_kill", &v));
    cr_assert_eq(v, 3);
    cr_assert(cgroup_parse_key(text, "oom_group_kill", &v));
    cr_assert_eq(v, 4);
    cr_assert_not(cgroup_parse_key(text, "kill", &v));
    cr_assert_not(cgroup_parse_key("", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill \n", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill -1\n", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill 1x\n", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill 99999999999999999999\n", "kill", &v));
    cr_assert_not(cgroup_parse_key("kill 0000000000000000000000000001\n", "kill", &v));
    cr_assert_eq(v, 4);
}

Test(cgroup_parse, weight_of_shares)
{
    cr_assert_eq(cgroup_weight_of_shares(0), 1);
    cr_assert_eq(cgroup_weight_of_shares(2), 1);
    cr_assert_eq(cgroup_weight_of_shares(1024), 100);
    cr_assert_eq(cgroup_weight_of_shares(262144), 10000);
    cr_assert_eq(cgroup_weight_of_shares(UINT64_MAX), 10000);
    uint64_t last = 0;
    for (uint64_t s = 2; s <= 262144; s++) {
        uint64_t w = cgroup_weight_of_shares(s);
        cr_assert(w >= last && w >= 1 && w <= 10000, "shares %lu", (unsigned long)s);
        last = w;
    }
}
