/* spec -> JSON -> the same spec: for random specs, for every profile, for every file of the corpus.
 */
#include "base/cleanup.h"
#include "config/spec.h"
#include "tests/unit/spec_equal.h"

#include "base/syscalls.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* xorshift64*: the seed of a failure is printed and makes it happen again */
static uint64_t state;

static uint64_t random_u64(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717ULL;
}

static uint64_t below(uint64_t n)
{
    return random_u64() % n;
}

static bool coin(void)
{
    return below(2) == 0;
}

/* numbers near every edge that a reader may have */
static uint64_t number(uint64_t min, uint64_t max)
{
    switch (below(4)) {
    case 0:
        return min;
    case 1:
        return max;
    case 2:
        return min + below(max - min < 100 ? max - min + 1 : 100);
    default:
        return max - min == UINT64_MAX ? random_u64() : min + below(max - min + 1);
    }
}

static uint64_t limit(void)
{
    return coin() ? LIMIT_NONE : number(1, INT64_MAX);
}

/* any bytes that a path or an argument may have: quotes, controls, not always UTF-8 */
static const char *text(struct spec *s, const char *begin)
{
    char out[40];
    size_t n = (size_t)snprintf(out, sizeof out, "%s", begin);
    for (size_t len = n + 1 + below(20); n < len; n++)
        out[n] = (char)(1 + below(255));
    out[n] = '\0';
    return arena_strdup(s->arena, out);
}

static const char *name(struct spec *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    char out[20] = "n";
    for (size_t i = 1, n = 2 + below(10); i < n; i++)
        out[i] = letters[below(sizeof letters - 1)];
    return arena_strdup(s->arena, out);
}

static const char *path(struct spec *s, size_t salt)
{
    return arena_printf(s->arena, "/%s%zu/%s", name(s), salt, name(s));
}

static void texts(struct spec *s, struct strings *list, const char *begin, size_t least)
{
    *list = (struct strings){0};
    for (size_t i = 0, n = least + below(4); i < n; i++)
        strings_add(s->arena, list, text(s, begin));
}

static void paths(struct spec *s, struct strings *list)
{
    *list = (struct strings){0};
    for (size_t i = 0, n = below(4); i < n; i++)
        strings_add(s->arena, list, path(s, i));
}

static void pairs(struct spec *s, struct spec_pair **list, size_t *count, const char *begin)
{
    *count = below(4);
    *list = arena_alloc(s->arena, (*count + 1) * sizeof **list);
    for (size_t i = 0; i < *count; i++)
        (*list)[i] = (struct spec_pair){arena_printf(s->arena, "%s%zu", begin, i), text(s, "")};
}

static void maps(struct spec *s, struct spec_id_map **list, size_t *count, size_t least)
{
    *count = least + below(3);
    *list = arena_alloc(s->arena, (*count + 1) * sizeof **list);
    for (size_t i = 0; i < *count; i++)
        (*list)[i] = (struct spec_id_map){(uint32_t)number(0, UINT32_MAX - 1),
                                          (uint32_t)number(0, UINT32_MAX - 1),
                                          (uint32_t)number(1, UINT32_MAX)};
}

static uint64_t mask(uint64_t bits)
{
    return random_u64() & bits;
}

static void random_process(struct spec *s)
{
    if (coin())
        texts(s, &s->args, "", 1);
    texts(s, &s->env, "K=", 0);
    s->cwd = path(s, 0);
    s->terminal = coin();
    if (coin()) {
        s->console_rows = (uint16_t)number(0, UINT16_MAX);
        s->console_columns = (uint16_t)number(0, UINT16_MAX);
    }
    s->uid = (uid_t)number(0, UINT32_MAX - 1);
    s->gid = (gid_t)number(0, UINT32_MAX - 1);
    s->umask = (mode_t)number(0, 0777);
    s->additional_gid_count = below(4);
    s->additional_gids = arena_alloc(s->arena, 4 * sizeof *s->additional_gids);
    for (size_t i = 0; i < s->additional_gid_count; i++)
        s->additional_gids[i] = (gid_t)number(0, UINT32_MAX - 1);
    uint64_t *const sets[] = {&s->capabilities.bounding, &s->capabilities.effective,
                              &s->capabilities.inheritable, &s->capabilities.permitted,
                              &s->capabilities.ambient};
    for (size_t i = 0; i < COUNT(sets); i++)
        *sets[i] = mask((1ULL << 41) - 1);
    for (int i = 0; i < 3; i++) {
        static const char *const limits[] = {"as", "core", "nofile", "fsize", "nproc", "stack"};
        uint64_t hard = number(0, UINT64_MAX);
        cr_assert_eq(spec_set_rlimit(s, limits[below(COUNT(limits))],
                                     hard == 0 ? 0 : number(0, hard - 1), hard, NULL),
                     0);
    }
    s->no_new_privileges = coin();
    s->oom_score_adj_set = coin();
    if (s->oom_score_adj_set)
        s->oom_score_adj = (int)number(0, 2000) - 1000;
}

static const char *const tmpfs_words[] = {"mode=1777", "size=65536k", "nr_inodes=5", "uid=0",
                                          "gid=5",     "sync",        "huge=never",  "size=50%"};

static void random_attributes(struct spec_mount *m)
{
    static const uint64_t flags[] = {MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID,     MOUNT_ATTR_NODEV,
                                     MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NODIRATIME, 0x200000};
    static const uint64_t atimes[] = {MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME,
                                      MOUNT_ATTR_STRICTATIME};
    static const uint64_t propagations[] = {0, MS_PRIVATE, MS_SLAVE | MS_REC, MS_SHARED,
                                            MS_UNBINDABLE | MS_REC};
    for (int recursive = 0; recursive < 2; recursive++) {
        uint64_t *set = recursive ? &m->attr_set_recursive : &m->attr_set;
        uint64_t *clear = recursive ? &m->attr_clear_recursive : &m->attr_clear;
        for (size_t i = 0; i < COUNT(flags); i++) {
            uint64_t which = below(3);
            *set |= which == 0 ? flags[i] : 0;
            *clear |= which == 1 ? flags[i] : 0;
        }
        if (coin()) {
            *set |= atimes[below(3)];
            *clear |= MOUNT_ATTR__ATIME;
        }
    }
    m->propagation = propagations[below(COUNT(propagations))];
}

static void random_mounts(struct spec *s)
{
    static const char *const types[] = {"tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup"};
    if (coin()) { /* sometimes those of the defaults */
        s->mounts = NULL;
        s->mount_count = 0;
    }
    for (size_t i = 0, n = below(5); i < n; i++) {
        struct spec_mount *m = spec_add_mount(s, path(s, i));
        m->kind = (enum spec_mount_kind)below(3);
        m->optional = coin();
        random_attributes(m);
        if (m->kind == MOUNT_FS) {
            m->type = types[below(COUNT(types))];
            m->source = coin() ? m->type : NULL;
            bool tmpfs = strcmp(m->type, "tmpfs") == 0;
            m->copy_up = tmpfs && coin();
            for (size_t k = 0; tmpfs && k < below(4); k++)
                strings_add(s->arena, &m->data, tmpfs_words[below(COUNT(tmpfs_words))]);
            continue;
        }
        m->source = path(s, i);
        m->recursive = coin();
        m->idmap = coin();
        m->idmap_recursive = m->idmap && coin();
        maps(s, &m->uid_maps, &m->uid_map_count, 0);
        maps(s, &m->gid_maps, &m->gid_map_count, 0);
    }
}

static void random_devices(struct spec *s)
{
    struct spec_resources *r = &s->resources;
    s->device_count = below(3);
    s->devices = arena_alloc(s->arena, 3 * sizeof *s->devices);
    for (size_t i = 0; i < s->device_count; i++)
        s->devices[i] = (struct spec_device){path(s, i),
                                             "cbp"[below(3)],
                                             (uint32_t)number(0, 4095),
                                             (uint32_t)number(0, 1048575),
                                             (mode_t)number(0, 07777),
                                             (uid_t)number(0, UINT32_MAX - 1),
                                             (gid_t)number(0, UINT32_MAX - 1)};
    r->device_rule_count = below(3);
    r->device_rules = arena_alloc(s->arena, 3 * sizeof *r->device_rules);
    for (size_t i = 0; i < r->device_rule_count; i++)
        r->device_rules[i] =
            (struct spec_device_rule){coin(), "acb"[below(3)], (int64_t)number(0, 300) - 1,
                                      (int64_t)number(0, 300) - 1, &"rwm"[below(3)]};
    r->blkio_device_count = below(3);
    r->blkio_devices = arena_alloc(s->arena, 3 * sizeof *r->blkio_devices);
    for (size_t i = 0; i < r->blkio_device_count; i++)
        r->blkio_devices[i] = (struct spec_blkio_device){.major = (uint32_t)number(0, 4095),
                                                         .minor = (uint32_t)i,
                                                         .read_bps = number(1, INT64_MAX),
                                                         .write_bps = limit(),
                                                         .read_iops = limit(),
                                                         .write_iops = limit()};
    /* the file lists devices by kind of limit: their order is kept when the first kind has all */
    for (size_t i = 0; i < r->blkio_device_count; i++)
        r->blkio_devices[i].weight = number(10, 1000);
}

static void random_resources(struct spec *s)
{
    struct spec_resources *r = &s->resources;
    r->memory_bytes = limit();
    r->memory_high_bytes = limit();
    r->swap_set = coin();
    if (r->swap_set)
        r->swap_bytes = coin() ? LIMIT_NONE : number(0, INT64_MAX);
    r->processes = limit();
    r->cpu_period_us = number(1000, 1000000);
    r->cpu_quota_us = coin() ? LIMIT_NONE : number(1000, INT64_MAX);
    r->cpu_shares = coin() ? 0 : number(2, 262144);
    r->cpu_idle = coin();
    r->cpuset_cpus = coin() ? NULL : "0-1,5";
    r->cpuset_mems = coin() ? NULL : "0";
    r->blkio_weight = coin() ? 0 : number(10, 1000);
    r->hugepage_count = below(3);
    r->hugepages = arena_alloc(s->arena, 3 * sizeof *r->hugepages);
    for (size_t i = 0; i < r->hugepage_count; i++)
        r->hugepages[i] = (struct spec_hugepage){i == 0 ? "2MB" : "1GB", number(0, INT64_MAX)};
    pairs(s, &r->unified, &r->unified_count, "memory.x");
}

static void random_linux(struct spec *s)
{
    for (int ns = 0; ns < NS_COUNT; ns++) {
        s->ns_new[ns] = ns == NS_USER || coin();
        if (below(4) == 0) {
            s->ns_new[ns] = false;
            s->ns_path[ns] = path(s, (size_t)ns);
        }
    }
    if (!s->ns_new[NS_UTS] && s->ns_path[NS_UTS] == NULL)
        s->hostname = NULL;
    /* the host's network is to have no namespace of one's own, and the other way round */
    if (s->network == NETWORK_HOST || (!s->ns_new[NS_NETWORK] && s->ns_path[NS_NETWORK] == NULL))
        spec_set_network(s, NETWORK_HOST);
    maps(s, &s->uid_maps, &s->uid_map_count, 0);
    maps(s, &s->gid_maps, &s->gid_map_count, 0);
    s->cgroups_path = coin() ? NULL : path(s, 0);
    pairs(s, &s->sysctl, &s->sysctl_count, "net.core.x");
    paths(s, &s->masked_paths);
    paths(s, &s->readonly_paths);
    s->rootfs_propagation = coin() ? 0 : MS_SLAVE | MS_REC;
    s->personality = coin() ? UINT32_MAX : coin() ? 0 : 8;
    for (int i = 0; i < 2; i++) {
        s->time_offset_set[i] = coin();
        if (!s->time_offset_set[i])
            continue;
        s->time_offset_secs[i] = (int64_t)random_u64();
        s->time_offset_nanosecs[i] = (uint32_t)number(0, 999999999);
    }
}

static void random_cloche(struct spec *s)
{
    s->profile = coin() ? NULL : name(s);
    s->cpu_time_ms = limit();
    s->wall_ms = limit();
    s->output_bytes = limit();
    s->tmp_bytes = limit();
    s->tmp_files = limit();
    s->enforce_required = coin();
    spec_set_network(s, (enum spec_network)below(4));
    if (s->network == NETWORK_BRIDGE) {
        s->bridge = name(s);
        s->address = coin() ? NULL : "10.0.0.2/24";
        s->gateway = coin() ? NULL : "10.0.0.1";
    }
    s->rootfs = (enum spec_rootfs)below(3);
    s->rootfs_path = s->rootfs == ROOTFS_DIR ? path(s, 0) : NULL;
    s->rootfs_readonly = coin();
    s->hostname = coin() ? name(s) : NULL;
    s->domainname = coin() ? name(s) : NULL;
    switch (below(3)) {
    case 0:
        s->seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = name(s)};
        break;
    case 1:
        s->seccomp = (struct spec_seccomp){.kind = SECCOMP_UNCONFINED};
        break;
    default:
        s->seccomp = (struct spec_seccomp){
            .kind = SECCOMP_JSON,
            .json = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"clone\"],"
                    "\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":"
                    "18446744073709551615,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}"};
    }
    s->landlock.given = coin();
    if (s->landlock.given) {
        paths(s, &s->landlock.read);
        paths(s, &s->landlock.write);
        paths(s, &s->landlock.execute);
        s->landlock.tcp_given = coin();
        s->landlock.tcp_bind_count = s->landlock.tcp_given ? below(3) : 0;
        s->landlock.tcp_bind = arena_alloc(s->arena, 8);
        for (size_t i = 0; i < s->landlock.tcp_bind_count; i++)
            s->landlock.tcp_bind[i] = (uint16_t)number(0, UINT16_MAX);
    }
    s->monitor_interval_ms = number(10, 3600000);
    s->monitor_warn_percent = (unsigned)number(1, 100);
    s->idle_timeout_s = limit();
    s->ttl_s = limit();
    s->children_json = coin() ? NULL
                              : "[{\"id\":\"a\",\"kind\":\"command\",\"args\":[\"x\"],"
                                "\"shutdown_ms\":5}]";
    s->module_policy_json = coin() ? NULL : "{\"deny_symbols\":[\"system\"],\"size_bytes\":4096}";
    s->modules_json = coin() ? NULL : "{\"m\":{\"source\":\"m.c\",\"keep\":10}}";
    s->strategy = coin() ? "one_for_all" : "rest_for_one";
    s->max_restarts = (unsigned)number(0, 1000000);
    s->max_seconds = (unsigned)number(1, 86400);
}

static void expect_same(const struct spec *s, const char *what)
{
    _cleanup_free_ char *json = spec_to_json(s);
    _cleanup_spec_ struct spec *back = spec_new();
    struct error err = ERROR_INIT;
    cr_assert_not_null(json);
    cr_assert_eq(spec_apply_json(back, json, strlen(json), NULL, &err), 0, "%s: %s\n%s", what,
                 err.message, json);
    const char *differs = spec_differs(s, back);
    cr_expect_null(differs, "%s: differs in %s\n%s", what, differs, json);
}

Test(spec_roundtrip, random_specs)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        state = seed * 0x9e3779b97f4a7c15ULL;
        _cleanup_spec_ struct spec *s = spec_new();
        random_process(s);
        random_mounts(s);
        random_devices(s);
        random_resources(s);
        random_cloche(s);
        random_linux(s);
        char what[32];
        snprintf(what, sizeof what, "seed %" PRIu64, seed);
        expect_same(s, what);
    }
}

Test(spec_roundtrip, defaults)
{
    _cleanup_spec_ struct spec *s = spec_new();
    expect_same(s, "defaults");
}

Test(spec_roundtrip, profiles)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names;
    spec_profile_names(a, &names);
    cr_assert_geq(names.count, 7);
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        cr_assert_eq(spec_apply_profile(s, names.items[i], NULL), 0);
        expect_same(s, names.items[i]);
    }
}

/* the network of a flag, over namespaces of a file */
Test(spec_roundtrip, network_host)
{
    _cleanup_spec_ struct spec *s = spec_new();
    spec_set_network(s, NETWORK_HOST);
    expect_same(s, "host");
    spec_set_network(s, NETWORK_LOOPBACK);
    expect_same(s, "loopback");
}
