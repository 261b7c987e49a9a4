/* The "cloche" object -> spec. It is ours, and every key of it protects something: here an unknown
 * property is an error, not an extension to be ignored. */
#include "config/oci.h"

#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#define OF(member) offsetof(struct spec, member)

#define BYTES "a number of bytes > 0"
#define MS    "a number of milliseconds > 0"

/* --- limits ---------------------------------------------------------------------------------- */

/* null takes a limit of a lower layer away */
static bool get_own_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          const struct json_field *field, uint64_t *ret)
{
    if (cJSON_IsNull(value)) {
        *ret = LIMIT_NONE;
        return true;
    }
    return json_get_u64(r, at, value, field->min, INT64_MAX, field->expect, ret);
}

static void read_own_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    get_own_limit(r, at, value, field, to);
}

static bool agrees(struct json_reader *r, const struct json_at *at, bool given, uint64_t theirs,
                   uint64_t ours, const char *oci)
{
    if (!given || theirs == ours)
        return true;
    json_problem(r, at, "differs from %s: give one of them, or the same value", oci);
    return false;
}

static void read_memory_bytes(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    struct spec *s = to;
    uint64_t limit;
    if (get_own_limit(r, at, value, field, &limit) &&
        agrees(r, at, oci_reader(r)->memory_given, s->resources.memory_bytes, limit,
               "linux.resources.memory.limit"))
        s->resources.memory_bytes = limit;
}

static void read_swap_bytes(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    struct spec *s = to;
    struct oci_reader *o = oci_reader(r);
    uint64_t limit;
    if (!get_own_limit(r, at, value, field, &limit))
        return;
    if (o->swap_given) {
        /* theirs is the sum; memory_bytes stands before swap_bytes in the table */
        uint64_t sum = 0;
        bool same = o->swap_total == LIMIT_NONE
                        ? limit == LIMIT_NONE
                        : !__builtin_add_overflow(limit, s->resources.memory_bytes, &sum) &&
                              sum == o->swap_total;
        agrees(r, at, true, 0, same ? 0 : 1,
               "linux.resources.memory.swap (which counts memory and swap together)");
        return;
    }
    s->resources.swap_bytes = limit;
    s->resources.swap_set = true;
}

static void read_processes(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    struct spec *s = to;
    uint64_t limit;
    if (get_own_limit(r, at, value, field, &limit) &&
        agrees(r, at, oci_reader(r)->processes_given, s->resources.processes, limit,
               "linux.resources.pids.limit"))
        s->resources.processes = limit;
}

static void read_cpus(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    uint64_t quota = LIMIT_NONE;
    if (!cJSON_IsNull(value)) {
        double cpus = cJSON_IsNumber(value) ? value->valuedouble : 0;
        if (!(cpus >= 0.01 && cpus <= 8192)) {
            json_wrong(r, at, value, "a number of CPUs from 0.01 to 8192");
            return;
        }
        quota = spec_cpu_quota(cpus, s->resources.cpu_period_us);
        if (quota < 1000) {
            json_problem(r, at, "is less than 1000 us in a period of linux.resources.cpu.period");
            return;
        }
    }
    if (agrees(r, at, oci_reader(r)->quota_given, s->resources.cpu_quota_us, quota,
               "linux.resources.cpu.quota"))
        s->resources.cpu_quota_us = quota;
}

static void set_rlimit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       struct spec *s, const struct json_field *field, int resource, bool given)
{
    uint64_t limit;
    if (!get_own_limit(r, at, value, field, &limit))
        return;
    size_t i = 0;
    while (i < s->rlimit_count && s->rlimits[i].resource != resource)
        i++;
    if (given && i < s->rlimit_count) {
        agrees(r, at, true, s->rlimits[i].soft, limit, "process.rlimits");
        return;
    }
    if (limit != LIMIT_NONE) {
        spec_set_rlimit(s, rlimit_name(resource), limit, limit, NULL);
    } else if (i < s->rlimit_count) {
        memmove(&s->rlimits[i], &s->rlimits[i + 1], (s->rlimit_count - i - 1) * sizeof *s->rlimits);
        s->rlimit_count--;
    }
}

static void read_open_files(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    set_rlimit(r, at, value, to, field, RLIMIT_NOFILE, oci_reader(r)->open_files_given);
}

static void read_file_bytes(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    set_rlimit(r, at, value, to, field, RLIMIT_FSIZE, oci_reader(r)->file_size_given);
}

static void read_tmp_bytes(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    struct spec *s = to;
    oci_reader(r)->tmp_bytes_given = get_own_limit(r, at, value, field, &s->tmp_bytes);
}

static void read_tmp_files(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    struct spec *s = to;
    oci_reader(r)->tmp_files_given = get_own_limit(r, at, value, field, &s->tmp_files);
}

#define LIMIT(name_, read_, expect_, ...)                                                          \
    {                                                                                              \
        .name = name_, .read = read_, .expect = expect_, .min = 1, .null_means_value = true,       \
        __VA_ARGS__                                                                                \
    }

static void read_limits(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        LIMIT("cpu_ms", read_own_limit, MS, .offset = OF(cpu_time_ms)),
        LIMIT("wall_ms", read_own_limit, MS, .offset = OF(wall_ms)),
        LIMIT("output_bytes", read_own_limit, BYTES, .offset = OF(output_bytes)),
        LIMIT("memory_bytes", read_memory_bytes, BYTES, ),
        {.name = "swap_bytes",
         .read = read_swap_bytes,
         .expect = "a number of bytes, at least 0",
         .null_means_value = true},
        LIMIT("processes", read_processes, "a number of processes > 0", ),
        LIMIT("cpus", read_cpus, NULL, ),
        LIMIT("open_files", read_open_files, "a number of open files > 0", ),
        LIMIT("file_bytes", read_file_bytes, BYTES, ),
        LIMIT("tmp_bytes", read_tmp_bytes, BYTES, ),
        LIMIT("tmp_files", read_tmp_files, "a number of files > 0", ),
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_STRICT);
}

/* --- rootfs, network, landlock --------------------------------------------------------------- */

static void read_enforce(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_word words[] = {{"required", 1}, {"best-effort", 0}, {NULL, 0}};
    uint64_t required;
    if (json_get_word(r, at, value, words, &required))
        *(bool *)to = required != 0;
}

static void read_rootfs(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {{.name = "path", .read = json_read_string}};
    struct oci_reader *o = oci_reader(r);
    struct spec *s = to;
    if (cJSON_IsObject(value)) {
        const char *path = NULL;
        json_object(r, at, value, &path, fields, COUNT_OF(fields), JSON_STRICT);
        if (path != NULL && o->root_path != NULL && strcmp(path, o->root_path) != 0)
            json_problem(r, at, "differs from root.path: give one of them, or the same path");
        else if (path != NULL)
            o->root_path = path; /* settled with the bundle directory at the end */
        else
            json_problem(r, at, "has no \"path\"");
        return;
    }
    uint64_t kind;
    if (!json_get_word(r, at, value, rootfs_words, &kind))
        return;
    o->rootfs_given = true;
    s->rootfs = (enum spec_rootfs)kind;
    s->rootfs_path = NULL;
}

static void read_network(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "bridge", .read = json_read_string, .offset = OF(bridge)},
        {.name = "address", .read = json_read_string, .offset = OF(address)},
        {.name = "gateway", .read = json_read_string, .offset = OF(gateway)},
    };
    struct spec *s = to;
    uint64_t network = NETWORK_BRIDGE;
    const char *bridge = NULL;
    s->bridge = s->address = s->gateway = NULL;
    if (cJSON_IsObject(value)) {
        json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_STRICT);
        bridge = s->bridge;
        if (bridge == NULL)
            json_problem(r, at, "has no \"bridge\"");
    } else if (!json_get_word(r, at, value, network_words, &network)) {
        return;
    }
    s->network = (enum spec_network)network;
    oci_reader(r)->network_given = true;
}

static void read_ports(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       uint16_t **ret, size_t *ret_count)
{
    if (!json_is_array(r, at, value, "an array of port numbers"))
        return;
    *ret = NULL;
    *ret_count = 0;
    JSON_EACH(item, element, at, value)
    {
        uint64_t port;
        if (!json_get_u64(r, &element, item, 0, UINT16_MAX, NULL, &port))
            continue;
        *ret = arena_grow(r->arena, *ret, *ret_count, sizeof **ret);
        (*ret)[(*ret_count)++] = (uint16_t)port;
    }
}

static void read_tcp_bind(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    struct spec_landlock *l = to;
    l->tcp_given = true;
    read_ports(r, at, value, &l->tcp_bind, &l->tcp_bind_count);
}

static void read_tcp_connect(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    struct spec_landlock *l = to;
    l->tcp_given = true;
    read_ports(r, at, value, &l->tcp_connect, &l->tcp_connect_count);
}

static void read_landlock(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("read", json_read_paths, struct spec_landlock, read),
        JSON_FIELD("write", json_read_paths, struct spec_landlock, write),
        JSON_FIELD("execute", json_read_paths, struct spec_landlock, execute),
        {.name = "tcp_bind", .read = read_tcp_bind},
        {.name = "tcp_connect", .read = read_tcp_connect},
    };
    struct spec_landlock *l = to;
    *l = (struct spec_landlock){.given = !cJSON_IsNull(value)};
    if (l->given)
        json_object(r, at, value, l, fields, COUNT_OF(fields), JSON_STRICT);
}

static void read_seccomp_name(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    struct spec_seccomp *seccomp = to;
    if (oci_reader(r)->seccomp_given) {
        json_problem(r, at, "linux.seccomp is given, too: give one of them");
    } else if (!cJSON_IsString(value) || !spec_valid_id(value->valuestring)) {
        json_wrong(r, at, value, "the name of a syscall filter, or \"unconfined\"");
    } else if (strcmp(value->valuestring, "unconfined") == 0) {
        *seccomp = (struct spec_seccomp){.kind = SECCOMP_UNCONFINED};
    } else {
        *seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED,
                                         .name = arena_strdup(r->arena, value->valuestring)};
    }
}

/* --- long-lived sandboxes -------------------------------------------------------------------- */

static void read_monitor_action(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)field;
    uint64_t action;
    if (json_get_word(r, at, value, monitor_words, &action))
        *(enum spec_monitor *)to = (enum spec_monitor)action;
}

static void read_monitor(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "interval_ms",
         .read = json_read_u64,
         .offset = OF(monitor_interval_ms),
         .min = 10,
         .max = 3600000},
        {.name = "warn_percent",
         .read = json_read_u32,
         .offset = OF(monitor_warn_percent),
         .min = 1,
         .max = 100},
        {.name = "action", .read = read_monitor_action, .offset = OF(monitor_action)},
    };
    struct spec *s = to;
    const cJSON *action = cJSON_GetObjectItemCaseSensitive(value, "action");
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_STRICT);
    /* who says when to warn wants to be warned */
    if (action == NULL && cJSON_HasObjectItem(value, "warn_percent") &&
        s->monitor_action == MONITOR_NONE)
        s->monitor_action = MONITOR_WARN;
}

static void read_children(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    children_check(r, at, value);
    *(const char **)to = json_text(r->arena, value);
}

static void read_modules(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    modules_check(r, at, value);
    *(const char **)to = json_text(r->arena, value);
}

static void read_module_policy(struct json_reader *r, const struct json_at *at, const cJSON *value,
                               void *to, const struct json_field *field)
{
    (void)field;
    module_policy_check(r, at, value);
    *(const char **)to = json_text(r->arena, value);
}

static void read_strategy(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    uint64_t strategy;
    if (json_get_word(r, at, value, strategy_words, &strategy))
        *(const char **)to = strategy_words[strategy].name;
}

/* A profile's name may be written down; applying it is what "extends" does. */
static void read_profile_name(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    if (cJSON_IsString(value) && spec_valid_id(value->valuestring))
        *(const char **)to = arena_strdup(r->arena, value->valuestring);
    else
        json_wrong(r, at, value, "the name of a profile");
}

static void check_string(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)to, (void)field;
    const char *text;
    json_get_string(r, at, value, &text);
}

void oci_read_cloche(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "description", .read = check_string},
        {.name = "extends", .read = check_string}, /* applied before anything of the file */
        {.name = "profile", .read = read_profile_name, .offset = OF(profile)},
        {.name = "limits", .read = read_limits},
        {.name = "enforce", .read = read_enforce, .offset = OF(enforce_required)},
        {.name = "rootfs", .read = read_rootfs},
        {.name = "network", .read = read_network},
        {.name = "seccomp", .read = read_seccomp_name, .offset = OF(seccomp)},
        {.name = "landlock",
         .read = read_landlock,
         .offset = OF(landlock),
         .null_means_value = true},
        {.name = "monitor", .read = read_monitor},
        {.name = "idle_timeout_s",
         .read = read_own_limit,
         .offset = OF(idle_timeout_s),
         .min = 1,
         .expect = "a number of seconds > 0",
         .null_means_value = true},
        {.name = "ttl_s",
         .read = read_own_limit,
         .offset = OF(ttl_s),
         .min = 1,
         .expect = "a number of seconds > 0",
         .null_means_value = true},
        {.name = "children", .read = read_children, .offset = OF(children_json)},
        {.name = "modules", .read = read_modules, .offset = OF(modules_json)},
        {.name = "module_policy", .read = read_module_policy, .offset = OF(module_policy_json)},
        {.name = "strategy", .read = read_strategy, .offset = OF(strategy)},
        {.name = "max_restarts", .read = json_read_u32, .offset = OF(max_restarts), .max = 1000000},
        {.name = "max_seconds",
         .read = json_read_u32,
         .offset = OF(max_seconds),
         .min = 1,
         .max = 86400},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_STRICT);
}
