/* The "mounts" of a config.json -> spec. */
#include "config/oci.h"

#include <string.h>

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
        if (!json_record(r, &element, item, &map, fields, COUNT_OF(fields)))
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

void oci_read_mounts(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
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
