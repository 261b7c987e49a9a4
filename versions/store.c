#include "versions/store.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "versions/db.h"
#include "versions/disk.h"
#include "versions/store_dir.h"
#include "versions/versions.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>

#define KEEP_GOOD  5
#define KEEP_TOTAL 10

/* the sandbox's worker, another user, reads these through a bind mount; what is above is 0700 */
#define DIR_MODE  0755
#define FILE_MODE 0444

static const char *const status_names[] = {[VERSION_PUBLISHED] = "PUBLISHED",
                                           [VERSION_GOOD] = "GOOD",
                                           [VERSION_BAD] = "BAD",
                                           [VERSION_SUSPECT] = "SUSPECT"};

const char *version_status_name(enum version_status status)
{
    return status_names[status];
}

/* --- directories ----------------------------------------------------------------------------- */

void store_digest(const void *data, size_t size, char hex[DIGEST_HEX_BYTES])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, size, data);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

const char *store_module_path(char buf[STORE_PATH_BYTES], const char *module)
{
    snprintf(buf, STORE_PATH_BYTES, "%s/%.64s", STORE_MODULES, module);
    return buf;
}

const char *store_version_path(char buf[STORE_PATH_BYTES], const char *module, uint32_t number)
{
    snprintf(buf, STORE_PATH_BYTES, "%s/%.64s/%u", STORE_MODULES, module, number);
    return buf;
}

int store_check_name(const char *module, struct error *err)
{
    if (spec_valid_id(module))
        return 0;
    error_set(err, "store.unknown_module", 0, "\"%s\" is not a module name", module);
    return error_hint(err, "1 to 64 of A-Z a-z 0-9 _ . - and a letter or digit first");
}

uint32_t store_parse_number(const char *name)
{
    uint64_t number;
    return *name != '0' && io_parse_u64(name, &number) && number <= UINT32_MAX ? (uint32_t)number
                                                                               : 0;
}

int store_fail(struct error *err, int errnum, const char *what, const char *module)
{
    bool full = errnum == ENOSPC || errnum == EDQUOT;
    error_set(err, full ? "store.full" : "store.unwritable", errnum, "cannot %s module \"%s\"",
              what, module);
    return full ? error_hint(err, "free some space; the versions that exist are untouched") : -1;
}

static int make_dir(int dir, const char *path, const char *parent)
{
    if (disk_mkdir(dir, path, DIR_MODE) == 0)
        return disk_fsync_dir(dir, parent);
    return errno == EEXIST ? 0 : -1;
}

static const char *stage_path(char buf[STORE_PATH_BYTES], const char *module, uint32_t number)
{
    snprintf(buf, STORE_PATH_BYTES, "%s/%.64s.%u", STORE_STAGE, module, number);
    return buf;
}

int store_remove(struct versions *v, const char *module, uint32_t number)
{
    char path[STORE_PATH_BYTES], stage[STORE_PATH_BYTES], parent[STORE_PATH_BYTES];
    if (make_dir(v->dir, STORE_STAGE, ".") < 0 ||
        disk_remove_dir(v->dir, stage_path(stage, module, number)) < 0)
        return -1;
    if (disk_rename(v->dir, store_version_path(path, module, number), v->dir, stage) < 0)
        return errno == ENOENT ? 0 : -1;
    if (disk_fsync_dir(v->dir, store_module_path(parent, module)) < 0)
        return -1;
    return disk_remove_dir(v->dir, stage);
}

/* --- publish --------------------------------------------------------------------------------- */

static void add_text(cJSON *object, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        cJSON_AddStringToObject(object, key, text);
}

/* What the artifact is, for people and for the keeper; to be freed. */
static char *manifest_of(const char *module, uint32_t number, const struct store_artifact *a,
                         const char *sha256)
{
    cJSON *m = cJSON_CreateObject();
    cJSON_AddStringToObject(m, "module", module);
    cJSON_AddNumberToObject(m, "version", number);
    add_text(m, "label", a->elf->label);
    cJSON_AddStringToObject(m, "sha256", sha256);
    cJSON_AddNumberToObject(m, "size_bytes", (double)a->size);
    add_text(m, "source_sha256", a->source_sha256);
    add_text(m, "toolchain", a->toolchain);
    add_text(m, "compiler", a->compiler);
    char abi[32];
    snprintf(abi, sizeof abi, "%u.%u", a->elf->abi.major, a->elf->abi.minor);
    cJSON_AddStringToObject(m, "abi", abi);
    cJSON_AddNumberToObject(m, "flags", a->elf->abi.flags);
    cJSON_AddNumberToObject(m, "state_schema", a->elf->abi.state_schema);
    cJSON_AddNumberToObject(m, "state_schema_min", a->elf->abi.state_schema_min);
    cJSON *needed = cJSON_AddArrayToObject(m, "libraries");
    for (size_t i = 0; i < a->elf->needed.count; i++)
        cJSON_AddItemToArray(needed, cJSON_CreateString(a->elf->needed.items[i]));
    cJSON *depends = cJSON_AddArrayToObject(m, "depends");
    for (size_t i = 0; a->depends != NULL && i < a->depends->count; i++)
        cJSON_AddItemToArray(depends, cJSON_CreateString(a->depends->items[i]));
    cJSON_AddNumberToObject(m, "published_ms", (double)db_now_ms());
    char *text = cJSON_Print(m);
    cJSON_Delete(m);
    return text;
}

static int write_stage(struct versions *v, const char *stage, const char *manifest,
                       const struct store_artifact *a)
{
    const struct {
        const char *name;
        const void *data;
        size_t size;
    } files[] = {{STORE_ARTIFACT, a->data, a->size},
                 {STORE_MANIFEST, manifest, strlen(manifest)},
                 {STORE_LOG, a->log != NULL ? a->log : "", a->log != NULL ? a->log_size : 0}};
    if (make_dir(v->dir, STORE_STAGE, ".") < 0 || disk_remove_dir(v->dir, stage) < 0 ||
        disk_mkdir(v->dir, stage, DIR_MODE) < 0)
        return -1;
    _cleanup_close_ int dir = openat(v->dir, stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (disk_write_file(dir, files[i].name, files[i].data, files[i].size, FILE_MODE) < 0)
            return -1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (disk_fsync_file(dir, files[i].name) < 0)
            return -1;
    return disk_fsync_dir(dir, ".");
}

struct publication {
    const char *module, *sha256;
    const struct store_artifact *artifact;
    uint64_t attempt;
    int64_t number;
};

static int insert_version(struct versions *v, void *argument, struct error *err)
{
    const struct publication *p = argument;
    const struct cloche_abi *abi = &p->artifact->elf->abi;
    char depends[2048] = "";
    size_t used = 0;
    const struct strings *d = p->artifact->depends;
    for (size_t i = 0; d != NULL && i < d->count; i++) {
        if (!spec_valid_id(d->items[i]) || sizeof depends - used < 70)
            return error_set(err, "store.unknown_module", 0, "cannot depend on module \"%s\"",
                             d->items[i]);
        used += (size_t)snprintf(depends + used, sizeof depends - used, "%s%s", i > 0 ? " " : "",
                                 d->items[i]);
    }
    if (db_run(v, err, "INSERT OR IGNORE INTO module (name) VALUES (?)", "s", p->module) < 0 ||
        db_run(v, err,
               "INSERT INTO version (module, number, label, sha256, size_bytes, state_schema,"
               "  state_schema_min, flags, depends, published_ms)"
               "  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               "sissiiiisi", p->module, p->number, p->artifact->elf->label, p->sha256,
               (int64_t)p->artifact->size, (int64_t)abi->state_schema,
               (int64_t)abi->state_schema_min, (int64_t)abi->flags, depends, db_now_ms()) < 0)
        return -1;
    return p->attempt == 0
               ? 0
               : history_note(v, p->attempt, ATTEMPT_PUBLISHED, (uint32_t)p->number, NULL, err);
}

/* all steps that can fail; what they leave behind is the caller's to remove */
static int publish(struct versions *v, struct publication *p, struct error *err)
{
    char stage[STORE_PATH_BYTES], dir[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    _cleanup_free_ char *manifest =
        manifest_of(p->module, (uint32_t)p->number, p->artifact, p->sha256);
    if (manifest == NULL)
        return store_fail(err, ENOMEM, "publish", p->module);
    stage_path(stage, p->module, (uint32_t)p->number);
    store_module_path(dir, p->module);
    store_version_path(path, p->module, (uint32_t)p->number);
    if (write_stage(v, stage, manifest, p->artifact) < 0 ||
        make_dir(v->dir, STORE_MODULES, ".") < 0 || make_dir(v->dir, dir, STORE_MODULES) < 0 ||
        disk_rename(v->dir, stage, v->dir, path) < 0 || disk_fsync_dir(v->dir, dir) < 0)
        return store_fail(err, errno, "publish", p->module);
    return db_transaction(v, 0, insert_version, p, err);
}

int store_publish(struct versions *v, const char *module, const struct store_artifact *artifact,
                  uint64_t attempt, uint32_t *ret_number, struct error *err)
{
    if (store_check_name(module, err) < 0)
        return -1;
    char sha256[DIGEST_HEX_BYTES];
    store_digest(artifact->data, artifact->size, sha256);
    int64_t same, high_water;
    if (db_number(
            v, 0, &same, err,
            "SELECT number FROM version WHERE module = ?1 AND sha256 = ?2 AND collected_ms = 0"
            "  AND number = (SELECT max(number) FROM version WHERE module = ?1)",
            "ss", module, sha256) < 0 ||
        db_number(v, 0, &high_water, err, "SELECT high_water FROM module WHERE name = ?", "s",
                  module) < 0)
        return -1;
    if (same != 0) {
        *ret_number = (uint32_t)same;
        return 1;
    }
    if (high_water == UINT32_MAX)
        return store_fail(err, EOVERFLOW, "number", module);
    /* a rollback must stay possible: nothing new while its space is not there */
    if (!reserve_hold(v))
        return store_fail(err, errno, "reserve space to roll back", module);

    struct publication p = {.module = module,
                            .sha256 = sha256,
                            .artifact = artifact,
                            .attempt = attempt,
                            .number = high_water + 1};
    if (artifact->number_wanted > p.number)
        p.number = artifact->number_wanted;
    /* a directory that a failure left behind keeps its number until recovery has removed it */
    char path[STORE_PATH_BYTES];
    while (p.number < UINT32_MAX &&
           faccessat(v->dir, store_version_path(path, module, (uint32_t)p.number), F_OK,
                     AT_SYMLINK_NOFOLLOW) == 0)
        p.number++;
    if (publish(v, &p, err) < 0) {
        char stage[STORE_PATH_BYTES];
        store_remove(v, module, (uint32_t)p.number);
        disk_remove_dir(v->dir, stage_path(stage, module, (uint32_t)p.number));
        return -1;
    }
    *ret_number = (uint32_t)p.number;
    return 0;
}

/* --- look up --------------------------------------------------------------------------------- */

#define VERSION_COLUMNS                                                                            \
    "number, status, pinned, collected_ms, reason, label, sha256, size_bytes, published_ms,"       \
    " good_ms, state_schema, state_schema_min, flags, depends"

static void read_version(struct arena *a, sqlite3_stmt *s, struct version *ret)
{
    *ret = (struct version){.number = (uint32_t)sqlite3_column_int64(s, 0),
                            .pinned = sqlite3_column_int64(s, 2) != 0,
                            .collected = sqlite3_column_int64(s, 3) != 0,
                            .reason = db_text(a, s, 4),
                            .label = db_text(a, s, 5),
                            .sha256 = db_text(a, s, 6),
                            .size_bytes = (uint64_t)sqlite3_column_int64(s, 7),
                            .published_ms = (uint64_t)sqlite3_column_int64(s, 8),
                            .good_ms = (uint64_t)sqlite3_column_int64(s, 9),
                            .schema = (uint32_t)sqlite3_column_int64(s, 10),
                            .schema_min = (uint32_t)sqlite3_column_int64(s, 11),
                            .flags = (uint32_t)sqlite3_column_int64(s, 12)};
    const char *status = db_text(a, s, 1);
    for (unsigned i = 0; i < VERSION_STATUSES; i++)
        if (strcmp(status, status_names[i]) == 0)
            ret->status = (enum version_status)i;
    char *depends = arena_strdup(a, db_text(a, s, 13)), *rest = NULL;
    for (char *name = strtok_r(depends, " ", &rest); name != NULL;
         name = strtok_r(NULL, " ", &rest))
        strings_add(a, &ret->depends, name);
}

int store_list(struct versions *v, struct arena *a, const char *module, bool all,
               struct version **ret, size_t *ret_count, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    /* the second one by an index of few rows, however many were collected */
    if (db_prepare(v, &s, err,
                   all ? "SELECT " VERSION_COLUMNS " FROM version WHERE module = ? ORDER BY number"
                       : "SELECT " VERSION_COLUMNS " FROM version"
                         "  WHERE module = ? AND collected_ms = 0 ORDER BY number",
                   "s", module) < 0)
        return -1;
    struct version *rows = NULL;
    size_t count = 0;
    int r;
    for (; (r = db_step(v, s, err)) > 0; count++) {
        rows = arena_grow(a, rows, count, sizeof *rows);
        read_version(a, s, &rows[count]);
    }
    *ret = rows;
    *ret_count = count;
    return r;
}

int store_modules(struct versions *v, struct arena *a, struct strings *ret, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    if (db_prepare(v, &s, err, "SELECT name FROM module WHERE high_water > 0 ORDER BY name", "") <
        0)
        return -1;
    *ret = (struct strings){0};
    int r;
    while ((r = db_step(v, s, err)) > 0)
        strings_add(a, ret, db_text(a, s, 0));
    return r;
}

static int unknown_version(struct versions *v, const char *module, uint32_t number,
                           struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version *rows;
    size_t count, used = 0;
    if (store_list(v, a, module, false, &rows, &count, err) < 0)
        return -1;
    if (count == 0)
        return error_set(err, "store.unknown_module", 0, "there is no module \"%s\"", module);
    char list[256] = "";
    for (size_t i = count; i-- > 0 && used < sizeof list - 16;)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%u", used == 0 ? "" : ", ",
                                 rows[i].number);
    error_set(err, "store.unknown_version", 0, "module \"%s\" has no version %u", module, number);
    return error_hint(err, "it has %s", list);
}

int store_find(struct versions *v, struct arena *a, const char *module, uint32_t number,
               struct version *ret, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    if (db_prepare(v, &s, err,
                   "SELECT " VERSION_COLUMNS " FROM version WHERE module = ? AND number = ?", "si",
                   module, (int64_t)number) < 0)
        return -1;
    int r = db_step(v, s, err);
    if (r < 0)
        return -1;
    if (r == 0)
        return unknown_version(v, module, number, err);
    read_version(a, s, ret);
    return 0;
}

int store_good(struct versions *v, const char *module, uint32_t *ret, struct error *err)
{
    int64_t good;
    if (db_number(v, 0, &good, err, "SELECT good FROM module WHERE name = ?", "s", module) < 0)
        return -1;
    *ret = (uint32_t)good;
    return 0;
}

static int find_kept(struct versions *v, struct arena *a, const char *module, uint32_t number,
                     struct version *ret, struct error *err)
{
    if (store_find(v, a, module, number, ret, err) < 0)
        return -1;
    if (!ret->collected)
        return 0;
    error_set(err, "store.collected", 0, "version %u of module \"%s\" is no longer kept", number,
              module);
    return error_hint(err, "pin versions that must stay");
}

int store_open(struct versions *v, const char *module, uint32_t number, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version row = {0};
    char path[STORE_PATH_BYTES], file[STORE_PATH_BYTES + 16];
    if (find_kept(v, a, module, number, &row, err) < 0)
        return -1;
    snprintf(file, sizeof file, "%s/%s", store_version_path(path, module, number), STORE_ARTIFACT);
    int fd = openat(v->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, "store.damaged", errno, "version %u of module \"%s\"", number,
                         module);
    return fd;
}

int store_check(struct versions *v, const char *module, uint32_t number, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version row = {.sha256 = ""};
    if (find_kept(v, a, module, number, &row, err) < 0)
        return -1;
    _cleanup_close_ int fd = store_open(v, module, number, err);
    if (fd < 0)
        return -1;
    _cleanup_free_ char *data = NULL;
    char sha256[DIGEST_HEX_BYTES] = "";
    ssize_t size = io_read_to_end(fd, (size_t)row.size_bytes, &data);
    if (size >= 0)
        store_digest(data, (size_t)size, sha256);
    if (size < 0 || strcmp(sha256, row.sha256) != 0)
        return error_set(err, "store.damaged", 0,
                         "version %u of module \"%s\" is not what was published", number, module);
    return 0;
}

/* --- change ---------------------------------------------------------------------------------- */

int store_set_current(struct versions *v, const char *module, uint32_t number, struct error *err)
{
    char target[16], stage[STORE_PATH_BYTES], dir[STORE_PATH_BYTES], path[STORE_PATH_BYTES + 16];
    if (store_check_name(module, err) < 0)
        return -1;
    snprintf(target, sizeof target, "%u", number);
    snprintf(stage, sizeof stage, "%s/%s.%s", STORE_STAGE, module, STORE_CURRENT);
    snprintf(path, sizeof path, "%s/%s", store_module_path(dir, module), STORE_CURRENT);
    unlinkat(v->dir, stage, 0);
    if (make_dir(v->dir, STORE_STAGE, ".") < 0 || disk_symlink(target, v->dir, stage) < 0 ||
        disk_rename(v->dir, stage, v->dir, path) < 0)
        return store_fail(err, errno, "set the current version of", module);
    return 0;
}

int store_pin(struct versions *v, const char *module, uint32_t number, bool pinned,
              struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version row = {0};
    if (find_kept(v, a, module, number, &row, err) < 0)
        return -1;
    return db_run(v, err, "UPDATE version SET pinned = ? WHERE module = ? AND number = ?", "isi",
                  (int64_t)pinned, module, (int64_t)number);
}

struct collection {
    const char *module;
    const struct version *rows;
    size_t count;
    bool *remove;
};

static int mark_collected(struct versions *v, void *argument, struct error *err)
{
    const struct collection *c = argument;
    for (size_t i = 0; i < c->count; i++)
        if (c->remove[i] &&
            db_run(v, err, "UPDATE version SET collected_ms = ? WHERE module = ? AND number = ?",
                   "isi", db_now_ms(), c->module, (int64_t)c->rows[i].number) < 0)
            return -1;
    return 0;
}

/* not numbered last: what was GOOD last is what a rollback goes back to */
static void keep_good(struct collection *c, unsigned most)
{
    for (; most > 0; most--) {
        size_t last = c->count;
        for (size_t i = 0; i < c->count; i++) {
            if (c->rows[i].status == VERSION_GOOD && c->remove[i] &&
                (last == c->count || c->rows[i].good_ms >= c->rows[last].good_ms))
                last = i;
        }
        if (last == c->count)
            break;
        c->remove[last] = false;
    }
}

/* what nothing protects, oldest first, until no more than the total are left; the number of them */
static size_t choose(struct collection *c, const struct store_keep *keep, uint32_t good)
{
    size_t total = keep->total != 0 ? keep->total : KEEP_TOTAL, left = c->count;
    for (size_t i = 0; i < c->count; i++)
        c->remove[i] = true;
    keep_good(c, keep->good != 0 ? keep->good : KEEP_GOOD);
    for (size_t i = 0; i < c->count; i++) {
        const struct version *n = &c->rows[i];
        /* the newest may be on its way to serve: then nobody has it in use yet */
        bool kept = !c->remove[i] || n->pinned || n->number == good || i + 1 == c->count;
        for (size_t k = 0; k < keep->in_use_count; k++)
            kept |= keep->in_use[k] == n->number;
        c->remove[i] = !kept && left > total;
        left -= c->remove[i];
    }
    return c->count - left;
}

int store_collect(struct versions *v, const char *module, const struct store_keep *keep,
                  size_t *ret_removed, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version *rows;
    uint32_t good;
    struct collection c = {.module = module};
    *ret_removed = 0;
    if (store_list(v, a, module, false, &rows, &c.count, err) < 0 ||
        store_good(v, module, &good, err) < 0)
        return -1;
    c.rows = rows;
    c.remove = arena_alloc(a, c.count * sizeof *c.remove + 1);
    size_t removed = choose(&c, keep, good);
    if (removed == 0)
        return 0;
    /* first the record, then the bytes: recovery removes what a crash leaves of them, and marks
     * what a power cut left without */
    if (db_transaction(v, DB_RESERVE | DB_ORDERED, mark_collected, &c, err) < 0)
        return -1;
    *ret_removed = removed;
    for (size_t i = 0; i < c.count; i++)
        if (c.remove[i] && store_remove(v, module, rows[i].number) < 0)
            return store_fail(err, errno, "remove an old version of", module);
    return 0;
}
