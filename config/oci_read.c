/* OCI config.json -> spec: the top level, process, root and mounts. */
#include "config/oci.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#define OF(member) offsetof(struct spec, member)

/* --- process --------------------------------------------------------------------------------- */

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
        if (r->problems.count == before &&
            spec_set_rlimit(s, rlimit_name(e.resource), e.soft, e.hard, &why) < 0)
            json_problem(r, &element, "%s", why.message);
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

/* Known to OCI, not to be had here: an error, unless it says nothing. */
static void refuse_property(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    (void)to;
    bool nothing = cJSON_IsFalse(value) ||
                   (cJSON_IsString(value) && value->valuestring[0] == '\0') ||
                   ((cJSON_IsArray(value) || cJSON_IsObject(value)) && value->child == NULL);
    if (!nothing)
        json_unsupported(r, at, "not supported%s%s", field->expect == NULL ? "" : ": ",
                         field->expect == NULL ? "" : field->expect);
}

static void read_process(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
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
         .read = refuse_property,
         .expect = "Cloche does not switch AppArmor profiles"},
        {.name = "selinuxLabel",
         .read = refuse_property,
         .expect = "Cloche does not set SELinux labels"},
        {.name = "scheduler", .read = refuse_property},
        {.name = "ioPriority", .read = refuse_property},
        {.name = "execCPUAffinity", .read = refuse_property},
    };
    json_object(r, at, value, to, fields, COUNT_OF(fields), JSON_TOLERANT);
}

/* --- root ------------------------------------------------------------------------------------ */

static void read_root(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    struct oci_reader *o = oci_reader(r);
    struct {
        const char *path;
        bool readonly;
    } root = {0};
    const struct json_field fields[] = {
        {.name = "path", .read = json_read_string, .offset = 0},
        {.name = "readonly",
         .read = json_read_bool,
         .offset = (size_t)((char *)&root.readonly - (char *)&root)},
    };
    json_object(r, at, value, &root, fields, COUNT_OF(fields), JSON_TOLERANT);
    struct spec *s = to;
    s->rootfs_readonly = root.readonly;
    if (root.path != NULL)
        o->root_path = root.path;
}

/* --- mounts ---------------------------------------------------------------------------------- */

void oci_get_id_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                     struct spec_id_map **ret, size_t *ret_count)
{
    static const struct json_field fields[] = {
        JSON_FIELD("containerID", json_read_u32, struct spec_id_map, container_id,
                   .max = UINT32_MAX - 1),
        JSON_FIELD("hostID", json_read_u32, struct spec_id_map, host_id, .max = UINT32_MAX - 1),
        JSON_FIELD("size", json_read_u32, struct spec_id_map, size, .min = 1, .max = UINT32_MAX),
    };
    if (!json_is_array(r, at, value, "an array of id mappings"))
        return;
    *ret = NULL;
    *ret_count = 0;
    JSON_EACH(item, element, at, value)
    {
        struct spec_id_map map = {0};
        size_t before = r->problems.count;
        json_object(r, &element, item, &map, fields, COUNT_OF(fields), JSON_TOLERANT);
        for (size_t i = 0; r->problems.count == before && i < COUNT_OF(fields); i++) {
            if (!json_has(item, fields[i].name))
                json_problem(r, &element, "has no \"%s\"", fields[i].name);
        }
        if (r->problems.count != before)
            continue;
        *ret = arena_grow(r->arena, *ret, *ret_count, sizeof **ret);
        (*ret)[(*ret_count)++] = map;
    }
}

struct mount_entry {
    const char *destination, *type, *source;
    const cJSON *options;
    struct spec_mount mount;
};

static void keep_value(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    (void)field;
    if (json_is_array(r, at, value, "an array of mount options"))
        *(const cJSON **)to = value;
}

static void read_mount_uid_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)field;
    struct mount_entry *e = to;
    oci_get_id_maps(r, at, value, &e->mount.uid_maps, &e->mount.uid_map_count);
}

static void read_mount_gid_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)field;
    struct mount_entry *e = to;
    oci_get_id_maps(r, at, value, &e->mount.gid_maps, &e->mount.gid_map_count);
}

/* OCI lets a source be empty */
static void read_source(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    if (!cJSON_IsString(value) || value->valuestring[0] != '\0')
        json_read_string(r, at, value, to, field);
}

static const struct json_field mount_fields[] = {
    JSON_FIELD("destination", json_read_path, struct mount_entry, destination),
    JSON_FIELD("type", read_source, struct mount_entry, type),
    JSON_FIELD("source", read_source, struct mount_entry, source),
    JSON_FIELD("options", keep_value, struct mount_entry, options),
    {.name = "uidMappings", .read = read_mount_uid_maps},
    {.name = "gidMappings", .read = read_mount_gid_maps},
};

static void read_options(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         struct spec_mount *m)
{
    JSON_EACH(item, element, at, value)
    {
        if (!cJSON_IsString(item)) {
            json_wrong(r, &element, item, "a string");
            continue;
        }
        struct error why;
        if (spec_mount_option(oci_reader(r)->spec, m, item->valuestring, &why) == 0)
            continue;
        if (strcmp(why.code, "spec.unsupported") == 0)
            json_unsupported(r, &element, "%s", why.message);
        else
            json_problem(r, &element, "%s", why.message);
    }
}

/* Words that no mount knows are left for the file system, and this one may not know them either. */
static void judge_data(struct json_reader *r, const struct json_at *at, const struct mount_entry *e)
{
    const struct strings *data = &e->mount.data;
    const char *type = e->mount.kind == MOUNT_FS ? e->mount.type : "bind";
    struct json_at options = {at, "options", 0};
    for (size_t i = 0; type != NULL && i < data->count; i++) {
        const char *why = mount_data_problem(r->problems.arena, type, data->items[i]);
        if (why != NULL)
            json_problem(r, &options, "%s: %s", problem_quote(r->problems.arena, data->items[i]),
                         why);
    }
}

static void read_mount(struct json_reader *r, const struct json_at *at, const cJSON *item)
{
    struct oci_reader *o = oci_reader(r);
    struct spec *s = o->spec;
    struct mount_entry e = {.mount = {.kind = MOUNT_FS}};
    size_t before = r->problems.count;

    json_object(r, at, item, &e, mount_fields, COUNT_OF(mount_fields), JSON_TOLERANT);
    if (r->problems.count != before)
        return;
    if (e.destination == NULL) {
        json_problem(r, at, "has no \"destination\"");
        return;
    }
    struct spec_mount *m = &e.mount;
    if (e.type != NULL && strcmp(e.type, "bind") == 0)
        m->kind = MOUNT_BIND;
    if (e.options != NULL) {
        struct json_at here = {at, "options", 0};
        read_options(r, &here, e.options, m);
    }
    if (r->problems.count != before)
        return;

    if (m->kind == MOUNT_FS) {
        m->type = e.type == NULL || strcmp(e.type, "cgroup2") != 0 ? e.type : "cgroup";
        m->source = e.source;
        if (e.type == NULL) {
            json_problem(r, at, "has neither a \"type\" nor the option \"bind\" or \"rbind\"");
            return;
        }
        if (!mount_type_known(m->type)) {
            struct json_at type = {at, "type", 0};
            json_unsupported(r, &type, "a sandbox cannot mount %s; it can mount %s",
                             problem_quote(r->problems.arena, m->type), mount_types());
            return;
        }
    } else if (e.source == NULL) {
        json_problem(r, at, "a bind mount needs a \"source\"");
        return;
    } else if (e.source[0] == '/') {
        m->source = spec_clean_path(r->arena, e.source);
    } else if (o->bundle_dir != NULL) {
        m->source =
            spec_clean_path(r->arena, arena_printf(r->arena, "%s/%s", o->bundle_dir, e.source));
    } else {
        json_problem(r, at, "the source %s is relative, but there is no bundle directory",
                     problem_quote(r->problems.arena, e.source));
        return;
    }

    judge_data(r, at, &e);
    size_t count = s->mount_count;
    struct spec_mount *slot = spec_add_mount(s, e.destination);
    if (s->mount_count == count) {
        json_problem(r, at, "a second mount at the destination %s",
                     problem_quote(r->problems.arena, slot->destination));
        return;
    }
    m->destination = slot->destination;
    *slot = *m;
}

static void read_mounts(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    if (!json_is_array(r, at, value, "an array of mounts"))
        return;
    oci_reader(r)->mounts_given = true;
    s->mounts = NULL;
    s->mount_count = 0;
    JSON_EACH(item, element, at, value)
    read_mount(r, &element, item);
}

/* --- the top level --------------------------------------------------------------------------- */

static void read_version(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    unsigned major, minor, used = 0;
    if (cJSON_IsString(value) && strlen(value->valuestring) < 64 &&
        sscanf(value->valuestring, "%u.%u.%n", &major, &minor, (int *)&used) == 2 && used > 0) {
        if (major == 1)
            *(const char **)to = arena_strdup(r->arena, value->valuestring);
        else
            json_unsupported(r, at, "version %s is not supported, 1.x is",
                             problem_quote(r->problems.arena, value->valuestring));
    } else {
        json_wrong(r, at, value, "a version like \"1.1.0\"");
    }
}

static void read_hostname(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)field;
    if (cJSON_IsString(value) && value->valuestring[0] == '\0')
        *(const char **)to = NULL;
    else if (json_get_string(r, at, value, to))
        oci_reader(r)->hostname_given = true;
}

static void read_domainname(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    (void)field;
    if (!cJSON_IsString(value) || value->valuestring[0] != '\0')
        json_get_string(r, at, value, to);
}

void oci_get_pairs(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   struct spec_pair **ret, size_t *ret_count)
{
    if (!json_is_object(r, at, value))
        return;
    *ret = NULL;
    *ret_count = 0;
    for (const cJSON *c = value->child; c != NULL; c = c->next) {
        struct json_at here = {at, c->string, 0};
        if (!cJSON_IsString(c)) {
            json_wrong(r, &here, c, "a string");
            continue;
        }
        *ret = arena_grow(r->arena, *ret, *ret_count, sizeof **ret);
        (*ret)[(*ret_count)++] = (struct spec_pair){arena_strdup(r->arena, c->string),
                                                    arena_strdup(r->arena, c->valuestring)};
    }
}

static void read_annotations(struct json_reader *r, const struct json_at *at, const cJSON *value,
                             void *to, const struct json_field *field)
{
    (void)field;
    struct spec *s = to;
    oci_get_pairs(r, at, value, &s->annotations, &s->annotation_count);
}

static void read_hooks(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    (void)to, (void)field;
    if (!json_is_object(r, at, value))
        return;
    for (const cJSON *c = value->child; c != NULL; c = c->next) {
        struct json_at here = {at, c->string, 0};
        if (!cJSON_IsNull(c) && !(cJSON_IsArray(c) && c->child == NULL))
            json_unsupported(r, &here,
                             "hooks are not supported: they run programs on the host, outside the "
                             "sandbox");
    }
}

/* The order is that of reading: the cloche object last, so that it can be compared with OCI's. */
static const struct json_field top_fields[] = {
    {.name = "ociVersion", .read = read_version, .offset = OF(oci_version)},
    {.name = "process", .read = read_process},
    {.name = "root", .read = read_root},
    {.name = "hostname", .read = read_hostname, .offset = OF(hostname)},
    {.name = "domainname", .read = read_domainname, .offset = OF(domainname)},
    {.name = "mounts", .read = read_mounts},
    {.name = "annotations", .read = read_annotations},
    {.name = "hooks", .read = read_hooks},
    {.name = "linux", .read = oci_read_linux},
    {.name = "windows", .read = refuse_property, .expect = "Cloche runs Linux programs"},
    {.name = "solaris", .read = refuse_property, .expect = "Cloche runs Linux programs"},
    {.name = "vm", .read = refuse_property, .expect = "Cloche makes no virtual machines"},
    {.name = "zos", .read = refuse_property, .expect = "Cloche runs Linux programs"},
    {.name = "cloche", .read = oci_read_cloche},
};

/* An OCI bundle states everything: what it leaves out is OCI's default, not Cloche's. Protection
 * that OCI has no default for (filter, no_new_privs, a host name of its own) stays. */
static void start_bundle(struct spec *s)
{
    s->env = (struct strings){.items = arena_alloc(s->arena, sizeof *s->env.items)};
    s->uid = s->gid = 0;
    s->mounts = NULL;
    s->mount_count = 0;
    s->masked_paths = s->readonly_paths = (struct strings){0};
    if (s->profile == NULL)
        s->seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = "wide"};
}

static void settle_root(struct oci_reader *o)
{
    struct spec *s = o->spec;
    if (o->rootfs_given || o->root_path == NULL)
        return;
    const char *path = o->root_path;
    struct json_at root = {NULL, "root", 0}, at = {&root, "path", 0};
    if (path[0] != '/') {
        if (o->bundle_dir == NULL) {
            json_problem(&o->json, &at, "%s is relative, but there is no bundle directory",
                         problem_quote(s->arena, path));
            return;
        }
        path = arena_printf(s->arena, "%s/%s", o->bundle_dir, path);
    }
    s->rootfs = ROOTFS_DIR;
    s->rootfs_path = spec_clean_path(s->arena, path);
}

/* OCI's memory.swap is the sum of both; without a memory limit there is nothing to subtract. */
static void settle_swap(struct oci_reader *o)
{
    struct spec_resources *res = &o->spec->resources;
    if (!o->swap_given)
        return;
    static const struct json_at linux_at = {NULL, "linux", 0}, res_at = {&linux_at, "resources", 0},
                                mem_at = {&res_at, "memory", 0}, at = {&mem_at, "swap", 0};
    uint64_t swap = LIMIT_NONE;
    if (o->swap_total != LIMIT_NONE) {
        if (res->memory_bytes == LIMIT_NONE) {
            json_problem(&o->json, &at, "is the sum of memory and swap and needs memory.limit");
            return;
        }
        if (o->swap_total < res->memory_bytes) {
            json_problem(&o->json, &at,
                         "is the sum of memory and swap, but less than the memory limit");
            return;
        }
        swap = o->swap_total - res->memory_bytes;
    }
    res->swap_bytes = swap;
    res->swap_set = true;
}

/* The file's own list of namespaces decides about the network unless the cloche object does. */
static void settle_network(struct oci_reader *o)
{
    struct spec *s = o->spec;
    if (!o->namespaces_given)
        return;
    bool own = s->ns_new[NS_NETWORK] || s->ns_path[NS_NETWORK] != NULL;
    static const struct json_at cloche_at = {NULL, "cloche", 0}, at = {&cloche_at, "network", 0};
    if (!o->network_given) {
        s->network = own ? NETWORK_NONE : NETWORK_HOST;
        s->bridge = s->address = s->gateway = NULL;
    } else if (s->network == NETWORK_HOST && own) {
        json_problem(&o->json, &at, "is \"host\", but linux.namespaces lists a network namespace");
    } else if (s->network != NETWORK_HOST && !own) {
        json_problem(&o->json, &at,
                     "asks for a network of its own, but linux.namespaces lists no network "
                     "namespace");
    }
}

/* The size of /tmp is kept in one place: limits.tmp_bytes and tmp_files. A percentage stays. */
static void settle_tmp_word(struct oci_reader *o, struct strings *kept, const char *word)
{
    static const struct json_at cloche_at = {NULL, "cloche", 0}, at = {&cloche_at, "limits", 0};
    struct spec *s = o->spec;
    bool size = strncmp(word, "size=", 5) == 0, files = strncmp(word, "nr_inodes=", 10) == 0;
    uint64_t value;
    if ((!size && !files) || !mount_size_bytes(strchr(word, '=') + 1, &value)) {
        strings_add(s->arena, kept, word);
        return;
    }
    uint64_t *limit = size ? &s->tmp_bytes : &s->tmp_files;
    value = value == 0 ? LIMIT_NONE : value; /* tmpfs(5): 0 is no limit */
    if ((size ? o->tmp_bytes_given : o->tmp_files_given) && value != *limit) {
        struct json_at here = {&at, size ? "tmp_bytes" : "tmp_files", 0};
        json_problem(&o->json, &here, "differs from the option \"%s\" of the mount at /tmp", word);
    }
    *limit = value;
}

static void settle_tmp(struct oci_reader *o)
{
    struct spec *s = o->spec;
    if (!o->mounts_given)
        return;
    for (size_t i = 0; i < s->mount_count; i++) {
        struct spec_mount *m = &s->mounts[i];
        if (m->kind != MOUNT_FS || strcmp(m->destination, "/tmp") != 0 ||
            strcmp(m->type, "tmpfs") != 0)
            continue;
        struct strings kept = {0};
        for (size_t j = 0; j < m->data.count; j++)
            settle_tmp_word(o, &kept, m->data.items[j]);
        m->data = kept;
    }
}

static void settle(struct oci_reader *o)
{
    struct spec *s = o->spec;
    settle_root(o);
    settle_swap(o);
    settle_network(o);
    settle_tmp(o);
    /* a name cannot be given to a UTS namespace that is the host's */
    if (!s->ns_new[NS_UTS] && s->ns_path[NS_UTS] == NULL && !o->hostname_given)
        s->hostname = NULL;
}

static const char *extends_of(const cJSON *root)
{
    const cJSON *cloche = cJSON_GetObjectItemCaseSensitive(root, "cloche");
    const cJSON *extends = cJSON_GetObjectItemCaseSensitive(cloche, "extends");
    return cJSON_IsString(extends) ? extends->valuestring : NULL;
}

int oci_apply(struct spec *s, const char *text, size_t size, const char *bundle_dir,
              const char *what, const struct profile_place *place, struct error *err)
{
    _cleanup_json_ cJSON *root = json_parse(s->arena, text, size, err);
    if (root == NULL)
        return what == NULL ? -1 : error_wrap(err, "%s", what);

    struct oci_reader o = {
        .json = {.arena = s->arena, .problems = {.arena = s->arena}},
        .spec = s,
        .bundle_dir = bundle_dir,
    };
    if (cJSON_IsObject(root)) {
        const char *base = extends_of(root);
        struct profile_place below = {.name = base};
        if (place != NULL) {
            below.depth = place->depth + 1;
            below.level = base != NULL && strcmp(base, place->name) == 0 ? place->level + 1 : 0;
        }
        if (base != NULL && profile_apply(s, &below, err) < 0)
            return what == NULL ? -1 : error_wrap(err, "%s", what);
        const cJSON *path = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(root, "root"), "path");
        o.bundle = cJSON_IsString(path) && !json_has(root, "cloche");
        if (o.bundle)
            start_bundle(s);
    }
    json_object(&o.json, NULL, root, s, top_fields, COUNT_OF(top_fields), JSON_TOLERANT);
    settle(&o);
    return problems_report(&o.json.problems, what, err);
}

int spec_apply_json(struct spec *s, const char *text, size_t size, const char *bundle_dir,
                    struct error *err)
{
    return oci_apply(s, text, size, bundle_dir, NULL, NULL, err);
}

int spec_apply_file(struct spec *s, const char *path, struct error *err)
{
    char real[PATH_MAX];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    _cleanup_free_ char *text = NULL;
    ssize_t size = fd < 0 ? -1 : io_read_to_end(fd, SPEC_MAX_BYTES, &text);
    if (size < 0) {
        error_set(err, "spec.unreadable", errno, "cannot read the spec %s",
                  problem_quote(s->arena, path));
        return error_path(err, path);
    }
    /* the directory of the file is the bundle: relative paths in it are relative to that */
    const char *slash = strrchr(path, '/');
    const char *dir =
        slash == NULL ? "." : arena_strndup(s->arena, path, (size_t)(slash - path) + 1);
    if (realpath(dir, real) == NULL) {
        error_set(err, "spec.unreadable", errno, "cannot find the directory of the spec %s",
                  problem_quote(s->arena, path));
        return error_path(err, path);
    }
    return oci_apply(s, text, (size_t)size, real, path, NULL, err);
}

int spec_unknown_properties(struct arena *a, const char *text, size_t size, struct strings *ret,
                            struct error *err)
{
    _cleanup_spec_ struct spec *scratch = spec_new();
    _cleanup_json_ cJSON *root = json_parse(scratch->arena, text, size, err);
    if (root == NULL)
        return -1;
    *ret = (struct strings){0};
    struct oci_reader o = {
        .json = {.arena = a, .problems = {.arena = scratch->arena}, .unknown = ret},
        .spec = scratch,
        .bundle_dir = "/",
    };
    json_object(&o.json, NULL, root, scratch, top_fields, COUNT_OF(top_fields), JSON_TOLERANT);
    return 0;
}
