/* The judgement over a whole spec, for what flags can put into one without any file. */
#include "config/spec.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mount.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char long_name[66];

static void dup_mount(struct spec *s)
{
    spec_add_mount(s, "/a")->kind = MOUNT_FS;
    s->mounts[s->mount_count - 1].type = "tmpfs";
    spec_add_mount(s, "/b");
    s->mounts[s->mount_count - 1] = s->mounts[s->mount_count - 2];
}

static struct spec_mount *bind(struct spec *s, const char *to, const char *from)
{
    struct spec_mount *m = spec_add_mount(s, to);
    m->source = from;
    return m;
}

static void pair(struct spec *s, struct spec_pair **list, size_t *count, const char *key)
{
    *list = arena_alloc(s->arena, sizeof **list);
    (*list)[0] = (struct spec_pair){key, "1"};
    *count = 1;
}

static void maps(struct spec *s, uint32_t inside, uint32_t outside, uint32_t size)
{
    s->uid_maps = arena_alloc(s->arena, 2 * sizeof *s->uid_maps);
    s->uid_maps[0] = (struct spec_id_map){0, 1000, 10};
    s->uid_maps[1] = (struct spec_id_map){inside, outside, size};
    s->uid_map_count = 2;
    s->gid_maps = s->uid_maps;
    s->gid_map_count = 1;
}

#define CASE(name, body)                                                                           \
    static void case_##name(struct spec *s)                                                        \
    {                                                                                              \
        body;                                                                                      \
    }

CASE(plain, (void)s)
CASE(no_args, s->args = (struct strings){0})
CASE(empty_program, strings_add(s->arena, &s->args, ""))
CASE(env, strings_add(s->arena, &s->env, "A"))
CASE(cwd, s->cwd = "tmp")
CASE(uid, s->uid = UINT32_MAX)
CASE(hostname, s->hostname = long_name)
CASE(hostname_empty, s->hostname = "")
CASE(hostname_newline, s->hostname = "a\nb")
CASE(hostname_shared, s->ns_new[NS_UTS] = false)
CASE(hostname_none, s->ns_new[NS_UTS] = false; s->hostname = NULL)
CASE(effective, s->capabilities.effective = 1)
CASE(ambient, s->capabilities.ambient = 1)
CASE(rootfs, s->rootfs = ROOTFS_DIR; s->rootfs_path = "x")
CASE(no_rootfs, s->rootfs = ROOTFS_DIR)
CASE(mount_dotdot, bind(s, "/a/../b", "/c"))
CASE(mount_root, bind(s, "/", "/c"))
CASE(mount_relative_source, bind(s, "/a", "c"))
CASE(mount_no_source, bind(s, "/a", NULL))
CASE(mount_twice, dup_mount(s))
CASE(mount_type, bind(s, "/a", NULL)->kind = MOUNT_FS; s->mounts[s->mount_count - 1].type = "nfs")
CASE(mount_no_type, bind(s, "/a", NULL)->kind = MOUNT_FS)
CASE(mount_copy_up, bind(s, "/a", "/b")->copy_up = true)
CASE(mount_data, strings_add(s->arena, &bind(s, "/a", "/b")->data, "size=1"))
CASE(mount_namespace, s->ns_new[NS_MOUNT] = false)
CASE(time_offset, s->time_offset_set[1] = true)
CASE(time_offset_ok, s->time_offset_set[1] = true; s->ns_new[NS_TIME] = true)
CASE(mount_maps, struct spec_mount *m = bind(s, "/a", "/b"); maps(s, 5, 1010, 5);
     m->uid_maps = s->uid_maps; m->uid_map_count = 2; s->uid_map_count = s->gid_map_count = 0)
CASE(maps_alone, maps(s, 10, 1010, 5); s->gid_map_count = 0)
CASE(maps_ok, maps(s, 10, 1010, 5))
CASE(maps_inside, maps(s, 9, 1010, 5))
CASE(maps_outside, maps(s, 10, 1009, 5))
CASE(maps_range, maps(s, 4294967290U, 2000, 6))
CASE(sysctl_ipc, pair(s, &s->sysctl, &s->sysctl_count, "kernel.shmmax"))
CASE(sysctl_net, pair(s, &s->sysctl, &s->sysctl_count, "net/ipv4/ip_forward"))
CASE(sysctl_host, pair(s, &s->sysctl, &s->sysctl_count, "kernel.core_pattern"))
CASE(sysctl_dots, pair(s, &s->sysctl, &s->sysctl_count, "net/../kernel/core_pattern"))
CASE(sysctl_prefix, pair(s, &s->sysctl, &s->sysctl_count, "network.x"))
CASE(sysctl_shared, s->network = NETWORK_HOST; s->ns_new[NS_NETWORK] = false;
     pair(s, &s->sysctl, &s->sysctl_count, "net.core.somaxconn"))
CASE(unified_path, pair(s, &s->resources.unified, &s->resources.unified_count, "../cgroup.procs"))
CASE(unified_own, pair(s, &s->resources.unified, &s->resources.unified_count, "cgroup.procs"))
CASE(unified_ok, pair(s, &s->resources.unified, &s->resources.unified_count, "memory.high"))
CASE(memory_zero, s->resources.memory_bytes = 0)
CASE(reservation, s->resources.memory_bytes = 5; s->resources.memory_high_bytes = 6)
CASE(processes_zero, s->resources.processes = 0)
CASE(quota, s->resources.cpu_quota_us = 5)
CASE(period, s->resources.cpu_period_us = 5)
CASE(idle, s->resources.cpu_idle = true; s->resources.cpu_shares = 5)
CASE(wall_zero, s->wall_ms = 0)
CASE(cgroups_path, s->cgroups_path = "/a/../../b")
CASE(network, s->ns_new[NS_NETWORK] = false)
CASE(bridge, spec_set_network(s, NETWORK_BRIDGE))
CASE(bridge_long, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "sixteen-letters-")
CASE(bridge_ok, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "br0"; s->address = "10.0.0.2/24";
     s->gateway = "10.0.0.1")
CASE(bridge_ipv6, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "br0"; s->address = "fd00::2/64";
     s->gateway = "fd00::1")
CASE(bridge_address, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "br0";
     s->address = "10.0.0.2")
CASE(bridge_prefix, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "br0";
     s->address = "10.0.0.2/33")
CASE(bridge_gateway, spec_set_network(s, NETWORK_BRIDGE); s->bridge = "br0";
     s->gateway = "10.0.0.1/24")
CASE(filter, s->seccomp.name = "tigth")
CASE(filter_path, s->seccomp.name = "../profiles/ci")
CASE(masked, strings_add(s->arena, &s->masked_paths, "proc/kcore"))
CASE(landlock, strings_add(s->arena, &s->landlock.read, "etc"))

static const struct {
    const char *name;
    void (*change)(struct spec *s);
    const char *code, *message; /* NULL: valid */
} table[] = {
    {"plain", case_plain, NULL, NULL},
    {"no_args", case_no_args, NULL, NULL},
    {"empty_program", case_empty_program, "spec.invalid",
     "process.args[0]: the program's name is empty"},
    {"env", case_env, "spec.invalid", "process.env[3]: expected \"NAME=value\", found \"A\""},
    {"cwd", case_cwd, "spec.invalid", "process.cwd: expected an absolute path, found \"tmp\""},
    {"uid", case_uid, "spec.invalid",
     "process.user: 4294967295 means \"unchanged\" to the kernel and is no id"},
    {"hostname", case_hostname, "spec.invalid", "hostname: expected 1 to 64 bytes, found 65"},
    {"hostname_empty", case_hostname_empty, "spec.invalid",
     "hostname: expected 1 to 64 bytes, found 0"},
    {"hostname_newline", case_hostname_newline, "spec.invalid",
     "hostname: has a character that a name cannot have: \"a\\x0ab\""},
    {"hostname_shared", case_hostname_shared, "spec.invalid",
     "hostname: needs a UTS namespace of its own (linux.namespaces)"},
    {"hostname_none", case_hostname_none, NULL, NULL},
    {"effective", case_effective, "spec.invalid",
     "process.capabilities.effective: has a capability that is not permitted"},
    {"ambient", case_ambient, "spec.invalid",
     "process.capabilities.ambient: has a capability that is not permitted"},
    {"rootfs", case_rootfs, "spec.invalid", "root.path: expected an absolute path, found \"x\""},
    {"no_rootfs", case_no_rootfs, "spec.invalid",
     "root.path: expected an absolute path, found \"\""},
    {"mount_dotdot", case_mount_dotdot, "spec.invalid",
     "mounts[2].destination: may not contain \"..\": \"/a/../b\""},
    {"mount_root", case_mount_root, "spec.unsupported",
     "mounts[2].destination: a mount over the root is not supported; set the rootfs instead"},
    {"mount_relative_source", case_mount_relative_source, "spec.invalid",
     "mounts[2].source: expected an absolute path, found \"c\""},
    {"mount_no_source", case_mount_no_source, "spec.invalid",
     "mounts[2].source: expected an absolute path, found \"\""},
    {"mount_twice", case_mount_twice, "spec.invalid",
     "mounts[3].destination: a second mount at \"/a\""},
    {"mount_type", case_mount_type, "spec.unsupported",
     "mounts[2].type: a sandbox cannot mount \"nfs\"; it can mount bind, tmpfs, proc, sysfs, "
     "devpts, mqueue, cgroup"},
    {"mount_no_type", case_mount_no_type, "spec.unsupported",
     "mounts[2].type: a sandbox cannot mount \"\"; it can mount bind, tmpfs, proc, sysfs, devpts, "
     "mqueue, cgroup"},
    {"mount_copy_up", case_mount_copy_up, "spec.invalid",
     "mounts[2].options: \"tmpcopyup\" is an option of tmpfs"},
    {"mount_data", case_mount_data, "spec.invalid",
     "mounts[2].options: \"size=1\": not an option of a bind mount"},
    {"mount_namespace", case_mount_namespace, "spec.unsupported",
     "linux.namespaces: no \"mount\" namespace: a sandbox never changes the host's mounts"},
    {"time_offset", case_time_offset, "spec.invalid",
     "linux.timeOffsets: needs a new \"time\" namespace (linux.namespaces)"},
    {"time_offset_ok", case_time_offset_ok, NULL, NULL},
    {"mount_maps", case_mount_maps, "spec.invalid",
     "2 problems:\nmounts[2].gidMappings: mappings of users and of groups belong together\n"
     "mounts[2].uidMappings[1]: overlaps with mounts[2].uidMappings[0]"},
    {"maps_alone", case_maps_alone, "spec.invalid",
     "linux.gidMappings: mappings of users and of groups belong together"},
    {"maps_ok", case_maps_ok, NULL, NULL},
    {"maps_inside", case_maps_inside, "spec.invalid",
     "linux.uidMappings[1]: overlaps with linux.uidMappings[0]"},
    {"maps_outside", case_maps_outside, "spec.invalid",
     "linux.uidMappings[1]: overlaps with linux.uidMappings[0]"},
    {"maps_range", case_maps_range, "spec.invalid",
     "linux.uidMappings[1]: is empty or goes beyond id 4294967294"},
    {"sysctl_ipc", case_sysctl_ipc, NULL, NULL},
    {"sysctl_net", case_sysctl_net, NULL, NULL},
    {"sysctl_host", case_sysctl_host, "spec.unsupported",
     "linux.sysctl[\"kernel.core_pattern\"]: belongs to no namespace and would change the host"},
    {"sysctl_dots", case_sysctl_dots, "spec.invalid",
     "linux.sysctl[\"net/../kernel/core_pattern\"]: is no name of a kernel setting"},
    {"sysctl_prefix", case_sysctl_prefix, "spec.unsupported",
     "linux.sysctl[\"network.x\"]: belongs to no namespace and would change the host"},
    {"sysctl_shared", case_sysctl_shared, "spec.invalid",
     "linux.sysctl[\"net.core.somaxconn\"]: would change the host: needs a new \"network\" "
     "namespace"},
    {"unified_path", case_unified_path, "spec.invalid",
     "linux.resources.unified[\"../cgroup.procs\"]: expected the name of a cgroup file like "
     "\"memory.high\""},
    {"unified_own", case_unified_own, "spec.unsupported",
     "linux.resources.unified[\"cgroup.procs\"]: the files of the group itself belong to Cloche"},
    {"unified_ok", case_unified_ok, NULL, NULL},
    {"memory_zero", case_memory_zero, "spec.invalid",
     "linux.resources.memory.limit: expected a number of bytes > 0, found 0"},
    {"reservation", case_reservation, "spec.invalid",
     "linux.resources.memory.reservation: is above memory.limit"},
    {"processes_zero", case_processes_zero, "spec.invalid",
     "linux.resources.pids.limit: expected a number of processes > 0, found 0"},
    {"quota", case_quota, "spec.invalid",
     "linux.resources.cpu.quota: expected at least 1000 microseconds"},
    {"period", case_period, "spec.invalid",
     "linux.resources.cpu.period: expected 1000 to 1000000 microseconds"},
    {"idle", case_idle, "spec.invalid",
     "linux.resources.cpu.idle: a group that is idle has no shares"},
    {"wall_zero", case_wall_zero, "spec.invalid",
     "cloche.limits.wall_ms: expected a number > 0, found 0"},
    {"cgroups_path", case_cgroups_path, "spec.invalid",
     "linux.cgroupsPath: may not contain \"..\": \"/a/../../b\""},
    {"network", case_network, "spec.invalid",
     "cloche.network: needs a network namespace (linux.namespaces)"},
    {"bridge", case_bridge, "spec.invalid",
     "cloche.network.bridge: expected the name of a network interface, found \"\""},
    {"bridge_long", case_bridge_long, "spec.invalid",
     "cloche.network.bridge: expected the name of a network interface, found "
     "\"sixteen-letters-\""},
    {"bridge_ok", case_bridge_ok, NULL, NULL},
    {"bridge_ipv6", case_bridge_ipv6, NULL, NULL},
    {"bridge_address", case_bridge_address, "spec.invalid",
     "cloche.network.address: expected an address like \"10.0.0.2/24\", found \"10.0.0.2\""},
    {"bridge_prefix", case_bridge_prefix, "spec.invalid",
     "cloche.network.address: expected an address like \"10.0.0.2/24\", found \"10.0.0.2/33\""},
    {"bridge_gateway", case_bridge_gateway, "spec.invalid",
     "cloche.network.gateway: expected an address like \"10.0.0.1\", found \"10.0.0.1/24\""},
    {"filter", case_filter, "spec.invalid",
     "cloche.seccomp: expected one of \"wide\", \"tight\", \"build\", \"unconfined\", found "
     "\"tigth\"; did you mean \"tight\"?"},
    {"filter_path", case_filter_path, "spec.invalid",
     "cloche.seccomp: expected one of \"wide\", \"tight\", \"build\", \"unconfined\", found "
     "\"../profiles/ci\""},
    {"masked", case_masked, "spec.invalid",
     "linux.maskedPaths[0]: expected an absolute path, found \"proc/kcore\""},
    {"landlock", case_landlock, "spec.invalid",
     "cloche.landlock.read[0]: expected an absolute path, found \"etc\""},
};

Test(spec_validate, cases)
{
    memset(long_name, 'a', 65);
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        struct error err = ERROR_INIT;
        table[i].change(s);
        int r = spec_validate(s, &err);
        cr_expect_eq(r, table[i].code == NULL ? 0 : -1, "%s", table[i].name);
        cr_expect_str_eq(err.code == NULL ? "" : err.code,
                         table[i].code == NULL ? "" : table[i].code, "%s", table[i].name);
        cr_expect_str_eq(err.message, table[i].message == NULL ? "" : table[i].message, "%s: %s",
                         table[i].name, err.message);
    }
}

Test(spec_validate, path_names_the_property)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    s->cwd = "tmp";
    s->wall_ms = 0;
    cr_assert_eq(spec_validate(s, &err), -1);
    cr_expect_str_eq(err.path, "process.cwd");
    cr_expect_str_eq(err.message, "2 problems:\n"
                                  "process.cwd: expected an absolute path, found \"tmp\"\n"
                                  "cloche.limits.wall_ms: expected a number > 0, found 0");
    cr_expect_eq(spec_validate(s, NULL), -1, "the error may be unwanted");
}
