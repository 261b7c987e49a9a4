#include "versions/db.h"

#include "base/cleanup.h"
#include "versions/disk.h"
#include "versions/versions.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SCHEMA_VERSION 1
#define RESERVE        "reserve"
#define RESERVE_BYTES  (1 << 20)

/* The promises that must hold whoever writes are the database's own: it refuses what breaks them.
 */
static const char schema[] =
    "CREATE TABLE module ("
    "  name TEXT PRIMARY KEY,"
    "  high_water INTEGER NOT NULL DEFAULT 0,"
    "  good INTEGER NOT NULL DEFAULT 0"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER module_numbers_grow BEFORE UPDATE OF high_water ON module"
    "  WHEN NEW.high_water < OLD.high_water"
    "  BEGIN SELECT RAISE(ABORT, 'numbers only grow'); END;"
    "CREATE TRIGGER module_stays BEFORE DELETE ON module"
    "  BEGIN SELECT RAISE(ABORT, 'modules are not deleted'); END;"

    "CREATE TABLE version ("
    "  module TEXT NOT NULL REFERENCES module (name),"
    "  number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 4294967295),"
    "  status TEXT NOT NULL DEFAULT 'PUBLISHED'"
    "    CHECK (status IN ('PUBLISHED', 'GOOD', 'BAD', 'SUSPECT')),"
    "  reason TEXT NOT NULL DEFAULT '',"
    "  label TEXT NOT NULL DEFAULT '',"
    "  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),"
    "  size_bytes INTEGER NOT NULL,"
    "  state_schema INTEGER NOT NULL, state_schema_min INTEGER NOT NULL, flags INTEGER NOT NULL,"
    "  depends TEXT NOT NULL DEFAULT '',"
    "  pinned INTEGER NOT NULL DEFAULT 0,"
    "  published_ms INTEGER NOT NULL,"
    "  good_ms INTEGER NOT NULL DEFAULT 0,"
    "  collected_ms INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (module, number)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX version_kept ON version (module, number) WHERE collected_ms = 0;"
    "CREATE TRIGGER version_number_is_new BEFORE INSERT ON version"
    "  WHEN NEW.number <= (SELECT high_water FROM module WHERE name = NEW.module)"
    "  BEGIN SELECT RAISE(ABORT, 'this number was taken before'); END;"
    "CREATE TRIGGER version_takes_number AFTER INSERT ON version"
    "  BEGIN UPDATE module SET high_water = NEW.number WHERE name = NEW.module; END;"
    "CREATE TRIGGER version_is_immutable BEFORE UPDATE OF module, number, sha256, size_bytes,"
    "  state_schema, state_schema_min, flags, published_ms ON version"
    "  BEGIN SELECT RAISE(ABORT, 'a published version does not change'); END;"
    "CREATE TRIGGER version_stays BEFORE DELETE ON version"
    "  BEGIN SELECT RAISE(ABORT, 'versions are collected, not deleted'); END;"

    "CREATE TABLE history ("
    "  sequence INTEGER PRIMARY KEY,"
    "  attempt INTEGER NOT NULL,"
    "  module TEXT NOT NULL,"
    "  kind TEXT NOT NULL, cause TEXT NOT NULL,"
    "  state TEXT NOT NULL CHECK (state IN ('STARTED', 'PUBLISHED', 'INTENT', 'ACTIVATED', 'GOOD',"
    "    'BAD', 'ROLLED_BACK', 'REFUSED', 'ABORTED', 'UNCHANGED', 'SUPERSEDED')),"
    "  terminal INTEGER NOT NULL GENERATED ALWAYS AS"
    "    (state NOT IN ('STARTED', 'PUBLISHED', 'INTENT', 'ACTIVATED')) STORED,"
    "  from_version INTEGER NOT NULL, to_version INTEGER NOT NULL,"
    "  reason TEXT NOT NULL, detail TEXT NOT NULL,"
    "  at_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX history_of_attempt ON history (attempt);"
    "CREATE INDEX history_of_module ON history (module, sequence);"
    "CREATE UNIQUE INDEX history_one_end ON history (attempt) WHERE terminal;"
    "CREATE UNIQUE INDEX history_one_start ON history (attempt) WHERE state = 'STARTED';"
    "CREATE TRIGGER history_has_no_gap BEFORE INSERT ON history"
    "  WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM history)"
    "  BEGIN SELECT RAISE(ABORT, 'history has no gaps'); END;"
    "CREATE TRIGGER history_counts_attempts BEFORE INSERT ON history WHEN NEW.attempt IS NOT"
    "    CASE WHEN NEW.state = 'STARTED' THEN (SELECT coalesce(max(attempt), 0) + 1 FROM history)"
    "    ELSE (SELECT attempt FROM history WHERE attempt = NEW.attempt AND module = NEW.module"
    "      LIMIT 1) END"
    "  BEGIN SELECT RAISE(ABORT, 'attempts are counted without gaps'); END;"
    "CREATE TRIGGER history_ends_once BEFORE INSERT ON history"
    "  WHEN EXISTS (SELECT 1 FROM history WHERE attempt = NEW.attempt AND terminal)"
    "  BEGIN SELECT RAISE(ABORT, 'the attempt has ended'); END;"
    "CREATE TRIGGER history_does_not_change BEFORE UPDATE ON history"
    "  BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;"
    "CREATE TRIGGER history_is_kept BEFORE DELETE ON history"
    "  BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;"

    "CREATE VIEW attempt AS SELECT f.attempt, f.module, f.kind, f.cause, l.state, l.terminal,"
    "    f.from_version, l.to_version, l.reason, l.detail, f.at_ms AS started_ms,"
    "    l.at_ms AS ended_ms"
    "  FROM history f JOIN history l ON l.sequence ="
    "    (SELECT max(sequence) FROM history WHERE attempt = f.attempt)"
    "  WHERE f.state = 'STARTED';";

int64_t db_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const struct {
    int result;
    const char *code, *hint;
} failures[] = {
    {SQLITE_FULL, "store.full", "free some space"},
    {SQLITE_BUSY, "store.busy", "another keeper of this sandbox may still be ending"},
    {SQLITE_CORRUPT, "store.corrupt", "sqlite3 sandbox.db .recover"},
    {SQLITE_NOTADB, "store.corrupt", ""},
    {SQLITE_READONLY, "store.unwritable", ""},
    {SQLITE_CANTOPEN, "store.unwritable", ""},
    {SQLITE_PERM, "store.unwritable", ""},
    {SQLITE_CONSTRAINT, "history.refused", ""},
};

int db_fail(struct versions *v, struct error *err, const char *what)
{
    int result = sqlite3_errcode(v->db);
    int system = sqlite3_system_errno(v->db);
    if (result == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT))
        result = SQLITE_FULL;
    v->full = result == SQLITE_FULL;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].result != result)
            continue;
        error_set(err, failures[i].code, 0, "%s: %s", what, sqlite3_errmsg(v->db));
        return *failures[i].hint != '\0' ? error_hint(err, "%s", failures[i].hint) : -1;
    }
    return error_set(err, "store.io", 0, "%s: %s", what, sqlite3_errmsg(v->db));
}

static int bind(sqlite3_stmt *stmt, const char *types, va_list ap)
{
    for (int i = 1; *types != '\0'; types++, i++) {
        int r = SQLITE_MISUSE;
        if (*types == 's') {
            const char *text = va_arg(ap, const char *);
            r = sqlite3_bind_text(stmt, i, text != NULL ? text : "", -1, SQLITE_TRANSIENT);
        } else if (*types == 'i') {
            r = sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
        }
        if (r != SQLITE_OK)
            return -1;
    }
    return 0;
}

static int prepare(struct versions *v, sqlite3_stmt **ret, struct error *err, const char *sql,
                   const char *types, va_list ap)
{
    sqlite3_stmt *s = sqlite3_next_stmt(v->db, NULL);
    while (s != NULL && (sqlite3_stmt_busy(s) || strcmp(sqlite3_sql(s), sql) != 0))
        s = sqlite3_next_stmt(v->db, s);
    if ((s == NULL &&
         sqlite3_prepare_v3(v->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) ||
        bind(s, types, ap) < 0)
        return db_fail(v, err, "sandbox.db");
    *ret = s;
    return 0;
}

int db_prepare(struct versions *v, sqlite3_stmt **ret, struct error *err, const char *sql,
               const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = prepare(v, ret, err, sql, types, ap);
    va_end(ap);
    return r;
}

int db_step(struct versions *v, sqlite3_stmt *stmt, struct error *err)
{
    int r = sqlite3_step(stmt);
    return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : db_fail(v, err, "sandbox.db");
}

int db_run(struct versions *v, struct error *err, const char *sql, const char *types, ...)
{
    _cleanup_stmt_ sqlite3_stmt *stmt = NULL;
    va_list ap;
    va_start(ap, types);
    int r = prepare(v, &stmt, err, sql, types, ap);
    va_end(ap);
    while (r == 0 && (r = db_step(v, stmt, err)) > 0)
        r = 0;
    return r;
}

int db_number(struct versions *v, int64_t missing, int64_t *ret, struct error *err, const char *sql,
              const char *types, ...)
{
    _cleanup_stmt_ sqlite3_stmt *stmt = NULL;
    va_list ap;
    va_start(ap, types);
    int r = prepare(v, &stmt, err, sql, types, ap);
    va_end(ap);
    if (r < 0 || (r = db_step(v, stmt, err)) < 0)
        return -1;
    *ret = r > 0 ? sqlite3_column_int64(stmt, 0) : missing;
    return 0;
}

const char *db_text(struct arena *a, sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return arena_strdup(a, text != NULL ? text : "");
}

/** Of the write-ahead log at each commit; the log is in order in any case. */
static int synchronous(struct versions *v, bool ordered, struct error *err)
{
    if (v->ordered == ordered)
        return 0;
    if (db_run(v, err, ordered ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", "") <
        0)
        return -1;
    v->ordered = ordered;
    return 0;
}

static int run_once(struct versions *v, unsigned flags, db_body *body, void *argument,
                    struct error *err)
{
    if (synchronous(v, (flags & DB_ORDERED) != 0, err) < 0 ||
        db_run(v, err, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    v->depth++;
    int r = body(v, argument, err);
    v->depth--;
    if (r >= 0 && disk_check("commit", "before") < 0) {
        v->full = errno == ENOSPC;
        r = error_set(err, v->full ? "store.full" : "store.io", errno, "sandbox.db");
    }
    if (r >= 0 && db_run(v, err, "COMMIT", "") < 0)
        r = -1;
    /* some failures have rolled back already */
    if (r < 0 && !sqlite3_get_autocommit(v->db))
        sqlite3_exec(v->db, "ROLLBACK", NULL, NULL, NULL);
    if (r >= 0)
        disk_check("commit", "after");
    return r;
}

int db_transaction(struct versions *v, unsigned flags, db_body *body, void *argument,
                   struct error *err)
{
    if (v->depth > 0)
        return body(v, argument, err);
    v->full = false;
    int r = run_once(v, flags, body, argument, err);
    if (r < 0 && v->full && (flags & DB_RESERVE) != 0 && reserve_release(v))
        r = run_once(v, flags, body, argument, err);
    return r;
}

int versions_atomically(struct versions *v, int (*body)(struct versions *, void *, struct error *),
                        void *argument, struct error *err)
{
    return db_transaction(v, DB_RESERVE, body, argument, err);
}

bool reserve_hold(struct versions *v)
{
    if (disk_check("reserve", RESERVE) < 0)
        return false;
    _cleanup_close_ int fd =
        openat(v->dir, RESERVE, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    if (st.st_size >= RESERVE_BYTES)
        return true;
    int errnum = posix_fallocate(fd, 0, RESERVE_BYTES);
    if (errnum == 0)
        return true;
    if (ftruncate(fd, 0) < 0) /* half a reserve would only take what others need */
        unlinkat(v->dir, RESERVE, 0);
    errno = errnum;
    return false;
}

bool reserve_release(struct versions *v)
{
    struct stat st;
    _cleanup_close_ int fd = openat(v->dir, RESERVE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && ftruncate(fd, 0) == 0;
}

static int make_schema(struct versions *v, void *argument, struct error *err)
{
    (void)argument;
    int64_t found;
    if (db_number(v, 0, &found, err, "PRAGMA user_version", "") < 0)
        return -1;
    if (found > SCHEMA_VERSION) {
        error_set(err, "store.newer", 0, "sandbox.db has format %lld, this Cloche knows %d",
                  (long long)found, SCHEMA_VERSION);
        return error_hint(err, "update Cloche, or destroy the sandbox");
    }
    if (found == SCHEMA_VERSION)
        return 0;
    if (sqlite3_exec(v->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(v, err, "sandbox.db");
    return db_run(v, err, "PRAGMA user_version = 1", "");
}

static int open_database(struct versions *v, int flags, struct error *err)
{
    /* SQLite takes paths; this one cannot be redirected between two uses */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/sandbox.db", v->dir);
    if (sqlite3_open_v2(path, &v->db, flags | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK &&
        v->db == NULL)
        return error_set(err, "store.unwritable", ENOMEM, "cannot open sandbox.db");
    sqlite3_busy_timeout(v->db, 5000);
    if (db_run(v, err, "PRAGMA journal_mode = WAL", "") < 0 ||
        db_run(v, err, "PRAGMA synchronous = FULL", "") < 0 ||
        /* KiB; what a history of any length costs in memory */
        db_run(v, err, "PRAGMA cache_size = -256", "") < 0 ||
        db_run(v, err, "PRAGMA foreign_keys = ON", "") < 0 ||
        db_run(v, err, "PRAGMA recursive_triggers = ON", "") < 0)
        return -1;
    return 0;
}

int versions_open(int dir, struct versions **ret, struct error *err)
{
    struct versions *v = calloc(1, sizeof *v);
    if (v == NULL)
        return error_set(err, "store.unwritable", ENOMEM, "cannot open sandbox.db");
    v->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    int r = v->dir < 0 ? error_set(err, "store.unwritable", errno, "sandbox directory")
                       : open_database(v, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (r == 0)
        r = db_transaction(v, 0, make_schema, NULL, err);
    if (r < 0) {
        versions_close(v);
        return -1;
    }
    reserve_hold(v); /* when there is no room now, the next publish asks again */
    *ret = v;
    return 0;
}

int versions_open_readonly(int dir, struct versions **ret, struct error *err)
{
    struct versions *v = calloc(1, sizeof *v);
    if (v == NULL)
        return error_set(err, "store.unwritable", ENOMEM, "cannot open sandbox.db");
    v->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    int r = v->dir < 0 ? error_set(err, "store.unwritable", errno, "sandbox directory")
                       : open_database(v, SQLITE_OPEN_READONLY, err);
    if (r < 0) {
        versions_close(v);
        return -1;
    }
    *ret = v;
    return 0;
}

void versions_leave_log(struct versions *v)
{
    sqlite3_wal_autocheckpoint(v->db, 8000);
}

void versions_close(struct versions *v)
{
    if (v == NULL)
        return;
    for (sqlite3_stmt *s; v->db != NULL && (s = sqlite3_next_stmt(v->db, NULL)) != NULL;)
        sqlite3_finalize(s);
    sqlite3_close_v2(v->db);
    if (v->dir >= 0)
        close(v->dir);
    free(v);
}
