/* Two specs, field by field: the name of the first that differs, or NULL. */
#ifndef CLOCHE_TESTS_UNIT_SPEC_EQUAL_H
#define CLOCHE_TESTS_UNIT_SPEC_EQUAL_H

#include "config/spec.h"

#include <string.h>

#define SPEC_COUNT(array) (sizeof(array) / sizeof *(array))

static inline bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static inline bool same_list(const struct strings *a, const struct strings *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (!same_text(a->items[i], b->items[i]))
            return false;
    }
    return a->count == b->count;
}

static inline bool same_pairs(const struct spec_pair *a, size_t n, const struct spec_pair *b,
                              size_t m)
{
    for (size_t i = 0; i < n && i < m; i++) {
        if (!same_text(a[i].key, b[i].key) || !same_text(a[i].value, b[i].value))
            return false;
    }
    return n == m;
}

static inline bool same_maps(const struct spec_id_map *a, size_t n, const struct spec_id_map *b,
                             size_t m)
{
    for (size_t i = 0; i < n && i < m; i++) {
        if (a[i].container_id != b[i].container_id || a[i].host_id != b[i].host_id ||
            a[i].size != b[i].size)
            return false;
    }
    return n == m;
}

#define DIFFERS(condition, name)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return name;                                                                           \
    } while (0)
#define SAME(member)      DIFFERS(a->member == b->member, #member)
#define SAME_TEXT(member) DIFFERS(same_text(a->member, b->member), #member)
#define SAME_LIST(member) DIFFERS(same_list(&a->member, &b->member), #member)

static inline const char *mount_differs(const struct spec_mount *a, const struct spec_mount *b)
{
    SAME(kind);
    SAME_TEXT(destination);
    SAME_TEXT(source);
    SAME_TEXT(type);
    SAME(attr_set);
    SAME(attr_clear);
    SAME(attr_set_recursive);
    SAME(attr_clear_recursive);
    SAME(propagation);
    SAME(recursive);
    SAME(copy_up);
    SAME(idmap);
    SAME(idmap_recursive);
    SAME(optional);
    DIFFERS(same_maps(a->uid_maps, a->uid_map_count, b->uid_maps, b->uid_map_count), "uid_maps");
    DIFFERS(same_maps(a->gid_maps, a->gid_map_count, b->gid_maps, b->gid_map_count), "gid_maps");
    SAME_LIST(data);
    return NULL;
}

static inline const char *resources_differ(const struct spec_resources *a,
                                           const struct spec_resources *b)
{
    SAME(memory_bytes);
    SAME(memory_high_bytes);
    SAME(swap_bytes);
    SAME(swap_set);
    SAME(processes);
    SAME(cpu_quota_us);
    SAME(cpu_period_us);
    SAME(cpu_shares);
    SAME(cpu_idle);
    SAME_TEXT(cpuset_cpus);
    SAME_TEXT(cpuset_mems);
    SAME(blkio_weight);
    SAME(blkio_device_count);
    for (size_t i = 0; i < a->blkio_device_count; i++)
        DIFFERS(memcmp(&a->blkio_devices[i], &b->blkio_devices[i], sizeof *a->blkio_devices) == 0,
                "blkio_devices");
    SAME(hugepage_count);
    for (size_t i = 0; i < a->hugepage_count; i++)
        DIFFERS(same_text(a->hugepages[i].page_size, b->hugepages[i].page_size) &&
                    a->hugepages[i].limit_bytes == b->hugepages[i].limit_bytes,
                "hugepages");
    DIFFERS(same_pairs(a->unified, a->unified_count, b->unified, b->unified_count), "unified");
    SAME(device_rule_count);
    for (size_t i = 0; i < a->device_rule_count; i++) {
        const struct spec_device_rule *x = &a->device_rules[i], *y = &b->device_rules[i];
        DIFFERS(x->allow == y->allow && x->type == y->type && x->major == y->major &&
                    x->minor == y->minor && same_text(x->access, y->access),
                "device_rules");
    }
    return NULL;
}

static inline const char *lists_differ(const struct spec *a, const struct spec *b)
{
    SAME(additional_gid_count);
    for (size_t i = 0; i < a->additional_gid_count; i++)
        SAME(additional_gids[i]);
    SAME(rlimit_count);
    for (size_t i = 0; i < a->rlimit_count; i++) {
        SAME(rlimits[i].resource);
        SAME(rlimits[i].soft);
        SAME(rlimits[i].hard);
    }
    SAME(mount_count);
    for (size_t i = 0; i < a->mount_count; i++)
        DIFFERS(mount_differs(&a->mounts[i], &b->mounts[i]) == NULL,
                mount_differs(&a->mounts[i], &b->mounts[i]));
    SAME(device_count);
    for (size_t i = 0; i < a->device_count; i++) {
        SAME_TEXT(devices[i].path);
        SAME(devices[i].type);
        SAME(devices[i].major);
        SAME(devices[i].minor);
        SAME(devices[i].mode);
        SAME(devices[i].uid);
        SAME(devices[i].gid);
    }
    DIFFERS(same_maps(a->uid_maps, a->uid_map_count, b->uid_maps, b->uid_map_count), "uid_maps");
    DIFFERS(same_maps(a->gid_maps, a->gid_map_count, b->gid_maps, b->gid_map_count), "gid_maps");
    DIFFERS(same_pairs(a->annotations, a->annotation_count, b->annotations, b->annotation_count),
            "annotations");
    DIFFERS(same_pairs(a->sysctl, a->sysctl_count, b->sysctl, b->sysctl_count), "sysctl");
    SAME_LIST(masked_paths);
    SAME_LIST(readonly_paths);
    SAME(landlock.given);
    SAME_LIST(landlock.read);
    SAME_LIST(landlock.write);
    SAME_LIST(landlock.execute);
    SAME(landlock.tcp_given);
    SAME(landlock.tcp_bind_count);
    for (size_t i = 0; i < a->landlock.tcp_bind_count; i++)
        SAME(landlock.tcp_bind[i]);
    SAME(landlock.tcp_connect_count);
    for (size_t i = 0; i < a->landlock.tcp_connect_count; i++)
        SAME(landlock.tcp_connect[i]);
    return NULL;
}

static inline const char *spec_differs(const struct spec *a, const struct spec *b)
{
    SAME_TEXT(oci_version);
    SAME_TEXT(profile);
    SAME_LIST(args);
    SAME_LIST(env);
    SAME_TEXT(cwd);
    SAME(terminal);
    SAME(console_rows);
    SAME(console_columns);
    SAME(uid);
    SAME(gid);
    SAME(umask);
    SAME(capabilities.bounding);
    SAME(capabilities.effective);
    SAME(capabilities.inheritable);
    SAME(capabilities.permitted);
    SAME(capabilities.ambient);
    SAME(no_new_privileges);
    SAME(oom_score_adj_set);
    SAME(oom_score_adj);
    SAME(rootfs);
    SAME_TEXT(rootfs_path);
    SAME(rootfs_readonly);
    SAME_TEXT(hostname);
    SAME_TEXT(domainname);
    for (int ns = 0; ns < NS_COUNT; ns++) {
        SAME(ns_new[ns]);
        SAME_TEXT(ns_path[ns]);
    }
    SAME_TEXT(cgroups_path);
    const char *inner = resources_differ(&a->resources, &b->resources);
    DIFFERS(inner == NULL, inner);
    SAME(seccomp.kind);
    SAME_TEXT(seccomp.name);
    SAME_TEXT(seccomp.json);
    SAME(rootfs_propagation);
    SAME(personality);
    for (int i = 0; i < 2; i++) {
        SAME(time_offset_set[i]);
        SAME(time_offset_secs[i]);
        SAME(time_offset_nanosecs[i]);
    }
    SAME(cpu_time_ms);
    SAME(wall_ms);
    SAME(output_bytes);
    SAME(tmp_bytes);
    SAME(tmp_files);
    SAME(enforce_required);
    SAME(network);
    SAME_TEXT(bridge);
    SAME_TEXT(address);
    SAME_TEXT(gateway);
    SAME(monitor_interval_ms);
    SAME(monitor_warn_percent);
    SAME(monitor_action);
    SAME(idle_timeout_s);
    SAME(ttl_s);
    SAME_TEXT(children_json);
    SAME_TEXT(modules_json);
    SAME_TEXT(module_policy_json);
    SAME_TEXT(strategy);
    SAME(max_restarts);
    SAME(max_seconds);
    return lists_differ(a, b);
}

#endif
