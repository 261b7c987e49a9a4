/* Single values as flags and files write them. */
#include "config/spec.h"

#include "base/syscalls.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

Test(spec_values, sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } table[] = {
        {"1", 1},
        {"4096", 4096},
        {"256m", 256 << 20},
        {"256M", 256 << 20},
        {"256mb", 256 << 20},
        {"256MiB", 256 << 20},
        {"1k", 1024},
        {"1b", 1},
        {"1.5g", 3ULL << 29},
        {"0.5k", 512},
        {"2t", 2ULL << 40},
        {"007", 7},
        {"9223372036854775807", INT64_MAX},
        {"8388607t", 8388607ULL << 40},
        /* refused */
        {"", 0},
        {"0", 0},
        {"0m", 0},
        {"0.0001k", 0},
        {"-1", 0},
        {"+1", 0},
        {" 1", 0},
        {"1 ", 0},
        {"1 m", 0},
        {"m", 0},
        {".5g", 0},
        {"1.", 0},
        {"1.g", 0},
        {"1..5g", 0},
        {"0x10", 0},
        {"1e3", 0},
        {"1mm", 0},
        {"1p", 0},
        {"nan", 0},
        {"inf", 0},
        {"9223372036854775808", 0},
        {"18446744073709551616", 0},
        {"99999999999999999999999999", 0},
        {"8388608t", 0},
        {"17592186044416m", 0},
        {"1,5g", 0},
        {"50%", 0},
        {"\xd9\xa1", 0}, /* an Arabic 1 */
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct error err = ERROR_INIT;
        uint64_t bytes = 12345;
        int r = spec_parse_size(table[i].text, &bytes, &err);
        if (table[i].bytes != 0) {
            cr_expect_eq(r, 0, "\"%s\": %s", table[i].text, err.message);
            cr_expect_eq(bytes, table[i].bytes, "\"%s\": %" PRIu64, table[i].text, bytes);
        } else {
            cr_expect_eq(r, -1, "\"%s\" was taken", table[i].text);
            cr_expect_str_eq(err.code, "spec.invalid");
            cr_expect_eq(bytes, 12345, "\"%s\": refused, but written", table[i].text);
        }
    }
    struct error err;
    uint64_t bytes;
    spec_parse_size("256q", &bytes, &err);
    cr_expect_str_eq(err.message,
                     "expected a size in bytes like 4096, 256k, 256m or 1.5g, found \"256q\"");
    spec_parse_size("0", &bytes, &err);
    cr_expect_str_eq(err.message, "expected a size in bytes like 4096, 256k, 256m or 1.5g, found "
                                  "\"0\": it must be more than 0");
}

Test(spec_values, durations)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } table[] = {
        {"10", 10000},
        {"1.5", 1500},
        {"300ms", 300},
        {"1.5s", 1500},
        {"2m", 120000},
        {"1h", 3600000},
        {"0.5h", 1800000},
        {"0.001", 1},
        {"1S", 1000},
        {"", 0},
        {"0", 0},
        {"0s", 0},
        {"0.0001s", 0},
        {"0.9ms", 0},
        {"-1s", 0},
        {"1d", 0},
        {"s", 0},
        {"1m30s", 0},
        {"1e3s", 0},
        {" 1s", 0},
        {"1s ", 0},
        {"9223372036854775807h", 0},
        {"18446744073709551615", 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct error err = ERROR_INIT;
        uint64_t ms = 12345;
        int r = spec_parse_duration(table[i].text, &ms, &err);
        cr_expect_eq(r, table[i].ms != 0 ? 0 : -1, "\"%s\": %s", table[i].text, err.message);
        cr_expect_eq(ms, table[i].ms != 0 ? table[i].ms : 12345, "\"%s\": %" PRIu64, table[i].text,
                     ms);
    }
}

Test(spec_values, users)
{
    static const struct {
        const char *text;
        bool ok, with_group;
        uid_t uid;
        gid_t gid;
    } table[] = {
        {"0", true, false, 0, 0},
        {"1000", true, false, 1000, 0},
        {"1000:100", true, true, 1000, 100},
        {"0:0", true, true, 0, 0},
        {"4294967294:4294967294", true, true, 4294967294, 4294967294},
        {"", false, false, 0, 0},
        {":", false, false, 0, 0},
        {"1:", false, false, 0, 0},
        {":1", false, false, 0, 0},
        {"-1", false, false, 0, 0},
        {"+1", false, false, 0, 0},
        {"4294967295", false, false, 0, 0},
        {"4294967296", false, false, 0, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"1:4294967295", false, false, 0, 0},
        {"0x0", false, false, 0, 0},
        {" 0", false, false, 0, 0},
        {"0 ", false, false, 0, 0},
        {"root", false, false, 0, 0},
        {"root:0", false, false, 0, 0},
        {"1:2:3", false, false, 0, 0},
        {"1\n", false, false, 0, 0},
        {"00000000000000000000", false, false, 0, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        struct error err = ERROR_INIT;
        uid_t uid = 7;
        gid_t gid = 7;
        bool given = false;
        int r = spec_parse_user(table[i].text, &uid, &gid, &given, &err);
        cr_expect_eq(r, table[i].ok ? 0 : -1, "\"%s\": %s", table[i].text, err.message);
        cr_expect_eq(uid, table[i].ok ? table[i].uid : 7, "\"%s\": %u", table[i].text, uid);
        cr_expect_eq(gid, table[i].with_group ? table[i].gid : 7, "\"%s\": %u", table[i].text, gid);
        cr_expect_eq(given, table[i].with_group, "\"%s\"", table[i].text);
        if (!table[i].ok)
            cr_expect_str_eq(err.code, "spec.invalid");
    }
}

Test(spec_values, ids)
{
    char longest[65 + 1] = "";
    memset(longest, 'a', 64);
    static const char *const good[] = {"a", "A1", "0", "a.b-c_d", "run-12-3"};
    static const char *const bad[] = {"",   ".",   "..",  "../x", "a/b",  "-a",      "_a",
                                      ".a", "a b", "a\n", "\n",   "a\\b", "\xc3\xa4"};
    for (size_t i = 0; i < COUNT(good); i++)
        cr_expect(spec_valid_id(good[i]), "\"%s\"", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_expect_not(spec_valid_id(bad[i]), "\"%s\"", bad[i]);
    cr_expect(spec_valid_id(longest));
    longest[64] = 'a';
    cr_expect_not(spec_valid_id(longest));
}

Test(spec_values, nearest)
{
    static const char *const names[] = {"student", "strict", "standard", "ci", "memory_bytes"};
    static const struct {
        const char *word, *near;
    } table[] = {
        {"studnet", "student"},
        {"STUDENT", "student"},
        {"stric", "strict"},
        {"standart", "standard"},
        {"memory_byte", "memory_bytes"},
        {"memroy_bytes", "memory_bytes"},
        {"cI", "ci"},
        {"c", NULL},
        {"x", NULL},
        {"", NULL},
        {"python", NULL},
        {"zzzzzzz", NULL},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        const char *near = spec_nearest(table[i].word, names, COUNT(names));
        cr_expect_str_eq(near == NULL ? "-" : near, table[i].near == NULL ? "-" : table[i].near,
                         "\"%s\"", table[i].word);
    }
    char endless[2000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    cr_expect_null(spec_nearest(endless, names, COUNT(names)));
}

Test(spec_values, capabilities)
{
    for (int i = 0; i <= CAP_LAST_CAP; i++) {
        const char *name = spec_capability_name(i);
        cr_assert_not_null(name, "capability %d", i);
        cr_expect_eq(spec_capability_number(name), i, "%s", name);
        cr_expect_eq(spec_capability_number(name + 4), i, "%s", name + 4);
    }
    cr_expect_eq(spec_capability_number("net_admin"), CAP_NET_ADMIN);
    cr_expect_eq(spec_capability_number("cap_net_admin"), CAP_NET_ADMIN);
    cr_expect_eq(spec_capability_number("CAP_CHECKPOINT_RESTORE"), CAP_CHECKPOINT_RESTORE);
    static const char *const bad[] = {"", "CAP_", "CAP_NOTHING", "12", "ALL", "CAP_CAP_CHOWN"};
    for (size_t i = 0; i < COUNT(bad); i++)
        cr_expect_eq(spec_capability_number(bad[i]), -1, "\"%s\"", bad[i]);
    cr_expect_null(spec_capability_name(-1));
    cr_expect_null(spec_capability_name(CAP_LAST_CAP + 1));
}

Test(spec_values, rlimits)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(spec_set_rlimit(s, "nofile", 10, 20, &err), 0, "%s", err.message);
    cr_assert_eq(spec_set_rlimit(s, "RLIMIT_NPROC", 1, UINT64_MAX, &err), 0, "%s", err.message);
    cr_assert_eq(spec_set_rlimit(s, "NOFILE", 11, 21, &err), 0, "%s", err.message);
    cr_assert_eq(s->rlimit_count, 2);
    cr_expect_eq(s->rlimits[0].resource, RLIMIT_NOFILE);
    cr_expect_eq(s->rlimits[0].soft, 11);
    cr_expect_eq(s->rlimits[0].hard, 21);
    cr_expect_eq(spec_set_rlimit(s, "nofile", 2, 1, &err), -1);
    cr_expect_eq(s->rlimits[0].soft, 11, "refused, but written");
    cr_expect_eq(spec_set_rlimit(s, "nofiles", 1, 1, &err), -1);
    cr_expect_str_eq(err.message,
                     "no such resource limit: \"nofiles\"; did you mean \"RLIMIT_NOFILE\"?");
    cr_expect_str_eq(err.hint, "use one of as, core, cpu, data, fsize, locks, memlock, msgqueue, "
                               "nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack");
    cr_expect_eq(spec_set_rlimit(s, "", 1, 1, &err), -1);
}

Test(spec_values, environment)
{
    _cleanup_spec_ struct spec *s = spec_new();
    size_t before = s->env.count;
    strings_set_env(s->arena, &s->env, "PATH=/bin");
    strings_set_env(s->arena, &s->env, "A=1");
    strings_set_env(s->arena, &s->env, "AB=2");
    strings_set_env(s->arena, &s->env, "A=3=4");
    strings_set_env(s->arena, &s->env, "EMPTY=");
    cr_assert_eq(s->env.count, before + 3);
    cr_expect_str_eq(s->env.items[0], "PATH=/bin");
    cr_expect_str_eq(s->env.items[before], "A=3=4");
    cr_expect_str_eq(s->env.items[before + 1], "AB=2");
    cr_expect_null(s->env.items[s->env.count]);
}

Test(spec_values, string_lists_end_with_null)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings list = {0};
    for (size_t i = 0; i < 200; i++) {
        char text[8];
        snprintf(text, sizeof text, "%zu", i);
        strings_add(a, &list, text);
        cr_assert_null(list.items[list.count], "after %zu", i);
        cr_assert_str_eq(list.items[i], text);
        cr_assert_str_eq(list.items[0], "0");
    }
}

/* --- mount options --------------------------------------------------------------------------- */

#define RO  MOUNT_ATTR_RDONLY
#define ANY MOUNT_ATTR__ATIME

Test(spec_values, mount_options)
{
    static const struct {
        const char *words; /* by spaces */
        uint64_t set, clear, set_recursive, clear_recursive, propagation;
    } table[] = {
        {"ro", RO, 0, 0, 0, 0},
        {"ro rw", 0, RO, 0, 0, 0},
        {"rw ro", RO, 0, 0, 0, 0},
        {"rro", 0, 0, RO, 0, 0},
        {"rrw", 0, 0, 0, RO, 0},
        {"ro rro", RO, 0, RO, 0, 0},
        {"nosuid nodev noexec", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, 0, 0,
         0},
        {"suid dev exec", 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, 0, 0},
        {"nosuid suid", 0, MOUNT_ATTR_NOSUID, 0, 0, 0},
        {"rnosuid rsuid", 0, 0, 0, MOUNT_ATTR_NOSUID, 0},
        {"noatime", MOUNT_ATTR_NOATIME, ANY, 0, 0, 0},
        {"noatime strictatime", MOUNT_ATTR_STRICTATIME, ANY, 0, 0, 0},
        {"strictatime relatime", 0, ANY, 0, 0, 0},
        {"noatime atime", 0, ANY, 0, 0, 0},
        {"rnoatime", 0, 0, MOUNT_ATTR_NOATIME, ANY, 0},
        {"nodiratime", MOUNT_ATTR_NODIRATIME, 0, 0, 0, 0},
        {"nosymfollow", 0x00200000, 0, 0, 0, 0},
        {"rprivate", 0, 0, 0, 0, MS_PRIVATE | MS_REC},
        {"private rslave", 0, 0, 0, 0, MS_SLAVE | MS_REC},
        {"shared", 0, 0, 0, 0, MS_SHARED},
        {"runbindable", 0, 0, 0, 0, MS_UNBINDABLE | MS_REC},
        {"defaults loud nomand norelatime", 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        struct spec_mount m = {.kind = MOUNT_BIND};
        char words[128], *rest = words, *word;
        snprintf(words, sizeof words, "%s", table[i].words);
        while ((word = strsep(&rest, " ")) != NULL) {
            struct error err = ERROR_INIT;
            cr_assert_eq(spec_mount_option(s, &m, word, &err), 0, "%s: %s", word, err.message);
        }
        cr_expect_eq(m.attr_set, table[i].set, "%s: set %" PRIx64, table[i].words, m.attr_set);
        cr_expect_eq(m.attr_clear, table[i].clear, "%s: clear %" PRIx64, table[i].words,
                     m.attr_clear);
        cr_expect_eq(m.attr_set_recursive, table[i].set_recursive, "%s", table[i].words);
        cr_expect_eq(m.attr_clear_recursive, table[i].clear_recursive, "%s", table[i].words);
        cr_expect_eq(m.propagation, table[i].propagation, "%s", table[i].words);
        cr_expect_eq(m.data.count, 0, "%s", table[i].words);
    }
}

Test(spec_values, mount_kinds_and_data)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    struct spec_mount m = {.kind = MOUNT_FS};
    cr_expect_eq(spec_mount_option(s, &m, "rbind", &err), 0);
    cr_expect(m.kind == MOUNT_BIND && m.recursive);
    cr_expect_eq(spec_mount_option(s, &m, "bind", &err), 0);
    cr_expect(m.kind == MOUNT_BIND && !m.recursive);
    cr_expect_eq(spec_mount_option(s, &m, "x-overlay", &err), 0);
    cr_expect(m.kind == MOUNT_OVERLAY);
    cr_expect_eq(spec_mount_option(s, &m, "rbind", &err), 0);
    cr_expect(m.kind == MOUNT_OVERLAY && m.recursive, "x-overlay was lost");
    cr_expect_eq(spec_mount_option(s, &m, "ridmap", &err), 0);
    cr_expect(m.idmap && m.idmap_recursive);

    struct spec_mount t = {.kind = MOUNT_FS, .type = "tmpfs"};
    cr_expect_eq(spec_mount_option(s, &t, "tmpcopyup", &err), 0);
    cr_expect_eq(spec_mount_option(s, &t, "size=65536k", &err), 0);
    cr_expect_eq(spec_mount_option(s, &t, "sync", &err), 0);
    cr_expect(t.copy_up);
    cr_assert_eq(t.data.count, 2);
    cr_expect_str_eq(t.data.items[0], "size=65536k");
    cr_expect_str_eq(t.data.items[1], "sync");
    cr_expect_eq(spec_mount_option(s, &t, "remount", &err), -1);
    cr_expect_str_eq(err.code, "spec.unsupported");
    cr_expect_eq(spec_mount_option(s, &t, "", &err), -1);
    cr_expect_str_eq(err.code, "spec.invalid");
}

Test(spec_values, a_mount_of_the_same_place_is_replaced)
{
    _cleanup_spec_ struct spec *s = spec_new();
    size_t before = s->mount_count;
    struct spec_mount *m = spec_add_mount(s, "/tmp//");
    cr_expect_eq(s->mount_count, before);
    cr_expect_str_eq(m->destination, "/tmp");
    cr_expect(m->kind == MOUNT_BIND && m->data.count == 0, "not zeroed");
    m = spec_add_mount(s, "//data/./x");
    cr_expect_eq(s->mount_count, before + 1);
    cr_expect_str_eq(m->destination, "/data/x");
}

Test(spec_values, network_and_its_namespace)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    static const enum spec_network all[] = {NETWORK_HOST, NETWORK_NONE, NETWORK_LOOPBACK};
    for (size_t i = 0; i < COUNT(all); i++) {
        s->ns_path[NS_NETWORK] = "/proc/1/ns/net";
        spec_set_network(s, all[i]);
        cr_expect_eq(s->ns_new[NS_NETWORK], all[i] != NETWORK_HOST);
        cr_expect_null(s->ns_path[NS_NETWORK]);
        cr_expect_eq(spec_validate(s, &err), 0, "%s", err.message);
    }
}
