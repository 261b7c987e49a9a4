/* linux.resources of a config.json -> spec. */
#include "config/oci.h"

#include <string.h>

#define RES(member) offsetof(struct spec_resources, member)

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

/* --- memory, processes, cpu ------------------------------------------------------------------ */

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
        {.name = "kernel", .read = oci_refuse_unless_idle, .expect = "the kernel has dropped it"},
        {.name = "kernelTCP",
         .read = oci_refuse_unless_idle,
         .expect = "the kernel has dropped it"},
        {.name = "swappiness",
         .read = oci_refuse_unless_idle,
         .expect = "there is none in cgroup version 2"},
        {.name = "disableOOMKiller",
         .read = oci_refuse_unless_idle,
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
        {.name = "burst", .read = oci_refuse_unless_idle},
        {.name = "realtimeRuntime", .read = oci_refuse_unless_idle},
        {.name = "realtimePeriod", .read = oci_refuse_unless_idle},
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
        bool fine = r->problems.count == before;
        for (size_t i = 0; fine && i < needed; i++) {
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
        {.name = "leafWeight", .read = oci_refuse_unless_idle},
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
        {.name = "leafWeight", .read = oci_refuse_unless_idle},
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
        if (!json_record(r, &element, item, &h, fields, COUNT_OF(fields)))
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

void oci_read_resources(struct json_reader *r, const struct json_at *at, const cJSON *value,
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
         .read = oci_refuse_unless_idle,
         .expect = "there is none in cgroup version 2"},
        {.name = "rdma", .read = oci_refuse_unless_idle},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}
