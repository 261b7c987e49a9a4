#include "base/cleanup.h"
#include "base/io.h"
#include "versions/db.h"
#include "versions/store_dir.h"
#include "versions/tar.h"
#include "versions/versions.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>

/* A tar with cloche-versions.json first, which says what the rest must be, then N/module.so,
 * N/manifest.json and N/build.log of each version. */

#define INDEX        "cloche-versions.json"
#define FORMAT       1
#define ARCHIVE_CAP  (512u << 20)
#define INDEX_CAP    (1u << 20)
#define LOG_CAP      (16u << 20)
#define MAX_VERSIONS 1000

/* --- export ---------------------------------------------------------------------------------- */

static char *index_of(const char *module, const struct version *rows, size_t count)
{
    cJSON *index = cJSON_CreateObject();
    cJSON_AddNumberToObject(index, "format", FORMAT);
    cJSON_AddStringToObject(index, "module", module);
    cJSON *list = cJSON_AddArrayToObject(index, "versions");
    for (size_t i = 0; i < count; i++) {
        cJSON *n = cJSON_CreateObject();
        cJSON_AddNumberToObject(n, "version", rows[i].number);
        cJSON_AddStringToObject(n, "sha256", rows[i].sha256);
        cJSON_AddStringToObject(n, "status", version_status_name(rows[i].status));
        cJSON_AddStringToObject(n, "reason", rows[i].reason);
        cJSON_AddBoolToObject(n, "pinned", rows[i].pinned);
        cJSON *depends = cJSON_AddArrayToObject(n, "depends");
        for (size_t k = 0; k < rows[i].depends.count; k++)
            cJSON_AddItemToArray(depends, cJSON_CreateString(rows[i].depends.items[k]));
        cJSON_AddItemToArray(list, n);
    }
    char *text = cJSON_Print(index);
    cJSON_Delete(index);
    return text;
}

static int export_file(struct versions *v, const char *module, const struct version *row,
                       const char *name, int fd, struct error *err)
{
    char dir[STORE_PATH_BYTES], path[STORE_PATH_BYTES + 16], entry[64], sha256[DIGEST_HEX_BYTES];
    snprintf(path, sizeof path, "%s/%s", store_version_path(dir, module, row->number), name);
    snprintf(entry, sizeof entry, "%u/%s", row->number, name);
    _cleanup_close_ int file = openat(v->dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    ssize_t size = file < 0 ? -1 : io_read_to_end(file, ARCHIVE_CAP, &data);
    if (size < 0)
        return error_set(err, "store.damaged", errno, "%s of module \"%s\"", entry, module);
    if (strcmp(name, STORE_ARTIFACT) == 0) {
        store_digest(data, (size_t)size, sha256);
        if (strcmp(sha256, row->sha256) != 0)
            return error_set(err, "store.damaged", 0,
                             "%s of module \"%s\" is not what was published", entry, module);
    }
    if (tar_write(fd, entry, data, (size_t)size) < 0)
        return store_fail(err, errno, "export", module);
    return 0;
}

int store_export(struct versions *v, const char *module, int fd, struct error *err)
{
    static const char *const files[] = {STORE_ARTIFACT, STORE_MANIFEST, STORE_LOG};
    _cleanup_arena_ struct arena *a = arena_new();
    struct version *rows;
    size_t count;
    if (store_list(v, a, module, false, &rows, &count, err) < 0)
        return -1;
    if (count == 0)
        return error_set(err, "store.unknown_module", 0, "module \"%s\" has no versions", module);
    _cleanup_free_ char *index = index_of(module, rows, count);
    if (index == NULL || tar_write(fd, INDEX, index, strlen(index)) < 0)
        return store_fail(err, errno, "export", module);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof files / sizeof *files; k++)
            if (export_file(v, module, &rows[i], files[k], fd, err) < 0)
                return -1;
    return tar_finish(fd) < 0 ? store_fail(err, errno, "export", module) : 0;
}

/* --- import ---------------------------------------------------------------------------------- */

struct candidate {
    uint32_t number;
    const char *sha256;
    bool pinned;
    struct strings depends;
    struct tar_entry artifact, log;
    struct elf_info elf;
    const char *toolchain, *compiler, *source_sha256;
};

struct import {
    struct arena *arena;
    struct candidate *list;
    size_t count;
};

static int bad_index(struct error *err, const char *what)
{
    return error_set(err, "archive.invalid", 0, "%s: %s", INDEX, what);
}

static bool json_number(const cJSON *object, const char *key, uint32_t *ret)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(n) || !(n->valuedouble >= 1 && n->valuedouble < 4294967295.0))
        return false;
    *ret = (uint32_t)n->valuedouble;
    return true;
}

static int read_candidate(struct import *m, const cJSON *n, struct error *err)
{
    struct candidate *c = &m->list[m->count];
    const cJSON *sha256 = cJSON_GetObjectItemCaseSensitive(n, "sha256"), *name;
    if (!json_number(n, "version", &c->number) || !cJSON_IsString(sha256) ||
        strlen(sha256->valuestring) != DIGEST_HEX_BYTES - 1)
        return bad_index(err, "a version without number or sha256");
    if (m->count > 0 && m->list[m->count - 1].number >= c->number)
        return bad_index(err, "versions are not in order");
    c->sha256 = arena_strdup(m->arena, sha256->valuestring);
    c->pinned = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(n, "pinned"));
    const cJSON *depends = cJSON_GetObjectItemCaseSensitive(n, "depends");
    cJSON_ArrayForEach(name, depends)
    {
        if (!cJSON_IsString(name) || !spec_valid_id(name->valuestring))
            return bad_index(err, "a dependency that is not a module name");
        strings_add(m->arena, &c->depends, name->valuestring);
    }
    m->count++;
    return 0;
}

static int read_candidates(struct import *m, const cJSON *index, const char *module,
                           struct error *err)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(index, "module"), *n;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(index, "versions");
    uint32_t format;
    if (!json_number(index, "format", &format) || format != FORMAT || !cJSON_IsArray(list))
        return bad_index(err, "not an index of versions");
    if (!cJSON_IsString(name) || strcmp(name->valuestring, module) != 0)
        return error_set(err, "archive.invalid", 0, "holds module \"%.64s\", not \"%s\"",
                         cJSON_IsString(name) ? name->valuestring : "", module);
    if (cJSON_GetArraySize(list) > MAX_VERSIONS)
        return bad_index(err, "too many versions");
    m->list = arena_alloc(m->arena, sizeof *m->list * ((size_t)cJSON_GetArraySize(list) + 1));
    cJSON_ArrayForEach(n, list)
    {
        if (read_candidate(m, n, err) < 0)
            return -1;
    }
    return m->count > 0 ? 0 : bad_index(err, "no versions");
}

static int read_index(struct import *m, const struct tar_entry *entry, const char *module,
                      struct error *err)
{
    if (strcmp(entry->name, INDEX) != 0 || entry->size > INDEX_CAP)
        return error_set(err, "archive.invalid", 0, "does not begin with %s", INDEX);
    cJSON *index = cJSON_ParseWithLength(entry->data, entry->size);
    int r = index == NULL ? bad_index(err, "not JSON") : read_candidates(m, index, module, err);
    cJSON_Delete(index);
    return r;
}

/* provenance, for the manifest that is written here */
static void read_manifest(struct import *m, struct candidate *c, const struct tar_entry *entry)
{
    const struct {
        const char *key;
        const char **to;
    } keys[] = {{"toolchain", &c->toolchain},
                {"compiler", &c->compiler},
                {"source_sha256", &c->source_sha256}};
    cJSON *manifest =
        entry->size <= INDEX_CAP ? cJSON_ParseWithLength(entry->data, entry->size) : NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *text = cJSON_GetObjectItemCaseSensitive(manifest, keys[i].key);
        if (cJSON_IsString(text) && strlen(text->valuestring) < 512)
            *keys[i].to = arena_strdup(m->arena, text->valuestring);
    }
    cJSON_Delete(manifest);
}

static int take_entry(struct import *m, const struct tar_entry *entry, struct error *err)
{
    char number[TAR_NAME_BYTES + 1];
    memcpy(number, entry->name, sizeof number);
    char *slash = strchr(number, '/');
    const char *name = slash != NULL ? slash + 1 : "";
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; i < m->count; i++) {
        struct candidate *c = &m->list[i];
        if (slash == NULL || store_parse_number(number) != c->number)
            continue;
        if (strcmp(name, STORE_ARTIFACT) == 0 && c->artifact.data == NULL) {
            c->artifact = *entry;
            return 0;
        }
        if (strcmp(name, STORE_LOG) == 0 && c->log.data == NULL && entry->size <= LOG_CAP) {
            c->log = *entry;
            return 0;
        }
        if (strcmp(name, STORE_MANIFEST) == 0) {
            read_manifest(m, c, entry);
            return 0;
        }
    }
    return error_set(err, "archive.invalid", 0, "\"%s\" does not belong to any of its versions",
                     entry->name);
}

static int judge(struct import *m, const struct elf_policy *policy, struct error *err)
{
    for (size_t i = 0; i < m->count; i++) {
        struct candidate *c = &m->list[i];
        char file[64], sha256[DIGEST_HEX_BYTES];
        struct elf_policy own = *policy;
        snprintf(file, sizeof file, "%u/%s", c->number, STORE_ARTIFACT);
        own.file = file;
        if (c->artifact.data == NULL)
            return error_set(err, "archive.invalid", 0, "%s is missing", file);
        store_digest(c->artifact.data, c->artifact.size, sha256);
        if (strcmp(sha256, c->sha256) != 0)
            return error_set(err, "archive.invalid", 0, "%s does not have the digest of the index",
                             file);
        if (elf_verify(m->arena, c->artifact.data, c->artifact.size, &own, &c->elf, err) < 0)
            return -1;
    }
    return 0;
}

static int read_archive(struct import *m, const void *data, size_t size, const char *module,
                        const struct elf_policy *policy, struct error *err)
{
    struct tar_reader t = {.data = data, .size = size};
    struct tar_entry entry;
    int r = tar_next(&t, &entry, err);
    if (r == 0)
        return error_set(err, "archive.invalid", 0, "is empty");
    if (r < 0 || read_index(m, &entry, module, err) < 0)
        return -1;
    while ((r = tar_next(&t, &entry, err)) > 0)
        if (take_entry(m, &entry, err) < 0)
            return -1;
    return r < 0 ? -1 : judge(m, policy, err);
}

static int publish_candidate(struct versions *v, const struct candidate *c, const char *module,
                             struct store_imported *ret, struct error *err)
{
    int64_t known;
    ret->from = c->number;
    if (db_number(v, 0, &known, err,
                  "SELECT max(number) FROM version WHERE module = ? AND sha256 = ?"
                  "  AND collected_ms = 0",
                  "ss", module, c->sha256) < 0)
        return -1;
    if (known != 0) {
        ret->known = true;
        ret->to = (uint32_t)known;
        return 0;
    }
    const struct store_artifact artifact = {.data = c->artifact.data,
                                            .size = c->artifact.size,
                                            .elf = &c->elf,
                                            .toolchain = c->toolchain,
                                            .compiler = c->compiler,
                                            .source_sha256 = c->source_sha256,
                                            .depends = &c->depends,
                                            .log = c->log.data,
                                            .log_size = c->log.size,
                                            .number_wanted = c->number};
    if (store_publish(v, module, &artifact, 0, &ret->to, err) < 0)
        return error_wrap(err, "version %u of the archive", c->number);
    return c->pinned ? store_pin(v, module, ret->to, true, err) : 0;
}

int store_import(struct versions *v, struct arena *a, const char *module,
                 const struct elf_policy *policy, int fd, struct store_imported **ret,
                 size_t *ret_count, struct error *err)
{
    if (store_check_name(module, err) < 0)
        return -1;
    _cleanup_free_ char *data = NULL;
    ssize_t size = io_read_to_end(fd, ARCHIVE_CAP, &data);
    if (size < 0)
        return error_set(err, "archive.invalid", errno, "the archive cannot be read");
    struct import m = {.arena = a};
    struct elf_policy named = *policy;
    named.name = module;
    if (read_archive(&m, data, (size_t)size, module, &named, err) < 0)
        return -1;
    *ret = arena_alloc(a, m.count * sizeof **ret);
    *ret_count = m.count;
    for (size_t i = 0; i < m.count; i++)
        if (publish_candidate(v, &m.list[i], module, &(*ret)[i], err) < 0)
            return -1;
    return 0;
}
