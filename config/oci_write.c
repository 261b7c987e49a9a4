/* spec -> OCI config.json with a cloche object. What OCI has a word for is written in OCI's words,
 * so that other runtimes enforce it, too; the cloche object carries the rest. */
#include "config/names.h"

#include "base/syscalls.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct writer {
    const struct spec *s;
    struct arena *a; /* for text on its way */
};

/* --- small parts ----------------------------------------------------------------------------- */

/* cJSON's numbers are doubles; whole numbers go through as their own text */
static cJSON *number_u64(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_CreateRaw(text);
}

static cJSON *number_i64(int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return cJSON_CreateRaw(text);
}

static void put(cJSON *object, const char *name, cJSON *value)
{
    cJSON_AddItemToObject(object, name, value);
}

static void put_u64(cJSON *object, const char *name, uint64_t value)
{
    put(object, name, number_u64(value));
}

static void put_string(cJSON *object, const char *name, const char *value)
{
    if (value != NULL)
        cJSON_AddStringToObject(object, name, value);
}

static cJSON *put_object(cJSON *object, const char *name)
{
    return cJSON_AddObjectToObject(object, name);
}

/* Take an object away again that nothing was put into. */
static void drop_empty(cJSON *object, const char *name)
{
    cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    if (value != NULL && value->child == NULL)
        cJSON_DeleteItemFromObjectCaseSensitive(object, name);
}

static cJSON *string_array(const struct strings *list)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < list->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->items[i]));
    return array;
}

static void put_strings(cJSON *object, const char *name, const struct strings *list)
{
    if (list->count > 0)
        put(object, name, string_array(list));
}

static void put_pairs(cJSON *object, const char *name, const struct spec_pair *pairs, size_t count)
{
    if (count == 0)
        return;
    cJSON *to = put_object(object, name);
    for (size_t i = 0; i < count; i++)
        put_string(to, pairs[i].key, pairs[i].value);
}

static void put_text(struct writer *w, cJSON *object, const char *name, const char *json)
{
    if (json == NULL)
        return;
    cJSON *value = json_parse(w->a, json, strlen(json), NULL);
    if (value == NULL)
        return;
    json_keep_numbers(value);
    put(object, name, value);
}

static void put_id_maps(cJSON *object, const char *name, const struct spec_id_map *maps,
                        size_t count)
{
    if (count == 0)
        return;
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; i < count; i++) {
        cJSON *map = cJSON_CreateObject();
        put_u64(map, "containerID", maps[i].container_id);
        put_u64(map, "hostID", maps[i].host_id);
        put_u64(map, "size", maps[i].size);
        cJSON_AddItemToArray(array, map);
    }
}

/* --- process --------------------------------------------------------------------------------- */

static void put_capabilities(cJSON *object, const char *name, uint64_t mask)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (int i = 0; i < 64; i++) {
        if ((mask >> i & 1) != 0 && spec_capability_name(i) != NULL)
            cJSON_AddItemToArray(array, cJSON_CreateString(spec_capability_name(i)));
    }
}

static void write_user(const struct spec *s, cJSON *process)
{
    cJSON *user = put_object(process, "user");
    put_u64(user, "uid", s->uid);
    put_u64(user, "gid", s->gid);
    if (s->umask != (mode_t)-1)
        put_u64(user, "umask", s->umask);
    if (s->additional_gid_count > 0) {
        cJSON *gids = cJSON_AddArrayToObject(user, "additionalGids");
        for (size_t i = 0; i < s->additional_gid_count; i++)
            cJSON_AddItemToArray(gids, number_u64(s->additional_gids[i]));
    }
}

static void write_process(struct writer *w, cJSON *root)
{
    const struct spec *s = w->s;
    cJSON *process = put_object(root, "process");
    cJSON_AddBoolToObject(process, "terminal", s->terminal);
    if (s->console_rows != 0 || s->console_columns != 0) {
        cJSON *size = put_object(process, "consoleSize");
        put_u64(size, "height", s->console_rows);
        put_u64(size, "width", s->console_columns);
    }
    write_user(s, process);
    put_strings(process, "args", &s->args);
    put(process, "env", string_array(&s->env));
    put_string(process, "cwd", s->cwd);
    cJSON *caps = put_object(process, "capabilities");
    put_capabilities(caps, "bounding", s->capabilities.bounding);
    put_capabilities(caps, "effective", s->capabilities.effective);
    put_capabilities(caps, "inheritable", s->capabilities.inheritable);
    put_capabilities(caps, "permitted", s->capabilities.permitted);
    put_capabilities(caps, "ambient", s->capabilities.ambient);
    if (s->rlimit_count > 0) {
        cJSON *array = cJSON_AddArrayToObject(process, "rlimits");
        for (size_t i = 0; i < s->rlimit_count; i++) {
            cJSON *limit = cJSON_CreateObject();
            put_string(limit, "type", rlimit_name(s->rlimits[i].resource));
            put_u64(limit, "soft", s->rlimits[i].soft);
            put_u64(limit, "hard", s->rlimits[i].hard);
            cJSON_AddItemToArray(array, limit);
        }
    }
    cJSON_AddBoolToObject(process, "noNewPrivileges", s->no_new_privileges);
    if (s->oom_score_adj_set)
        put(process, "oomScoreAdj", number_i64(s->oom_score_adj));
}

/* --- mounts ---------------------------------------------------------------------------------- */

static bool data_says(const struct strings *data, const char *key)
{
    for (size_t i = 0; i < data->count; i++) {
        if (strncmp(data->items[i], key, strlen(key)) == 0)
            return true;
    }
    return false;
}

static bool is_tmp(const struct spec_mount *m)
{
    return m->kind == MOUNT_FS && strcmp(m->destination, "/tmp") == 0 &&
           strcmp(m->type, "tmpfs") == 0;
}

static bool word_applies(uint64_t set, uint64_t clear, uint64_t word_set, uint64_t word_clear)
{
    if (word_clear == MOUNT_ATTR__ATIME)
        return (clear & MOUNT_ATTR__ATIME) == MOUNT_ATTR__ATIME &&
               (set & MOUNT_ATTR__ATIME) == word_set;
    return (word_set != 0 && (set & word_set) == word_set) ||
           (word_clear != 0 && (clear & word_clear) == word_clear);
}

static void write_options(struct writer *w, const struct spec_mount *m, cJSON *to)
{
    struct strings words = {0};
    if (m->kind != MOUNT_FS)
        strings_add(w->a, &words, m->recursive ? "rbind" : "bind");
    if (m->kind == MOUNT_OVERLAY)
        strings_add(w->a, &words, "x-overlay");
    for (const struct mount_word *x = mount_words; x->name != NULL; x++) {
        if (word_applies(m->attr_set, m->attr_clear, x->set, x->clear) ||
            word_applies(m->attr_set_recursive, m->attr_clear_recursive, x->set_recursive,
                         x->clear_recursive))
            strings_add(w->a, &words, x->name);
    }
    if (m->propagation != 0)
        strings_add(w->a, &words, word_name(propagation_words, m->propagation));
    if (m->copy_up)
        strings_add(w->a, &words, "tmpcopyup");
    if (m->idmap)
        strings_add(w->a, &words, m->idmap_recursive ? "ridmap" : "idmap");
    if (m->optional)
        strings_add(w->a, &words, "x-optional");
    for (size_t i = 0; i < m->data.count; i++)
        strings_add(w->a, &words, m->data.items[i]);
    /* other runtimes learn the size of /tmp, too; the reader takes it for limits.tmp_* */
    if (is_tmp(m) && !data_says(&m->data, "size=") && w->s->tmp_bytes != LIMIT_NONE)
        strings_add(w->a, &words, arena_printf(w->a, "size=%" PRIu64, w->s->tmp_bytes));
    if (is_tmp(m) && !data_says(&m->data, "nr_inodes=") && w->s->tmp_files != LIMIT_NONE)
        strings_add(w->a, &words, arena_printf(w->a, "nr_inodes=%" PRIu64, w->s->tmp_files));
    put_strings(to, "options", &words);
}

static void write_mounts(struct writer *w, cJSON *root)
{
    cJSON *array = cJSON_AddArrayToObject(root, "mounts");
    for (size_t i = 0; i < w->s->mount_count; i++) {
        const struct spec_mount *m = &w->s->mounts[i];
        cJSON *to = cJSON_CreateObject();
        put_string(to, "destination", m->destination);
        put_string(to, "type", m->kind == MOUNT_FS ? m->type : "bind");
        put_string(to, "source", m->source);
        write_options(w, m, to);
        put_id_maps(to, "uidMappings", m->uid_maps, m->uid_map_count);
        put_id_maps(to, "gidMappings", m->gid_maps, m->gid_map_count);
        cJSON_AddItemToArray(array, to);
    }
}

/* --- linux ----------------------------------------------------------------------------------- */

static void write_namespaces(const struct spec *s, cJSON *linux_object)
{
    cJSON *array = cJSON_AddArrayToObject(linux_object, "namespaces");
    for (int ns = 0; ns < NS_COUNT; ns++) {
        bool listed = s->ns_new[ns] || s->ns_path[ns] != NULL;
        /* Cloche makes a user namespace in any case, and chooses its mappings when there are none;
         * other runtimes refuse one without */
        if (ns == NS_USER && s->ns_path[ns] == NULL && s->uid_map_count == 0)
            listed = false;
        if (ns == NS_NETWORK && s->network == NETWORK_HOST)
            listed = false;
        if (!listed)
            continue;
        cJSON *to = cJSON_CreateObject();
        put_string(to, "type", word_name(namespace_words, (uint64_t)ns));
        put_string(to, "path", s->ns_path[ns]);
        cJSON_AddItemToArray(array, to);
    }
}

static void write_devices(const struct spec *s, cJSON *linux_object)
{
    if (s->device_count == 0)
        return;
    cJSON *array = cJSON_AddArrayToObject(linux_object, "devices");
    for (size_t i = 0; i < s->device_count; i++) {
        const struct spec_device *d = &s->devices[i];
        const char type[2] = {d->type, '\0'};
        cJSON *to = cJSON_CreateObject();
        put_string(to, "path", d->path);
        put_string(to, "type", type);
        put_u64(to, "major", d->major);
        put_u64(to, "minor", d->minor);
        if (d->mode != SPEC_MODE_ANY)
            put_u64(to, "fileMode", d->mode);
        put_u64(to, "uid", d->uid);
        put_u64(to, "gid", d->gid);
        cJSON_AddItemToArray(array, to);
    }
}

static void write_device_rules(const struct spec_resources *r, cJSON *to)
{
    if (r->device_rule_count == 0)
        return;
    cJSON *array = cJSON_AddArrayToObject(to, "devices");
    for (size_t i = 0; i < r->device_rule_count; i++) {
        const struct spec_device_rule *d = &r->device_rules[i];
        const char type[2] = {d->type, '\0'};
        cJSON *rule = cJSON_CreateObject();
        cJSON_AddBoolToObject(rule, "allow", d->allow);
        put_string(rule, "type", type);
        if (d->major >= 0)
            put(rule, "major", number_i64(d->major));
        if (d->minor >= 0)
            put(rule, "minor", number_i64(d->minor));
        put_string(rule, "access", d->access);
        cJSON_AddItemToArray(array, rule);
    }
}

/* Whether OCI's sum of memory and swap can say what is asked. */
static bool swap_has_sum(const struct spec_resources *r, uint64_t *ret_sum)
{
    if (r->swap_bytes == LIMIT_NONE || r->memory_bytes == LIMIT_NONE)
        return false;
    return !__builtin_add_overflow(r->swap_bytes, r->memory_bytes, ret_sum) &&
           *ret_sum <= INT64_MAX;
}

static void write_memory(const struct spec_resources *r, cJSON *to)
{
    uint64_t sum;
    cJSON *memory = put_object(to, "memory");
    if (r->memory_bytes != LIMIT_NONE)
        put_u64(memory, "limit", r->memory_bytes);
    if (r->memory_high_bytes != LIMIT_NONE)
        put_u64(memory, "reservation", r->memory_high_bytes);
    if (r->swap_set && r->swap_bytes == LIMIT_NONE)
        put(memory, "swap", number_i64(-1));
    else if (r->swap_set && swap_has_sum(r, &sum))
        put_u64(memory, "swap", sum);
    drop_empty(to, "memory");
}

static void write_cpu(const struct spec_resources *r, cJSON *to)
{
    cJSON *cpu = put_object(to, "cpu");
    if (r->cpu_shares != 0)
        put_u64(cpu, "shares", r->cpu_shares);
    if (r->cpu_quota_us != LIMIT_NONE)
        put_u64(cpu, "quota", r->cpu_quota_us);
    if (r->cpu_quota_us != LIMIT_NONE || r->cpu_period_us != 100000)
        put_u64(cpu, "period", r->cpu_period_us);
    put_string(cpu, "cpus", r->cpuset_cpus);
    put_string(cpu, "mems", r->cpuset_mems);
    if (r->cpu_idle)
        put_u64(cpu, "idle", 1);
    drop_empty(to, "cpu");
}

static void write_throttle(const struct spec_resources *r, cJSON *block, const char *name,
                           size_t member)
{
    cJSON *array = cJSON_AddArrayToObject(block, name);
    for (size_t i = 0; i < r->blkio_device_count; i++) {
        const struct spec_blkio_device *d = &r->blkio_devices[i];
        uint64_t rate = *(const uint64_t *)(const void *)((const char *)d + member);
        bool weight = member == offsetof(struct spec_blkio_device, weight);
        if (rate == (weight ? 0 : LIMIT_NONE))
            continue;
        cJSON *to = cJSON_CreateObject();
        put_u64(to, "major", d->major);
        put_u64(to, "minor", d->minor);
        put_u64(to, weight ? "weight" : "rate", rate);
        cJSON_AddItemToArray(array, to);
    }
    drop_empty(block, name);
}

static void write_block_io(const struct spec_resources *r, cJSON *to)
{
    cJSON *block = put_object(to, "blockIO");
    if (r->blkio_weight != 0)
        put_u64(block, "weight", r->blkio_weight);
    write_throttle(r, block, "weightDevice", offsetof(struct spec_blkio_device, weight));
    write_throttle(r, block, "throttleReadBpsDevice", offsetof(struct spec_blkio_device, read_bps));
    write_throttle(r, block, "throttleWriteBpsDevice",
                   offsetof(struct spec_blkio_device, write_bps));
    write_throttle(r, block, "throttleReadIOPSDevice",
                   offsetof(struct spec_blkio_device, read_iops));
    write_throttle(r, block, "throttleWriteIOPSDevice",
                   offsetof(struct spec_blkio_device, write_iops));
    drop_empty(to, "blockIO");
}

static void write_resources(const struct spec_resources *r, cJSON *linux_object)
{
    cJSON *to = put_object(linux_object, "resources");
    write_device_rules(r, to);
    write_memory(r, to);
    write_cpu(r, to);
    if (r->processes != LIMIT_NONE)
        put_u64(put_object(to, "pids"), "limit", r->processes);
    write_block_io(r, to);
    if (r->hugepage_count > 0) {
        cJSON *array = cJSON_AddArrayToObject(to, "hugepageLimits");
        for (size_t i = 0; i < r->hugepage_count; i++) {
            cJSON *limit = cJSON_CreateObject();
            put_string(limit, "pageSize", r->hugepages[i].page_size);
            put_u64(limit, "limit", r->hugepages[i].limit_bytes);
            cJSON_AddItemToArray(array, limit);
        }
    }
    put_pairs(to, "unified", r->unified, r->unified_count);
    drop_empty(linux_object, "resources");
}

static void write_time_offsets(const struct spec *s, cJSON *linux_object)
{
    static const char *const clocks[] = {"monotonic", "boottime"};
    cJSON *offsets = put_object(linux_object, "timeOffsets");
    for (size_t i = 0; i < COUNT_OF(clocks); i++) {
        if (!s->time_offset_set[i])
            continue;
        cJSON *to = put_object(offsets, clocks[i]);
        put(to, "secs", number_i64(s->time_offset_secs[i]));
        put_u64(to, "nanosecs", s->time_offset_nanosecs[i]);
    }
    drop_empty(linux_object, "timeOffsets");
}

static void write_linux(struct writer *w, cJSON *root)
{
    const struct spec *s = w->s;
    cJSON *to = put_object(root, "linux");
    write_namespaces(s, to);
    put_id_maps(to, "uidMappings", s->uid_maps, s->uid_map_count);
    put_id_maps(to, "gidMappings", s->gid_maps, s->gid_map_count);
    write_devices(s, to);
    put_string(to, "cgroupsPath", s->cgroups_path);
    write_resources(&s->resources, to);
    put_pairs(to, "sysctl", s->sysctl, s->sysctl_count);
    if (s->seccomp.kind == SECCOMP_JSON)
        put_text(w, to, "seccomp", s->seccomp.json);
    put_strings(to, "maskedPaths", &s->masked_paths);
    put_strings(to, "readonlyPaths", &s->readonly_paths);
    if (s->rootfs_propagation != 0)
        put_string(to, "rootfsPropagation", word_name(propagation_words, s->rootfs_propagation));
    if (s->personality != UINT32_MAX)
        put_string(put_object(to, "personality"), "domain",
                   s->personality == 8 ? "LINUX32" : "LINUX");
    write_time_offsets(s, to);
}

/* --- cloche ---------------------------------------------------------------------------------- */

static void put_limit(cJSON *object, const char *name, uint64_t value)
{
    if (value == LIMIT_NONE)
        cJSON_AddNullToObject(object, name);
    else
        put_u64(object, name, value);
}

/* A mount at /tmp that states its own size has the last word. */
static bool tmp_says(const struct spec *s, const char *key)
{
    for (size_t i = 0; i < s->mount_count; i++) {
        if (is_tmp(&s->mounts[i]) && data_says(&s->mounts[i].data, key))
            return true;
    }
    return false;
}

static void write_limits(const struct spec *s, cJSON *cloche)
{
    uint64_t sum;
    const struct spec_resources *r = &s->resources;
    cJSON *limits = put_object(cloche, "limits");
    put_limit(limits, "cpu_ms", s->cpu_time_ms);
    put_limit(limits, "wall_ms", s->wall_ms);
    put_limit(limits, "output_bytes", s->output_bytes);
    if (r->swap_set && r->swap_bytes != LIMIT_NONE && !swap_has_sum(r, &sum))
        put_u64(limits, "swap_bytes", r->swap_bytes);
    if (!tmp_says(s, "size="))
        put_limit(limits, "tmp_bytes", s->tmp_bytes);
    if (!tmp_says(s, "nr_inodes="))
        put_limit(limits, "tmp_files", s->tmp_files);
}

static void write_network(const struct spec *s, cJSON *cloche)
{
    if (s->network != NETWORK_BRIDGE) {
        put_string(cloche, "network", word_name(network_words, s->network));
        return;
    }
    cJSON *network = put_object(cloche, "network");
    put_string(network, "bridge", s->bridge);
    put_string(network, "address", s->address);
    put_string(network, "gateway", s->gateway);
}

static void put_ports(cJSON *object, const char *name, const uint16_t *ports, size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(array, number_u64(ports[i]));
}

static void write_landlock(const struct spec_landlock *l, cJSON *cloche)
{
    if (!l->given)
        return;
    cJSON *to = put_object(cloche, "landlock");
    put_strings(to, "read", &l->read);
    put_strings(to, "write", &l->write);
    put_strings(to, "execute", &l->execute);
    if (l->tcp_given) {
        put_ports(to, "tcp_bind", l->tcp_bind, l->tcp_bind_count);
        put_ports(to, "tcp_connect", l->tcp_connect, l->tcp_connect_count);
    }
}

static void write_cloche(struct writer *w, cJSON *root)
{
    const struct spec *s = w->s;
    cJSON *to = put_object(root, "cloche");
    put_string(to, "profile", s->profile);
    write_limits(s, to);
    put_string(to, "enforce", s->enforce_required ? "required" : "best-effort");
    if (s->rootfs == ROOTFS_DIR)
        put_string(put_object(to, "rootfs"), "path", s->rootfs_path);
    else
        put_string(to, "rootfs", word_name(rootfs_words, s->rootfs));
    write_network(s, to);
    if (s->seccomp.kind == SECCOMP_NAMED)
        put_string(to, "seccomp", s->seccomp.name);
    else if (s->seccomp.kind == SECCOMP_UNCONFINED)
        put_string(to, "seccomp", "unconfined");
    write_landlock(&s->landlock, to);
    cJSON *monitor = put_object(to, "monitor");
    put_u64(monitor, "interval_ms", s->monitor_interval_ms);
    put_u64(monitor, "warn_percent", s->monitor_warn_percent);
    put_string(monitor, "action", word_name(monitor_words, s->monitor_action));
    put_limit(to, "idle_timeout_s", s->idle_timeout_s);
    put_limit(to, "ttl_s", s->ttl_s);
    put_text(w, to, "children", s->children_json);
    put_text(w, to, "modules", s->modules_json);
    put_text(w, to, "module_policy", s->module_policy_json);
    put_string(to, "strategy", s->strategy);
    put_u64(to, "max_restarts", s->max_restarts);
    put_u64(to, "max_seconds", s->max_seconds);
}

char *spec_to_json(const struct spec *s)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct writer w = {s, a};
    _cleanup_json_ cJSON *root = cJSON_CreateObject();
    put_string(root, "ociVersion", s->oci_version);
    write_process(&w, root);
    /* OCI wants a path; for an invented root it is a stand-in that the cloche object overrides */
    cJSON *rootfs = put_object(root, "root");
    put_string(rootfs, "path", s->rootfs == ROOTFS_DIR ? s->rootfs_path : "/");
    cJSON_AddBoolToObject(rootfs, "readonly", s->rootfs_readonly);
    bool own_name = s->ns_new[NS_UTS] || s->ns_path[NS_UTS] != NULL;
    put_string(root, "hostname", s->hostname == NULL && own_name ? "" : s->hostname);
    put_string(root, "domainname", s->domainname);
    write_mounts(&w, root);
    put_pairs(root, "annotations", s->annotations, s->annotation_count);
    write_linux(&w, root);
    write_cloche(&w, root);
    return cJSON_Print(root);
}
