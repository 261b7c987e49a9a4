/**
 * sandbox.db, for the other files of this folder. One statement is one call; an error carries what
 * SQLite says. Private to versions/.
 */
#ifndef CLOCHE_VERSIONS_DB_H
#define CLOCHE_VERSIONS_DB_H

#include "base/arena.h"
#include "base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

struct versions {
    sqlite3 *db;
    int dir; /* of the sandbox */
    unsigned depth;
    bool full;    /* the last failure was for want of space */
    bool ordered; /* what the connection is set to; enum db_flags */
};

/** Back to where the next db_prepare of the same text finds it. */
static inline void cleanup_stmt(sqlite3_stmt **s)
{
    if (*s != NULL) {
        sqlite3_reset(*s);
        sqlite3_clear_bindings(*s);
    }
}
#define _cleanup_stmt_ __attribute__((cleanup(cleanup_stmt)))

/** Bind: 's' a const char *, 'i' an int64_t. Prepared once a connection: compiling an INSERT with
 * its triggers takes longer than running it. */
int db_prepare(struct versions *v, sqlite3_stmt **ret, struct error *err, const char *sql,
               const char *types, ...);

/** 1 a row, 0 no more, -1. */
int db_step(struct versions *v, sqlite3_stmt *stmt, struct error *err);

/** Bind and run to the end. */
int db_run(struct versions *v, struct error *err, const char *sql, const char *types, ...);

/** The first column of the first row; @missing when there is none. */
int db_number(struct versions *v, int64_t missing, int64_t *ret, struct error *err, const char *sql,
              const char *types, ...);

/** A text column in the arena; NULL is "". */
const char *db_text(struct arena *a, sqlite3_stmt *stmt, int column);

/** Turn the database's last failure into @err. */
int db_fail(struct versions *v, struct error *err, const char *what);

typedef int db_body(struct versions *v, void *argument, struct error *err);

enum db_flags {
    DB_RESERVE = 1, /* on a full disk the reserve file is given up and the body run once more */
    DB_ORDERED = 2, /* on disk with the next one that is not: a power cut may take it, and then all
                       that came after it; a crash does not */
};

/** Run @body in a transaction, durable when this returns. Within another one it is a part of that.
 */
int db_transaction(struct versions *v, unsigned flags, db_body *body, void *argument,
                   struct error *err);

/** Milliseconds since 1970. */
int64_t db_now_ms(void);

/* the reserve: disk space that is let go when a rollback has to be written to a full disk */
bool reserve_hold(struct versions *v);
bool reserve_release(struct versions *v);

#endif
