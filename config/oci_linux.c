/* The "linux" object of a config.json -> spec. */
#include "config/oci.h"

#include <string.h>
#include <sys/mount.h>

#define OF(member) offsetof(struct spec, member)

/* Properties of cgroup v1, of real-time kernels or of hardware that Cloche has no limit for: said
 * with a value that limits nothing they are harmless, else an error. */
void oci_refuse_unless_idle(struct json_reader *r, const struct json_at *at, const cJSON *value,
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
    /* what is there is the root: Cloche's own defaults for building one mean nothing */
    if (s->ns_path[NS_MOUNT] != NULL) {
        if (!oci_reader(r)->mounts_given)
            s->mount_count = 0;
        if (!oci_reader(r)->root_given)
            s->rootfs_readonly = false;
        s->masked_paths = s->readonly_paths = (struct strings){0};
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
        struct spec_device d = {.mode = SPEC_MODE_ANY};
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
        {.name = "flags", .read = oci_refuse_unless_idle, .expect = "OCI defines no flag"},
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
    oci_read_resources(r, at, value, &s->resources, field);
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
         .read = oci_refuse_unless_idle,
         .expect = "Cloche does not set SELinux labels"},
        {.name = "intelRdt", .read = oci_refuse_unless_idle},
        {.name = "memoryPolicy", .read = oci_refuse_unless_idle},
        {.name = "netDevices", .read = oci_refuse_unless_idle},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}
