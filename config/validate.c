/* Judges a whole spec, wherever its fields came from: files, profiles, flags. */
#include "config/builtin.h"
#include "config/json.h"
#include "config/names.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct judge {
    const struct spec *spec;
    struct problems problems;
};

static char *element(struct judge *j, const char *list, size_t index, const char *member)
{
    return arena_printf(j->problems.arena, "%s[%zu]%s%s", list, index, *member == '\0' ? "" : ".",
                        member);
}

static const char *quote(struct judge *j, const char *text)
{
    return problem_quote(j->problems.arena, text);
}

#define WRONG(j, path, ...)       problem_add(&(j)->problems, path, __VA_ARGS__)
#define UNSUPPORTED(j, path, ...) problem_add_unsupported(&(j)->problems, path, __VA_ARGS__)

static void judge_path(struct judge *j, const char *where, const char *path)
{
    if (path == NULL || path[0] != '/')
        WRONG(j, where, "expected an absolute path, found %s", quote(j, path == NULL ? "" : path));
    else if (strlen(path) >= PATH_MAX)
        WRONG(j, where, "a path of more than %d bytes", PATH_MAX - 1);
}

static void judge_process(struct judge *j)
{
    const struct spec *s = j->spec;
    if (s->args.count > 0 && s->args.items[0][0] == '\0')
        WRONG(j, "process.args[0]", "the program's name is empty");
    for (size_t i = 0; i < s->env.count; i++) {
        if (s->env.items[i][0] == '=' || strchr(s->env.items[i], '=') == NULL)
            WRONG(j, element(j, "process.env", i, ""), "expected \"NAME=value\", found %s",
                  quote(j, s->env.items[i]));
    }
    judge_path(j, "process.cwd", s->cwd);
    if (s->uid == UINT32_MAX || s->gid == UINT32_MAX)
        WRONG(j, "process.user", "4294967295 means \"unchanged\" to the kernel and is no id");
    if (s->umask != (mode_t)-1 && s->umask > 0777)
        WRONG(j, "process.user.umask", "expected a mask up to 0777");
    for (size_t i = 0; i < s->rlimit_count; i++) {
        if (s->rlimits[i].soft > s->rlimits[i].hard)
            WRONG(j, element(j, "process.rlimits", i, ""),
                  "the soft limit is above the hard limit");
    }
    if (s->oom_score_adj_set && (s->oom_score_adj < -1000 || s->oom_score_adj > 1000))
        WRONG(j, "process.oomScoreAdj", "expected -1000 to 1000, found %d", s->oom_score_adj);
    const struct spec_capabilities *c = &s->capabilities;
    if ((c->effective & ~c->permitted) != 0)
        WRONG(j, "process.capabilities.effective", "has a capability that is not permitted");
    if ((c->ambient & ~c->permitted) != 0)
        WRONG(j, "process.capabilities.ambient", "has a capability that is not permitted");
}

static void judge_names(struct judge *j)
{
    const struct spec *s = j->spec;
    const char *names[2] = {s->hostname, s->domainname}, *where[2] = {"hostname", "domainname"};
    for (int i = 0; i < 2; i++) {
        if (names[i] == NULL)
            continue;
        size_t n = strlen(names[i]);
        if (n == 0 || n > 64)
            WRONG(j, where[i], "expected 1 to 64 bytes, found %zu", n);
        for (size_t k = 0; k < n; k++) {
            unsigned char b = (unsigned char)names[i][k];
            if (b <= ' ' || b == 0x7f || b == '/') {
                WRONG(j, where[i], "has a character that a name cannot have: %s",
                      quote(j, names[i]));
                break;
            }
        }
        if (!s->ns_new[NS_UTS] && s->ns_path[NS_UTS] == NULL)
            WRONG(j, where[i], "needs a UTS namespace of its own (linux.namespaces)");
    }
}

static void judge_id_maps(struct judge *j, const char *list, const struct spec_id_map *maps,
                          size_t count)
{
    if (count > 340) /* the kernel's limit (user_namespaces(7)) */
        WRONG(j, list, "has %zu lines, the kernel takes 340", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t inside = (uint64_t)maps[i].container_id + maps[i].size;
        uint64_t outside = (uint64_t)maps[i].host_id + maps[i].size;
        if (maps[i].size == 0 || inside > UINT32_MAX || outside > UINT32_MAX)
            WRONG(j, element(j, list, i, ""), "is empty or goes beyond id 4294967294");
        for (size_t k = 0; k < i && k < 340; k++) {
            bool apart_in = inside <= maps[k].container_id ||
                            (uint64_t)maps[k].container_id + maps[k].size <= maps[i].container_id;
            bool apart_out = outside <= maps[k].host_id ||
                             (uint64_t)maps[k].host_id + maps[k].size <= maps[i].host_id;
            if (!apart_in || !apart_out)
                WRONG(j, element(j, list, i, ""), "overlaps with %s[%zu]", list, k);
        }
    }
}

/** Of the sandbox ("linux") or of a mount. */
static void judge_map_pair(struct judge *j, const char *where, const struct spec_id_map *uid,
                           size_t uid_count, const struct spec_id_map *gid, size_t gid_count)
{
    const char *users = arena_printf(j->problems.arena, "%s.uidMappings", where);
    const char *groups = arena_printf(j->problems.arena, "%s.gidMappings", where);
    if ((uid_count != 0) != (gid_count != 0))
        WRONG(j, uid_count != 0 ? groups : users,
              "mappings of users and of groups belong together");
    judge_id_maps(j, users, uid, uid_count);
    judge_id_maps(j, groups, gid, gid_count);
}

static void judge_mount(struct judge *j, size_t i)
{
    const struct spec_mount *m = &j->spec->mounts[i];
    judge_path(j, element(j, "mounts", i, "destination"), m->destination);
    if (m->destination == NULL || m->destination[0] != '/')
        return;
    if (strcmp(m->destination, "/") == 0)
        UNSUPPORTED(j, element(j, "mounts", i, "destination"),
                    "a mount over the root is not supported; set the rootfs instead");
    if (spec_path_has_dotdot(m->destination))
        WRONG(j, element(j, "mounts", i, "destination"), "may not contain \"..\": %s",
              quote(j, m->destination));
    for (size_t k = 0; k < i; k++) {
        if (strcmp(j->spec->mounts[k].destination, m->destination) == 0)
            WRONG(j, element(j, "mounts", i, "destination"), "a second mount at %s",
                  quote(j, m->destination));
    }
    if (m->kind == MOUNT_FS) {
        if (m->type == NULL || !mount_type_known(m->type)) {
            UNSUPPORTED(j, element(j, "mounts", i, "type"),
                        "a sandbox cannot mount %s; it can mount %s",
                        quote(j, m->type == NULL ? "" : m->type), mount_types());
            return;
        }
    } else {
        judge_path(j, element(j, "mounts", i, "source"), m->source);
    }
    const char *type = m->kind == MOUNT_FS ? m->type : "bind";
    for (size_t k = 0; k < m->data.count; k++) {
        const char *why = mount_data_problem(j->problems.arena, type, m->data.items[k]);
        if (why != NULL)
            WRONG(j, element(j, "mounts", i, "options"), "%s: %s", quote(j, m->data.items[k]), why);
    }
    if (m->copy_up && (m->kind != MOUNT_FS || strcmp(m->type, "tmpfs") != 0))
        WRONG(j, element(j, "mounts", i, "options"), "\"tmpcopyup\" is an option of tmpfs");
    if (m->idmap && m->kind == MOUNT_FS)
        WRONG(j, element(j, "mounts", i, "options"), "\"idmap\" is an option of bind mounts");
    judge_map_pair(j, element(j, "mounts", i, ""), m->uid_maps, m->uid_map_count, m->gid_maps,
                   m->gid_map_count);
}

/* Others live in a joined mount namespace: nothing is built there, and nothing is left out
 * silently.
 */
static void judge_joined_mounts(struct judge *j)
{
    const struct spec *s = j->spec;
    const struct {
        const char *where;
        bool given;
    } building[] = {
        {"root.path", s->rootfs != ROOTFS_HOST},
        {"root.readonly", s->rootfs_readonly},
        {"mounts", s->mount_count > 0},
        {"process.terminal", s->terminal},
        {"linux.devices", s->device_count > 0},
        {"linux.maskedPaths", s->masked_paths.count > 0},
        {"linux.readonlyPaths", s->readonly_paths.count > 0},
        {"linux.rootfsPropagation", s->rootfs_propagation != 0},
    };
    for (size_t i = 0; i < COUNT_OF(building); i++) {
        if (building[i].given)
            UNSUPPORTED(j, building[i].where,
                        "nothing is mounted in a mount namespace joined by path: leave it out "
                        "(root.path may be \"/\")");
    }
}

static void judge_namespaces(struct judge *j)
{
    const struct spec *s = j->spec;
    for (int ns = 0; ns < NS_COUNT; ns++) {
        if (s->ns_path[ns] != NULL)
            judge_path(j, "linux.namespaces", s->ns_path[ns]);
    }
    if (!s->ns_new[NS_MOUNT] && s->ns_path[NS_MOUNT] == NULL)
        UNSUPPORTED(j, "linux.namespaces",
                    "no \"mount\" namespace: a sandbox never changes the host's mounts");
    if (s->ns_path[NS_MOUNT] != NULL)
        judge_joined_mounts(j);
    bool offsets = s->time_offset_set[0] || s->time_offset_set[1];
    if (offsets && !s->ns_new[NS_TIME])
        WRONG(j, "linux.timeOffsets", "needs a new \"time\" namespace (linux.namespaces)");
    judge_map_pair(j, "linux", s->uid_maps, s->uid_map_count, s->gid_maps, s->gid_map_count);
    if (s->uid_map_count != 0 && s->ns_path[NS_USER] != NULL)
        WRONG(j, "linux.uidMappings", "the user namespace of a path has its mappings already");
}

/* Kernel settings that belong to a namespace; every other one is the host's. */
static const struct {
    const char *name; /* a trailing dot: everything below */
    enum spec_namespace ns;
} sysctls[] = {
    {"kernel.msgmax", NS_IPC},     {"kernel.msgmnb", NS_IPC},          {"kernel.msgmni", NS_IPC},
    {"kernel.sem", NS_IPC},        {"kernel.shmall", NS_IPC},          {"kernel.shmmax", NS_IPC},
    {"kernel.shmmni", NS_IPC},     {"kernel.shm_rmid_forced", NS_IPC}, {"fs.mqueue.", NS_IPC},
    {"kernel.domainname", NS_UTS}, {"kernel.hostname", NS_UTS},        {"net.", NS_NETWORK},
};

static void judge_sysctl(struct judge *j, const struct spec_pair *p)
{
    const struct spec *s = j->spec;
    const char *where = arena_printf(j->problems.arena, "linux.sysctl[%s]", quote(j, p->key));
    /* "net/ipv4/x" and "net.ipv4.x" are the same */
    char *name = arena_strdup(j->problems.arena, p->key);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '/')
            *c = '.';
    }
    if (strstr(name, "..") != NULL || name[0] == '.' || name[0] == '\0') {
        WRONG(j, where, "is no name of a kernel setting");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(sysctls); i++) {
        size_t n = strlen(sysctls[i].name);
        bool below = sysctls[i].name[n - 1] == '.';
        if (below ? strncmp(name, sysctls[i].name, n) != 0 : strcmp(name, sysctls[i].name) != 0)
            continue;
        enum spec_namespace ns = sysctls[i].ns;
        if (!s->ns_new[ns] || (ns == NS_NETWORK && s->network == NETWORK_HOST))
            WRONG(j, where, "would change the host: needs a new \"%s\" namespace",
                  namespace_words[ns].name);
        return;
    }
    UNSUPPORTED(j, where, "belongs to no namespace and would change the host");
}

static void judge_unified(struct judge *j, const struct spec_pair *p)
{
    const char *where =
        arena_printf(j->problems.arena, "linux.resources.unified[%s]", quote(j, p->key));
    size_t n = strlen(p->key);
    if (strspn(p->key, "abcdefghijklmnopqrstuvwxyz0123456789_.ABCDEFGHIJKLMNOPQRSTUVWXYZ") != n ||
        strchr(p->key, '.') == NULL || p->key[0] == '.' || n > 128)
        WRONG(j, where, "expected the name of a cgroup file like \"memory.high\"");
    else if (strncmp(p->key, "cgroup.", 7) == 0 && strncmp(p->key, "cgroup.max.", 11) != 0)
        UNSUPPORTED(j, where, "the files of the group itself belong to Cloche");
}

static void judge_resources(struct judge *j)
{
    const struct spec_resources *r = &j->spec->resources;
    if (r->memory_bytes == 0)
        WRONG(j, "linux.resources.memory.limit", "expected a number of bytes > 0, found 0");
    if (r->processes == 0)
        WRONG(j, "linux.resources.pids.limit", "expected a number of processes > 0, found 0");
    if (r->memory_high_bytes != LIMIT_NONE && r->memory_bytes != LIMIT_NONE &&
        r->memory_high_bytes > r->memory_bytes)
        WRONG(j, "linux.resources.memory.reservation", "is above memory.limit");
    if (r->cpu_period_us < 1000 || r->cpu_period_us > 1000000)
        WRONG(j, "linux.resources.cpu.period", "expected 1000 to 1000000 microseconds");
    if (r->cpu_quota_us != LIMIT_NONE && r->cpu_quota_us < 1000)
        WRONG(j, "linux.resources.cpu.quota", "expected at least 1000 microseconds");
    if (r->cpu_idle && r->cpu_shares != 0)
        WRONG(j, "linux.resources.cpu.idle", "a group that is idle has no shares");
    for (size_t i = 0; i < r->unified_count; i++)
        judge_unified(j, &r->unified[i]);
}

/* "10.0.0.2/24" or "fd00::2/64" */
static bool valid_address(const char *text, bool with_prefix)
{
    char host[64];
    const char *slash = strchr(text, '/');
    size_t n = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if ((slash != NULL) != with_prefix || n >= sizeof host)
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    unsigned char raw[16];
    long bits = inet_pton(AF_INET, host, raw) == 1    ? 32
                : inet_pton(AF_INET6, host, raw) == 1 ? 128
                                                      : 0;
    if (slash == NULL)
        return bits != 0;
    size_t digits = strspn(slash + 1, "0123456789");
    return bits != 0 && digits > 0 && digits <= 3 && slash[1 + digits] == '\0' &&
           strtol(slash + 1, NULL, 10) <= bits && strtol(slash + 1, NULL, 10) > 0;
}

static void judge_network(struct judge *j)
{
    const struct spec *s = j->spec;
    bool own = s->ns_new[NS_NETWORK] || s->ns_path[NS_NETWORK] != NULL;
    if (s->network != NETWORK_HOST && !own)
        WRONG(j, "cloche.network", "needs a network namespace (linux.namespaces)");
    if (s->network != NETWORK_BRIDGE)
        return;
    if (s->ns_path[NS_NETWORK] != NULL)
        UNSUPPORTED(j, "cloche.network",
                    "a bridge and a network namespace by path exclude each "
                    "other");
    size_t n = s->bridge == NULL ? 0 : strlen(s->bridge);
    if (n == 0 || n >= IFNAMSIZ || strpbrk(s->bridge, "/ \t\n:") != NULL)
        WRONG(j, "cloche.network.bridge", "expected the name of a network interface, found %s",
              quote(j, s->bridge == NULL ? "" : s->bridge));
    if (s->address != NULL && !valid_address(s->address, true))
        WRONG(j, "cloche.network.address", "expected an address like \"10.0.0.2/24\", found %s",
              quote(j, s->address));
    if (s->gateway != NULL && !valid_address(s->gateway, false))
        WRONG(j, "cloche.network.gateway", "expected an address like \"10.0.0.1\", found %s",
              quote(j, s->gateway));
}

static void judge_seccomp(struct judge *j)
{
    const char *name = j->spec->seccomp.name;
    const char *json = j->spec->seccomp.json;
    struct arena *a = j->problems.arena;
    /* of a file that was named: what cannot be parsed cannot be kept in a spec either */
    if (j->spec->seccomp.kind == SECCOMP_JSON &&
        json_scan(json, strlen(json), NULL, NULL, NULL) < 0)
        WRONG(j, "linux.seccomp", "expected an OCI seccomp object, found what is not JSON%s%s",
              name != NULL ? ": " : "", name != NULL ? name : "");
    if (j->spec->seccomp.kind != SECCOMP_NAMED)
        return;
    if (name != NULL && spec_valid_id(name) &&
        config_builtin(arena_printf(a, "seccomp/%s.json", name), NULL) != NULL)
        return;
    struct strings names = {0};
    char *all = arena_strdup(a, "\"unconfined\"");
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        size_t n = strlen(f->name);
        if (strncmp(f->name, "seccomp/", 8) != 0 || n < 8 + 5)
            continue;
        strings_add(a, &names, arena_strndup(a, f->name + 8, n - 8 - 5));
        all = arena_printf(a, "\"%s\", %s", names.items[names.count - 1], all);
    }
    const char *near =
        name == NULL ? NULL : spec_nearest(name, (const char *const *)names.items, names.count);
    WRONG(j, "cloche.seccomp", "expected one of %s, found %s%s%s%s", all,
          quote(j, name == NULL ? "" : name), near == NULL ? "" : "; did you mean \"",
          near == NULL ? "" : near, near == NULL ? "" : "\"?");
}

static void judge_paths(struct judge *j, const char *list, const struct strings *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        judge_path(j, element(j, list, i, ""), paths->items[i]);
}

static void judge_limits(struct judge *j)
{
    const struct spec *s = j->spec;
    const struct {
        const char *path;
        uint64_t value;
    } positive[] = {
        {"cloche.limits.cpu_ms", s->cpu_time_ms},
        {"cloche.limits.wall_ms", s->wall_ms},
        {"cloche.limits.output_bytes", s->output_bytes},
        {"cloche.limits.tmp_bytes", s->tmp_bytes},
        {"cloche.limits.tmp_files", s->tmp_files},
        {"cloche.idle_timeout_s", s->idle_timeout_s},
        {"cloche.ttl_s", s->ttl_s},
    };
    for (size_t i = 0; i < COUNT_OF(positive); i++) {
        if (positive[i].value == 0)
            WRONG(j, positive[i].path, "expected a number > 0, found 0");
    }
}

static void judge_all(struct judge *j)
{
    const struct spec *s = j->spec;
    judge_process(j);
    judge_names(j);
    if (s->rootfs == ROOTFS_DIR)
        judge_path(j, "root.path", s->rootfs_path);
    for (size_t i = 0; i < s->mount_count; i++)
        judge_mount(j, i);
    judge_namespaces(j);
    for (size_t i = 0; i < s->device_count; i++) {
        judge_path(j, element(j, "linux.devices", i, "path"), s->devices[i].path);
        if (s->devices[i].path != NULL && spec_path_has_dotdot(s->devices[i].path))
            WRONG(j, element(j, "linux.devices", i, "path"), "may not contain \"..\"");
    }
    if (s->cgroups_path != NULL && spec_path_has_dotdot(s->cgroups_path))
        WRONG(j, "linux.cgroupsPath", "may not contain \"..\": %s", quote(j, s->cgroups_path));
    for (size_t i = 0; i < s->sysctl_count; i++)
        judge_sysctl(j, &s->sysctl[i]);
    judge_resources(j);
    judge_limits(j);
    judge_network(j);
    judge_seccomp(j);
    judge_paths(j, "linux.maskedPaths", &s->masked_paths);
    for (size_t i = 0; i < s->masked_paths.count; i++) {
        const char *path = s->masked_paths.items[i];
        if (path[0] != '\0' && path[strspn(path, "/.")] == '\0')
            WRONG(j, element(j, "linux.maskedPaths", i, ""), "the root itself cannot be masked");
    }
    judge_paths(j, "linux.readonlyPaths", &s->readonly_paths);
    judge_paths(j, "cloche.landlock.read", &s->landlock.read);
    judge_paths(j, "cloche.landlock.write", &s->landlock.write);
    judge_paths(j, "cloche.landlock.execute", &s->landlock.execute);
}

int spec_validate(const struct spec *s, struct error *err)
{
    /* problems are rare: their memory is made only when there is one, but paths are built from it
     */
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct judge j = {.spec = s, .problems = {.arena = scratch}};
    judge_all(&j);
    return problems_report(&j.problems, NULL, err);
}

void spec_validate_rest(const struct spec *s, struct problems *p)
{
    struct spec known = *s;
    struct judge j = {.spec = &known, .problems = {.arena = p->arena}};
    if (problems_tell_of(p,
                         "linux.namespaces")) { /* what is missing there is not missed elsewhere */
        memset(known.ns_new, true, sizeof known.ns_new);
        known.network = known.network == NETWORK_HOST ? NETWORK_NONE : known.network;
    }
    judge_all(&j);
    problems_add_others(p, &j.problems);
}
