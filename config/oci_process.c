/* The "process" object of a config.json -> spec. */
#include "config/oci.h"

#include <string.h>
#include <sys/resource.h>

#define OF(member) offsetof(struct spec, member)

static void read_args(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    if (cJSON_IsArray(value) && value->child == NULL)
        json_wrong(r, at, value, "an array with at least the program's name");
    else
        json_get_strings(r, at, value, to);
}

static void read_env(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
{
    (void)field;
    struct strings list;
    if (!json_get_strings(r, at, value, &list))
        return;
    for (size_t i = 0; i < list.count; i++) {
        struct json_at element = {at, NULL, i};
        if (list.items[i][0] == '=' || strchr(list.items[i], '=') == NULL)
            json_problem(r, &element, "expected \"NAME=value\", found %s",
                         problem_quote(r->problems.arena, list.items[i]));
    }
    *(struct strings *)to = list;
}

static void read_console_size(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "height", .read = json_read_u16, .offset = OF(console_rows), .max = UINT16_MAX},
        {.name = "width", .read = json_read_u16, .offset = OF(console_columns), .max = UINT16_MAX},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

static void read_gids(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    if (!json_is_array(r, at, value, "an array of group ids"))
        return;
    s->additional_gids = NULL;
    s->additional_gid_count = 0;
    JSON_EACH(item, element, at, value)
    {
        uint64_t gid;
        if (!json_get_u64(r, &element, item, 0, UINT32_MAX - 1, NULL, &gid))
            continue;
        s->additional_gids = arena_grow(r->arena, s->additional_gids, s->additional_gid_count,
                                        sizeof *s->additional_gids);
        s->additional_gids[s->additional_gid_count++] = (gid_t)gid;
    }
}

static void read_user(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "uid", .read = json_read_u32, .offset = OF(uid), .max = UINT32_MAX - 1},
        {.name = "gid", .read = json_read_u32, .offset = OF(gid), .max = UINT32_MAX - 1},
        {.name = "umask",
         .read = json_read_u32,
         .offset = OF(umask),
         .max = 0777,
         .expect = "a mask from 0 to 511 (0777)"},
        {.name = "additionalGids", .read = read_gids},
        {.name = "username", .read = json_ignore}, /* Windows */
    };
    _Static_assert(sizeof(mode_t) == 4 && sizeof(uid_t) == 4, "read as 32 bits");
    struct spec *s = to;
    oci_reader(r)->user_given = true;
    s->uid = s->gid = 0;
    s->additional_gids = NULL;
    s->additional_gid_count = 0;
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

static void read_capability_set(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)field;
    uint64_t mask = 0;
    if (!json_is_array(r, at, value, "an array of capability names"))
        return;
    JSON_EACH(item, element, at, value)
    {
        int number = cJSON_IsString(item) ? spec_capability_number(item->valuestring) : -1;
        if (number >= 0) {
            mask |= 1ULL << number;
            continue;
        }
        const char *near = cJSON_IsString(item) ? capability_nearest(item->valuestring) : NULL;
        json_wrong(r, &element, item,
                   near == NULL ? "a capability like \"CAP_NET_BIND_SERVICE\""
                                : arena_printf(r->problems.arena,
                                               "a capability (did you mean \"%s\"?)", near));
    }
    *(uint64_t *)to = mask;
}

static void read_capabilities(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("bounding", read_capability_set, struct spec_capabilities, bounding),
        JSON_FIELD("effective", read_capability_set, struct spec_capabilities, effective),
        JSON_FIELD("inheritable", read_capability_set, struct spec_capabilities, inheritable),
        JSON_FIELD("permitted", read_capability_set, struct spec_capabilities, permitted),
        JSON_FIELD("ambient", read_capability_set, struct spec_capabilities, ambient),
    };
    *(struct spec_capabilities *)to = (struct spec_capabilities){0};
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

struct rlimit_entry {
    int resource;
    uint64_t soft, hard;
};

static void read_rlimit_type(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    int resource = cJSON_IsString(value) ? rlimit_number(value->valuestring) : -1;
    if (resource >= 0) {
        *(int *)to = resource;
        return;
    }
    const char *near = cJSON_IsString(value) ? rlimit_nearest(value->valuestring) : NULL;
    json_wrong(r, at, value,
               near == NULL ? "a resource limit like \"RLIMIT_NOFILE\""
                            : arena_printf(r->problems.arena,
                                           "a resource limit (did you mean \"%s\"?)", near));
}

/* RLIM_INFINITY is written as 2^64-1 by some tools and as -1 by others */
static void read_rlimit_value(struct json_reader *r, const struct json_at *at, const cJSON *value,
                              void *to, const struct json_field *field)
{
    if (cJSON_IsNumber(value) && strcmp(value->valuestring, "-1") == 0)
        *(uint64_t *)to = RLIM_INFINITY;
    else
        json_get_u64(r, at, value, 0, UINT64_MAX, field->expect, to);
}

static void read_rlimits(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("type", read_rlimit_type, struct rlimit_entry, resource),
        JSON_FIELD("soft", read_rlimit_value, struct rlimit_entry, soft),
        JSON_FIELD("hard", read_rlimit_value, struct rlimit_entry, hard),
    };
    struct spec *s = to;
    if (!json_is_array(r, at, value, "an array of resource limits"))
        return;
    s->rlimits = NULL;
    s->rlimit_count = 0;
    JSON_EACH(item, element, at, value)
    {
        struct rlimit_entry e = {.resource = -1};
        size_t before = r->problems.count;
        json_object(r, &element, item, &e, fields, COUNT_OF(fields), JSON_TOLERANT);
        if (r->problems.count != before)
            continue;
        for (size_t i = 0; i < COUNT_OF(fields); i++) {
            if (!json_has(item, fields[i].name))
                json_problem(r, &element, "has no \"%s\"", fields[i].name);
        }
        for (size_t i = 0; i < s->rlimit_count; i++) {
            if (s->rlimits[i].resource == e.resource)
                json_problem(r, &element, "%s stands there twice", rlimit_name(e.resource));
        }
        struct error why;
        if (r->problems.count != before)
            continue;
        if (spec_set_rlimit(s, rlimit_name(e.resource), e.soft, e.hard, &why) < 0) {
            json_problem(r, &element, "%s", why.message);
            continue;
        }
        oci_reader(r)->open_files_given |= e.resource == RLIMIT_NOFILE;
        oci_reader(r)->file_size_given |= e.resource == RLIMIT_FSIZE;
    }
}

static void read_oom_score_adj(struct json_reader *r, const struct json_at *at, const cJSON *value,
                               void *to, const struct json_field *field)
{
    struct spec *s = to;
    json_read_int(r, at, value, &s->oom_score_adj, field);
    s->oom_score_adj_set = true;
}

void oci_read_process(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        {.name = "terminal", .read = json_read_bool, .offset = OF(terminal)},
        {.name = "consoleSize", .read = read_console_size},
        {.name = "user", .read = read_user},
        {.name = "args", .read = read_args, .offset = OF(args)},
        {.name = "env", .read = read_env, .offset = OF(env)},
        {.name = "cwd", .read = json_read_path, .offset = OF(cwd)},
        {.name = "capabilities", .read = read_capabilities, .offset = OF(capabilities)},
        {.name = "rlimits", .read = read_rlimits},
        {.name = "noNewPrivileges", .read = json_read_bool, .offset = OF(no_new_privileges)},
        {.name = "oomScoreAdj", .read = read_oom_score_adj, .min = (uint64_t)-1000, .max = 1000},
        {.name = "commandLine", .read = json_ignore}, /* Windows */
        {.name = "apparmorProfile",
         .read = oci_refuse_property,
         .expect = "Cloche does not switch AppArmor profiles"},
        {.name = "selinuxLabel",
         .read = oci_refuse_property,
         .expect = "Cloche does not set SELinux labels"},
        {.name = "scheduler", .read = oci_refuse_property},
        {.name = "ioPriority", .read = oci_refuse_property},
        {.name = "execCPUAffinity", .read = oci_refuse_property},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}
