#include "base/cleanup.h"
#include "versions/db.h"
#include "versions/disk.h"
#include "versions/store_dir.h"
#include "versions/versions.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What was being made or removed: nobody has seen it. */
static int empty_stage(struct versions *v, struct error *err)
{
    int fd = openat(v->dir, STORE_STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0
                               : error_set(err, "store.unwritable", errno, "stage of the store");
    _cleanup_closedir_ DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return error_set(err, "store.unwritable", ENOMEM, "stage of the store");
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) < 0 && disk_remove_dir(fd, e->d_name) < 0)
            return error_set(err, "store.unwritable", errno, "cannot remove stage/%s", e->d_name);
    }
    return 0;
}

/* A number whose directory came into being without its row: never announced, never to be used. */
static int burn_number(struct versions *v, const char *module, uint32_t number, struct error *err)
{
    if (db_run(v, err, "INSERT OR IGNORE INTO module (name) VALUES (?)", "s", module) < 0 ||
        db_run(v, err, "UPDATE module SET high_water = max(high_water, ?) WHERE name = ?", "is",
               (int64_t)number, module) < 0)
        return -1;
    return 0;
}

static int match_directory(struct versions *v, const char *module, uint32_t number,
                           struct error *err)
{
    int64_t collected;
    if (db_number(v, -1, &collected, err,
                  "SELECT collected_ms FROM version WHERE module = ? AND number = ?", "si", module,
                  (int64_t)number) < 0)
        return -1;
    if (collected == 0)
        return 0;
    if (collected < 0 && burn_number(v, module, number, err) < 0)
        return -1;
    if (store_remove(v, module, number) < 0)
        return store_fail(err, errno, "remove a version of", module);
    return 0;
}

static int match_module(struct versions *v, const char *module, struct error *err)
{
    char path[STORE_PATH_BYTES];
    int fd = openat(v->dir, store_module_path(path, module),
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return 0;
    _cleanup_closedir_ DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return error_set(err, "store.unwritable", ENOMEM, "module \"%s\"", module);
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint32_t number = store_parse_number(e->d_name);
        if (number != 0 && match_directory(v, module, number, err) < 0)
            return -1;
    }
    return 0;
}

/* modules/ against the rows: directories that nobody published or that are collected go. */
static int match_directories(struct versions *v, struct error *err)
{
    int fd = openat(v->dir, STORE_MODULES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set(err, "store.unwritable", errno, "modules");
    _cleanup_closedir_ DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return error_set(err, "store.unwritable", ENOMEM, "modules");
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (spec_valid_id(e->d_name) && match_module(v, e->d_name, err) < 0)
            return -1;
    return 0;
}

/* The rows against modules/: a version without its bytes cannot be activated. */
static int match_rows(struct versions *v, struct arena *a, const char *module, struct error *err)
{
    struct version *rows;
    size_t count;
    if (store_list(v, a, module, false, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        char path[STORE_PATH_BYTES], file[STORE_PATH_BYTES + 16];
        struct stat st;
        snprintf(file, sizeof file, "%s/%s", store_version_path(path, module, rows[i].number),
                 STORE_ARTIFACT);
        if (fstatat(v->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            (uint64_t)st.st_size == rows[i].size_bytes)
            continue;
        if (db_run(v, err,
                   "UPDATE version SET collected_ms = ?, reason = 'its file was lost'"
                   "  WHERE module = ? AND number = ?",
                   "isi", db_now_ms(), module, (int64_t)rows[i].number) < 0)
            return -1;
    }
    return 0;
}

static int end_attempts(struct versions *v, struct arena *a, const char *module,
                        uint32_t *ret_count, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    if (db_prepare(v, &s, err,
                   "SELECT attempt, max(state IN ('INTENT', 'ACTIVATED')) FROM history"
                   "  WHERE module = ? GROUP BY attempt HAVING NOT max(terminal)",
                   "s", module) < 0)
        return -1;
    struct open_attempt {
        uint64_t number;
        bool switched;
    } *open = NULL;
    uint32_t count = 0;
    int r;
    for (; (r = db_step(v, s, err)) > 0; count++) {
        open = arena_grow(a, open, count, sizeof *open);
        open[count] = (struct open_attempt){.number = (uint64_t)sqlite3_column_int64(s, 0),
                                            .switched = sqlite3_column_int(s, 1) != 0};
    }
    for (uint32_t i = 0; r >= 0 && i < count; i++) {
        const struct attempt_end end = {.state = open[i].switched ? ATTEMPT_ROLLED_BACK
                                                                  : ATTEMPT_ABORTED,
                                        .reason = "keeper-crash"};
        r = history_end(v, open[i].number, &end, err);
    }
    *ret_count = count;
    return r;
}

struct recovery {
    struct arena *arena;
    struct versions_start *start;
};

static int recover_rows(struct versions *v, void *argument, struct error *err)
{
    const struct recovery *r = argument;
    const char *module = r->start->module;
    return match_rows(v, r->arena, module, err) < 0 ||
                   end_attempts(v, r->arena, module, &r->start->interrupted, err) < 0
               ? -1
               : 0;
}

static int condemn(struct versions *v, const char *module, uint32_t number, struct error *err)
{
    return db_run(v, err,
                  "UPDATE version SET status = 'BAD', reason = 'damaged'"
                  "  WHERE module = ? AND number = ?",
                  "si", module, (int64_t)number);
}

/* The last GOOD version whose bytes are what was published, and the newest one worth a try. */
static int choose_start(struct versions *v, struct versions_start *start, struct error *err)
{
    const char *module = start->module;
    uint32_t recorded;
    int64_t good;
    if (store_good(v, module, &recorded, err) < 0)
        return -1;
    for (good = recorded; good != 0;) {
        struct error why = ERROR_INIT;
        if (store_check(v, module, (uint32_t)good, &why) == 0)
            break;
        if ((strcmp(why.code, "store.damaged") == 0 &&
             condemn(v, module, (uint32_t)good, err) < 0) ||
            db_number(v, 0, &good, err,
                      "SELECT number FROM version WHERE module = ?1 AND status = 'GOOD'"
                      "  AND collected_ms = 0 AND (good_ms, number) <"
                      "    (SELECT good_ms, number FROM version WHERE module = ?1 AND number = ?2)"
                      "  ORDER BY good_ms DESC, number DESC LIMIT 1",
                      "si", module, good) < 0)
            return -1;
    }
    if (good != recorded &&
        db_run(v, err, "UPDATE module SET good = ? WHERE name = ?", "is", good, module) < 0)
        return -1;
    start->good = (uint32_t)good;

    int64_t candidate;
    if (db_number(v, 0, &candidate, err,
                  "SELECT number FROM version WHERE module = ? AND status IN ('PUBLISHED', 'GOOD')"
                  "  AND collected_ms = 0 ORDER BY number DESC LIMIT 1",
                  "s", module) < 0)
        return -1;
    start->candidate = (uint32_t)candidate;
    return 0;
}

static int recover_module(struct versions *v, struct arena *a, struct versions_start *start,
                          struct error *err)
{
    struct recovery r = {.arena = a, .start = start};
    if (db_transaction(v, DB_RESERVE, recover_rows, &r, err) < 0 ||
        choose_start(v, start, err) < 0 ||
        state_recover(v->dir, start->module, start->good, err) < 0)
        return -1;
    /* a convenience for people, and not worth failing a start on a full disk */
    if (start->good != 0)
        store_set_current(v, start->module, start->good, NULL);
    return 0;
}

int versions_recover(struct versions *v, struct arena *a, struct versions_start **ret,
                     size_t *ret_count, struct error *err)
{
    struct strings modules;
    if (empty_stage(v, err) < 0 || match_directories(v, err) < 0)
        return error_wrap(err, "recovery");

    /* also those whose first version never came to be */
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    modules = (struct strings){0};
    int r = db_prepare(v, &s, err, "SELECT name FROM module ORDER BY name", "");
    while (r >= 0 && (r = db_step(v, s, err)) > 0)
        strings_add(a, &modules, db_text(a, s, 0));
    if (r < 0)
        return -1;
    sqlite3_reset(s);

    struct versions_start *starts = NULL;
    for (size_t i = 0; i < modules.count; i++) {
        starts = arena_grow(a, starts, i, sizeof *starts);
        starts[i].module = modules.items[i];
        if (recover_module(v, a, &starts[i], err) < 0)
            return error_wrap(err, "recovery of module \"%s\"", modules.items[i]);
    }
    *ret = starts;
    *ret_count = modules.count;
    return 0;
}
