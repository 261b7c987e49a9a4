/* The "linux" object of a config.json -> spec. */
#include "config/oci.h"

#include <string.h>
#include <sys/mount.h>

#define OF(member)  offsetof(struct spec, member)
#define RES(member) offsetof(struct spec_resources, member)

/* --- namespaces ------------------------------------------------------------------------------ */

struct namespace_entry {
    uint64_t type;
    const char *path;
};

static void read_namespace_type(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)field;
    json_get_word(r, at, value, namespace_words, to);
}

static void read_namespace_path(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    if (!cJSON_IsString(value) || value->valuestring[0] != '\0')
        json_read_path(r, at, value, to, field);
}

static void read_namespaces(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("type", read_namespace_type, struct namespace_entry, type),
        JSON_FIELD("path", read_namespace_path, struct namespace_entry, path),
    };
    struct spec *s = to;
    if (!json_is_array(r, at, value, "an array of namespaces"))
        return;
    oci_reader(r)->namespaces_given = true;
    bool seen[NS_COUNT] = {0};
    for (int ns = 0; ns < NS_COUNT; ns++) {
        s->ns_new[ns] = ns == NS_USER; /* always made: it is the first of the walls */
        s->ns_path[ns] = NULL;
    }
    JSON_EACH(item, element, at, value)
    {
        struct namespace_entry e = {.type = NS_COUNT};
        size_t before = r->problems.count;
        json_object(r, &element, item, &e, fields, COUNT_OF(fields), JSON_TOLERANT);
        if (r->problems.count != before)
            continue;
        if (e.type == NS_COUNT) {
            json_problem(r, &element, "has no \"type\"");
        } else if (seen[e.type]) {
            json_problem(r, &element, "\"%s\" stands there twice", namespace_words[e.type].name);
        } else {
            seen[e.type] = true;
            s->ns_new[e.type] = e.path == NULL;
            s->ns_path[e.type] = e.path;
        }
    }
}

static void read_uid_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    oci_get_id_maps(r, at, value, &s->uid_maps, &s->uid_map_count);
}

static void read_gid_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    oci_get_id_maps(r, at, value, &s->gid_maps, &s->gid_map_count);
}

/* --- devices --------------------------------------------------------------------------------- */

static const struct json_word device_words[] = {
    {"c", 'c'}, {"b", 'b'}, {"u", 'c'}, {"p", 'p'}, {NULL, 0}};

static void read_device_type(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    uint64_t type;
    if (json_get_word(r, at, value, device_words, &type))
        *(char *)to = (char)type;
}

static void read_devices(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("path", json_read_path, struct spec_device, path),
        JSON_FIELD("type", read_device_type, struct spec_device, type),
        JSON_FIELD("major", json_read_u32, struct spec_device, major, .max = (1U << 12) - 1),
        JSON_FIELD("minor", json_read_u32, struct spec_device, minor, .max = (1U << 20) - 1),
        JSON_FIELD("fileMode", json_read_u32, struct spec_device, mode, .max = 07777),
        JSON_FIELD("uid", json_read_u32, struct spec_device, uid, .max = UINT32_MAX - 1),
        JSON_FIELD("gid", json_read_u32, struct spec_device, gid, .max = UINT32_MAX - 1),
    };
    struct spec *s = to;
    if (!json_is_array(r, at, value, "an array of devices"))
        return;
    s->devices = NULL;
    s->device_count = 0;
    JSON_EACH(item, element, at, value)
    {
        struct spec_device d = {.mode = 0666};
        size_t before = r->problems.count;
        json_object(r, &element, item, &d, fields, COUNT_OF(fields), JSON_TOLERANT);
        if (r->problems.count != before)
            continue;
        size_t needed = d.type == 'p' ? 2 : 4; /* a FIFO has no number */
        for (size_t i = 0; i < needed; i++) {
            if (!json_has(item, fields[i].name))
                json_problem(r, &element, "has no \"%s\"", fields[i].name);
        }
        if (r->problems.count != before)
            continue;
        d.path = spec_clean_path(r->arena, d.path);
        s->devices = arena_grow(r->arena, s->devices, s->device_count, sizeof *s->devices);
        s->devices[s->device_count++] = d;
    }
}

static const struct json_word rule_words[] = {{"a", 'a'}, {"c", 'c'}, {"b", 'b'},
                                              {"u", 'c'}, {"p", 'p'}, {NULL, 0}};

static void read_rule_type(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)field;
    uint64_t type;
    if (cJSON_IsString(value) && value->valuestring[0] == '\0')
        return;
    if (json_get_word(r, at, value, rule_words, &type))
        *(char *)to = (char)type;
}

static void read_access(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    if (cJSON_IsString(value) && strspn(value->valuestring, "rwm") == strlen(value->valuestring) &&
        strlen(value->valuestring) <= 3)
        *(const char **)to = arena_strdup(r->arena, value->valuestring);
    else
        json_wrong(r, at, value, "letters of \"rwm\"");
}

static void read_device_rules(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("allow", json_read_bool, struct spec_device_rule, allow),
        JSON_FIELD("type", read_rule_type, struct spec_device_rule, type),
        JSON_FIELD("major", json_read_i64, struct spec_device_rule, major, .min = (uint64_t)-1,
                   .max = UINT32_MAX),
        JSON_FIELD("minor", json_read_i64, struct spec_device_rule, minor, .min = (uint64_t)-1,
                   .max = UINT32_MAX),
        JSON_FIELD("access", read_access, struct spec_device_rule, access),
    };
    struct spec_resources *res = to;
    if (!json_is_array(r, at, value, "an array of device rules"))
        return;
    res->device_rules = NULL;
    res->device_rule_count = 0;
    JSON_EACH(item, element, at, value)
    {
        struct spec_device_rule d = {.type = 'a', .major = -1, .minor = -1, .access = "rwm"};
        json_object(r, &element, item, &d, fields, COUNT_OF(fields), JSON_TOLERANT);
        res->device_rules =
            arena_grow(r->arena, res->device_rules, res->device_rule_count, sizeof d);
        res->device_rules[res->device_rule_count++] = d;
    }
}

/* --- resources ------------------------------------------------------------------------------- */

/* A limit as OCI writes it: -1 is none. */
static bool get_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                      const char *expect, uint64_t *ret)
{
    int64_t number;
    if (cJSON_IsNumber(value) && strcmp(value->valuestring, "-1") == 0) {
        *ret = LIMIT_NONE;
        return true;
    }
    if (!json_get_i64(r, at, value, 1, INT64_MAX, expect, &number))
        return false;
    *ret = (uint64_t)number;
    return true;
}

static void read_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    get_limit(r, at, value, field->expect, to);
}

static void read_memory_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    if (get_limit(r, at, value, field->expect, to))
        oci_reader(r)->memory_given = true;
}

static void read_swap(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)to;
    if (get_limit(r, at, value, field->expect, &oci_reader(r)->swap_total))
        oci_reader(r)->swap_given = true;
}

/* Properties of cgroup v1, of real-time kernels or of hardware that Cloche has no limit for: said
 * with a value that limits nothing they are harmless, else an error. */
static void refuse_unless_idle(struct json_reader *r, const struct json_at *at, const cJSON *value,
                               void *to, const struct json_field *field)
{
    (void)to;
    bool idle = cJSON_IsFalse(value) || (cJSON_IsString(value) && value->valuestring[0] == '\0') ||
                (cJSON_IsNumber(value) &&
                 (strcmp(value->valuestring, "0") == 0 || strcmp(value->valuestring, "-1") == 0)) ||
                ((cJSON_IsArray(value) || cJSON_IsObject(value)) && value->child == NULL);
    if (!idle)
        json_unsupported(r, at, "not supported%s%s", field->expect == NULL ? "" : ": ",
                         field->expect == NULL ? "" : field->expect);
}

#define BYTES_OR_NONE "a number of bytes > 0, or -1 for no limit"

static void read_memory(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "limit",
         .read = read_memory_limit,
         .offset = RES(memory_bytes),
         .expect = "a number of bytes > 0"},
        {.name = "reservation",
         .read = read_limit,
         .offset = RES(memory_high_bytes),
         .expect = BYTES_OR_NONE},
        {.name = "swap", .read = read_swap, .expect = BYTES_OR_NONE},
        {.name = "kernel", .read = refuse_unless_idle, .expect = "the kernel has dropped it"},
        {.name = "kernelTCP", .read = refuse_unless_idle, .expect = "the kernel has dropped it"},
        {.name = "swappiness",
         .read = refuse_unless_idle,
         .expect = "there is none in cgroup version 2"},
        {.name = "disableOOMKiller",
         .read = refuse_unless_idle,
         .expect = "there is none in cgroup version 2"},
        {.name = "useHierarchy", .read = json_ignore},      /* always, in Cloche's groups */
        {.name = "checkBeforeUpdate", .read = json_ignore}, /* of updates, not of starts */
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

static void read_pids_limit(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    if (get_limit(r, at, value, field->expect, to))
        oci_reader(r)->processes_given = true;
}

static void read_pids(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "limit",
         .read = read_pids_limit,
         .offset = RES(processes),
         .expect = "a number of processes > 0, or -1 for no limit"},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

static void read_quota(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    int64_t quota;
    if (cJSON_IsNumber(value) && strcmp(value->valuestring, "-1") == 0)
        *(uint64_t *)to = LIMIT_NONE;
    else if (json_get_i64(r, at, value, 1000, INT64_MAX, field->expect, &quota))
        *(uint64_t *)to = (uint64_t)quota;
    else
        return;
    oci_reader(r)->quota_given = true;
}

/* "0-3,5": what the kernel takes for cpuset.cpus and cpuset.mems */
static bool cpu_list(const char *text)
{
    for (;;) {
        unsigned long first = 0, last;
        for (int part = 0; part < 2; part++) {
            size_t n = strspn(text, "0123456789");
            if (n == 0 || n > 5)
                return false;
            last = 0;
            for (; n > 0; n--)
                last = last * 10 + (unsigned long)(*text++ - '0');
            if (part == 0)
                first = last;
            if (part == 1 || *text != '-')
                break;
            text++;
        }
        if (last < first)
            return false;
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
}

static void read_cpu_list(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    if (cJSON_IsString(value) && value->valuestring[0] == '\0')
        return;
    if (cJSON_IsString(value) && cpu_list(value->valuestring))
        *(const char **)to = arena_strdup(r->arena, value->valuestring);
    else
        json_wrong(r, at, value, "a list like \"0-3,5\"");
}

/* 0 is how tools write "not given" */
static void read_optional_u64(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    if (cJSON_IsNumber(value) && strcmp(value->valuestring, "0") == 0)
        return;
    json_read_u64(r, at, value, to, field);
}

static void read_idle(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    uint64_t idle;
    if (json_get_u64(r, at, value, 0, 1, NULL, &idle))
        *(bool *)to = idle != 0;
}

static void read_cpu(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "shares",
         .read = read_optional_u64,
         .offset = RES(cpu_shares),
         .min = 2,
         .max = 262144},
        {.name = "quota",
         .read = read_quota,
         .offset = RES(cpu_quota_us),
         .expect = "microseconds of CPU time a period, at least 1000, or -1 for no limit"},
        {.name = "period",
         .read = read_optional_u64,
         .offset = RES(cpu_period_us),
         .min = 1000,
         .max = 1000000},
        {.name = "cpus", .read = read_cpu_list, .offset = RES(cpuset_cpus)},
        {.name = "mems", .read = read_cpu_list, .offset = RES(cpuset_mems)},
        {.name = "idle", .read = read_idle, .offset = RES(cpu_idle)},
        {.name = "burst", .read = refuse_unless_idle},
        {.name = "realtimeRuntime", .read = refuse_unless_idle},
        {.name = "realtimePeriod", .read = refuse_unless_idle},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

/* --- blockIO --------------------------------------------------------------------------------- */

struct throttle_entry {
    uint32_t major, minor;
    uint64_t rate, weight;
};

static struct spec_blkio_device *blkio_device(struct json_reader *r, struct spec_resources *res,
                                              uint32_t major, uint32_t minor)
{
    for (size_t i = 0; i < res->blkio_device_count; i++) {
        if (res->blkio_devices[i].major == major && res->blkio_devices[i].minor == minor)
            return &res->blkio_devices[i];
    }
    res->blkio_devices = arena_grow(r->arena, res->blkio_devices, res->blkio_device_count,
                                    sizeof *res->blkio_devices);
    struct spec_blkio_device *d = &res->blkio_devices[res->blkio_device_count++];
    *d = (struct spec_blkio_device){.major = major,
                                    .minor = minor,
                                    .read_bps = LIMIT_NONE,
                                    .write_bps = LIMIT_NONE,
                                    .read_iops = LIMIT_NONE,
                                    .write_iops = LIMIT_NONE};
    return d;
}

#define DEVICE_NUMBERS                                                                             \
    JSON_FIELD("major", json_read_u32, struct throttle_entry, major, .max = (1U << 12) - 1),       \
        JSON_FIELD("minor", json_read_u32, struct throttle_entry, minor, .max = (1U << 20) - 1)

static void read_devices_of(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            struct spec_resources *res, const struct json_field *fields,
                            size_t count, size_t needed, size_t offset)
{
    if (!json_is_array(r, at, value, "an array of devices"))
        return;
    JSON_EACH(item, element, at, value)
    {
        struct throttle_entry e = {0};
        size_t before = r->problems.count;
        json_object(r, &element, item, &e, fields, count, JSON_TOLERANT);
        for (size_t i = 0; r->problems.count == before && i < needed; i++) {
            if (!json_has(item, fields[i].name))
                json_problem(r, &element, "has no \"%s\"", fields[i].name);
        }
        if (r->problems.count != before)
            continue;
        struct spec_blkio_device *d = blkio_device(r, res, e.major, e.minor);
        if (needed == 3)
            *(uint64_t *)((char *)d + offset) = e.rate;
        else
            d->weight = e.weight;
    }
}

/* field->min carries the member of struct spec_blkio_device */
static void read_throttle(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    static const struct json_field fields[] = {
        DEVICE_NUMBERS,
        JSON_FIELD("rate", json_read_u64, struct throttle_entry, rate, .min = 1, .max = INT64_MAX),
    };
    read_devices_of(r, at, value, to, fields, COUNT_OF(fields), 3, (size_t)field->min);
}

static void read_weight_device(struct json_reader *r, const struct json_at *at, const cJSON *value,
                               void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        DEVICE_NUMBERS,
        JSON_FIELD("weight", read_optional_u64, struct throttle_entry, weight, .min = 10,
                   .max = 1000),
        {.name = "leafWeight", .read = refuse_unless_idle},
    };
    read_devices_of(r, at, value, to, fields, COUNT_OF(fields), 2, 0);
}

static void read_block_io(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "weight",
         .read = read_optional_u64,
         .offset = RES(blkio_weight),
         .min = 10,
         .max = 1000},
        {.name = "leafWeight", .read = refuse_unless_idle},
        {.name = "weightDevice", .read = read_weight_device},
        {.name = "throttleReadBpsDevice",
         .read = read_throttle,
         .min = offsetof(struct spec_blkio_device, read_bps)},
        {.name = "throttleWriteBpsDevice",
         .read = read_throttle,
         .min = offsetof(struct spec_blkio_device, write_bps)},
        {.name = "throttleReadIOPSDevice",
         .read = read_throttle,
         .min = offsetof(struct spec_blkio_device, read_iops)},
        {.name = "throttleWriteIOPSDevice",
         .read = read_throttle,
         .min = offsetof(struct spec_blkio_device, write_iops)},
    };
    struct spec_resources *res = to;
    res->blkio_devices = NULL;
    res->blkio_device_count = 0;
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

/* --- huge pages and cgroup v2 files ---------------------------------------------------------- */

static void read_page_size(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)field;
    const char *text = cJSON_IsString(value) ? value->valuestring : "";
    size_t n = strspn(text, "0123456789");
    if (n > 0 && n < 8 && text[0] != '0' &&
        (strcmp(text + n, "KB") == 0 || strcmp(text + n, "MB") == 0 || strcmp(text + n, "GB") == 0))
        *(const char **)to = arena_strdup(r->arena, text);
    else
        json_wrong(r, at, value, "a page size like \"2MB\"");
}

static void read_hugepages(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("pageSize", read_page_size, struct spec_hugepage, page_size),
        JSON_FIELD("limit", json_read_u64, struct spec_hugepage, limit_bytes, .max = INT64_MAX),
    };
    struct spec_resources *res = to;
    if (!json_is_array(r, at, value, "an array of huge page limits"))
        return;
    res->hugepages = NULL;
    res->hugepage_count = 0;
    JSON_EACH(item, element, at, value)
    {
        struct spec_hugepage h = {0};
        size_t before = r->problems.count;
        json_object(r, &element, item, &h, fields, COUNT_OF(fields), JSON_TOLERANT);
        for (size_t i = 0; r->problems.count == before && i < COUNT_OF(fields); i++) {
            if (!json_has(item, fields[i].name))
                json_problem(r, &element, "has no \"%s\"", fields[i].name);
        }
        if (r->problems.count != before)
            continue;
        res->hugepages = arena_grow(r->arena, res->hugepages, res->hugepage_count, sizeof h);
        res->hugepages[res->hugepage_count++] = h;
    }
}

static void read_unified(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    struct spec_resources *res = to;
    oci_get_pairs(r, at, value, &res->unified, &res->unified_count);
}

static void read_resources(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "devices", .read = read_device_rules},
        {.name = "memory", .read = read_memory},
        {.name = "cpu", .read = read_cpu},
        {.name = "pids", .read = read_pids},
        {.name = "blockIO", .read = read_block_io},
        {.name = "hugepageLimits", .read = read_hugepages},
        {.name = "unified", .read = read_unified},
        {.name = "network",
         .read = refuse_unless_idle,
         .expect = "there is none in cgroup version 2"},
        {.name = "rdma", .read = refuse_unless_idle},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void read_sysctl(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    oci_get_pairs(r, at, value, &s->sysctl, &s->sysctl_count);
}

static void read_seccomp(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    seccomp_check(r, at, value);
    oci_reader(r)->seccomp_given = true;
    s->seccomp = (struct spec_seccomp){.kind = SECCOMP_JSON, .json = json_text(r->arena, value)};
}

static void read_propagation(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    if (!cJSON_IsString(value) || value->valuestring[0] != '\0')
        json_get_word(r, at, value, propagation_words, to);
}

static const struct json_word personality_words[] = {{"LINUX", 0}, {"LINUX32", 8}, {NULL, 0}};

static void read_domain(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    uint64_t domain;
    if (json_get_word(r, at, value, personality_words, &domain))
        *(uint32_t *)to = (uint32_t)domain;
}

static void read_personality(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "domain", .read = read_domain, .offset = OF(personality)},
        {.name = "flags", .read = refuse_unless_idle, .expect = "OCI defines no flag"},
    };
    if (cJSON_IsObject(value) && !json_has(value, "domain"))
        json_problem(r, at, "has no \"domain\"");
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

struct time_offset {
    int64_t secs;
    uint32_t nanosecs;
};

static void read_time_offset(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    static const struct json_field fields[] = {
        JSON_FIELD("secs", json_read_i64, struct time_offset, secs, .min = (uint64_t)INT64_MIN,
                   .max = INT64_MAX),
        JSON_FIELD("nanosecs", json_read_u32, struct time_offset, nanosecs, .max = 999999999),
    };
    struct spec *s = to;
    struct time_offset t = {0};
    json_object(r, at, value, &t, fields, COUNT_OF(fields), JSON_TOLERANT);
    size_t clock = (size_t)field->min;
    s->time_offset_set[clock] = true;
    s->time_offset_secs[clock] = t.secs;
    s->time_offset_nanosecs[clock] = t.nanosecs;
}

static void read_time_offsets(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "monotonic", .read = read_time_offset, .min = 0},
        {.name = "boottime", .read = read_time_offset, .min = 1},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

static void read_resources_of(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    struct spec *s = to;
    read_resources(r, at, value, &s->resources, field);
}

void oci_read_linux(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                    const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "namespaces", .read = read_namespaces},
        {.name = "uidMappings", .read = read_uid_maps},
        {.name = "gidMappings", .read = read_gid_maps},
        {.name = "devices", .read = read_devices},
        {.name = "cgroupsPath", .read = json_read_string, .offset = OF(cgroups_path)},
        {.name = "resources", .read = read_resources_of},
        {.name = "sysctl", .read = read_sysctl},
        {.name = "seccomp", .read = read_seccomp},
        {.name = "maskedPaths", .read = json_read_paths, .offset = OF(masked_paths)},
        {.name = "readonlyPaths", .read = json_read_paths, .offset = OF(readonly_paths)},
        {.name = "rootfsPropagation", .read = read_propagation, .offset = OF(rootfs_propagation)},
        {.name = "personality", .read = read_personality},
        {.name = "timeOffsets", .read = read_time_offsets},
        {.name = "mountLabel",
         .read = refuse_unless_idle,
         .expect = "Cloche does not set SELinux labels"},
        {.name = "intelRdt", .read = refuse_unless_idle},
        {.name = "memoryPolicy", .read = refuse_unless_idle},
        {.name = "netDevices", .read = refuse_unless_idle},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}
