/* OCI config.json -> spec: the top level, the root, and what the parts mean together. */
#include "config/oci.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define OF(member) offsetof(struct spec, member)
#define DIGITS     "0123456789"

/* --- root ------------------------------------------------------------------------------------ */

struct root_entry {
    const char *path;
    bool readonly;
};

static void read_root(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    static const struct json_field fields[] = {
        JSON_FIELD("path", json_read_string, struct root_entry, path),
        JSON_FIELD("readonly", json_read_bool, struct root_entry, readonly),
    };
    struct oci_reader *o = oci_reader(r);
    struct root_entry root = {0};
    json_object(r, at, value, &root, fields, COUNT_OF(fields), JSON_TOLERANT);
    struct spec *s = to;
    o->root_given = true;
    s->rootfs_readonly = root.readonly;
    if (root.path != NULL)
        o->root_path = root.path;
}

/* --- the top level --------------------------------------------------------------------------- */

static void read_version(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    /* MAJOR.MINOR.PATCH, perhaps with a suffix like "-dev" */
    const char *text = cJSON_IsString(value) ? value->valuestring : "";
    size_t major = strspn(text, DIGITS);
    size_t minor = major > 0 && text[major] == '.' ? strspn(text + major + 1, DIGITS) : 0;
    size_t patch = minor > 0 && text[major + 1 + minor] == '.'
                       ? strspn(text + major + 1 + minor + 1, DIGITS)
                       : 0;
    if (patch > 0 && strlen(text) < 64) {
        if (major == 1 && text[0] == '1')
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

/* Known to OCI, not to be had here: an error, unless it says nothing. */
void oci_refuse_property(struct json_reader *r, const struct json_at *at, const cJSON *value,
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

/* The order is that of reading: the cloche object last, so that it can be compared with OCI's. */
static const struct json_field top_fields[] = {
    {.name = "ociVersion", .read = read_version, .offset = OF(oci_version)},
    {.name = "process", .read = oci_read_process},
    {.name = "root", .read = read_root},
    {.name = "hostname", .read = read_hostname, .offset = OF(hostname)},
    {.name = "domainname", .read = read_domainname, .offset = OF(domainname)},
    {.name = "mounts", .read = oci_read_mounts},
    {.name = "annotations", .read = read_annotations},
    {.name = "hooks", .read = read_hooks},
    {.name = "linux", .read = oci_read_linux},
    {.name = "windows", .read = oci_refuse_property, .expect = "Cloche runs Linux programs"},
    {.name = "solaris", .read = oci_refuse_property, .expect = "Cloche runs Linux programs"},
    {.name = "vm", .read = oci_refuse_property, .expect = "Cloche makes no virtual machines"},
    {.name = "zos", .read = oci_refuse_property, .expect = "Cloche runs Linux programs"},
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
    if (s->ns_path[NS_MOUNT] != NULL && strcmp(path, "/") == 0)
        return;
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
    if (!o->namespaces_given) {
        if (o->network_given && s->ns_path[NS_NETWORK] == NULL)
            s->ns_new[NS_NETWORK] = s->network != NETWORK_HOST;
        return;
    }
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
        if (json_has(root, "extends"))
            problem_add(&o.json.problems, "extends",
                        "it belongs into \"cloche\": \"cloche\": {\"extends\": ...}");
        o.bundle = cJSON_IsString(path) && !json_has(root, "cloche");
        if (o.bundle)
            start_bundle(s);
    }
    json_object(&o.json, NULL, root, s, top_fields, COUNT_OF(top_fields), JSON_TOLERANT);
    settle(&o);
    if (o.json.problems.count > 0 && place == NULL)
        spec_validate_rest(s, &o.json.problems);
    return problems_report(&o.json.problems, what, err);
}

int spec_apply_json(struct spec *s, const char *text, size_t size, const char *bundle_dir,
                    struct error *err)
{
    return oci_apply(s, text, size, bundle_dir, NULL, NULL, err);
}

int spec_read_file(struct arena *a, const char *path, const char **ret_text, size_t *ret_size,
                   const char **ret_bundle_dir, struct error *err)
{
    char real[PATH_MAX];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    _cleanup_free_ char *text = NULL;
    ssize_t size = fd < 0 ? -1 : io_read_to_end(fd, SPEC_MAX_BYTES, &text);
    if (size < 0) {
        error_set(err, "spec.unreadable", errno, "cannot read the spec %s", problem_quote(a, path));
        if (errno == EFBIG)
            error_hint(err, "a spec has at most %d bytes", SPEC_MAX_BYTES);
        else
            error_hint(err, "cloche spec > FILE writes one to start from");
        return error_path(err, path);
    }
    const char *slash = strrchr(path, '/');
    const char *dir = slash == NULL ? "." : arena_strndup(a, path, (size_t)(slash - path) + 1);
    if (realpath(dir, real) == NULL) {
        error_set(err, "spec.unreadable", errno, "cannot find the directory of the spec %s",
                  problem_quote(a, path));
        return error_path(err, path);
    }
    char *kept = arena_alloc(a, (size_t)size + 1); /* may hold a NUL, which parsing will refuse */
    memcpy(kept, text, (size_t)size);
    *ret_text = kept;
    *ret_size = (size_t)size;
    *ret_bundle_dir = arena_strdup(a, real);
    return 0;
}

int spec_apply_file(struct spec *s, const char *path, struct error *err)
{
    const char *text = NULL, *bundle_dir = NULL;
    size_t size = 0;
    if (spec_read_file(s->arena, path, &text, &size, &bundle_dir, err) < 0)
        return -1;
    return oci_apply(s, text, size, bundle_dir, path, NULL, err);
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
