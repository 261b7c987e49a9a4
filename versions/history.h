/**
 * The history of a sandbox: every attempt at changing what is active.
 *
 * An attempt is a number and a few rows: STARTED, then PUBLISHED (a new artifact took a number),
 * INTENT (the last write before the switch), ACTIVATED, and one terminal row. The order is a table
 * (history.c); the database itself refuses changed or deleted rows, gaps, a second terminal row and
 * a row behind it. Nothing is ever removed from it.
 *
 * A row is written when the call returns: no crash takes it. PUBLISHED and GOOD are on disk by then
 * as well, with all that went before; the others follow, so that nobody waits for a disk while a
 * module serves. A power cut that takes them ends the sandbox in any case, and what serves next,
 * the last GOOD, does not depend on them.
 */
#ifndef CLOCHE_VERSIONS_HISTORY_H
#define CLOCHE_VERSIONS_HISTORY_H

#include "base/arena.h"
#include "base/error.h"
#include "versions/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct versions;

enum attempt_state {
    ATTEMPT_STARTED,
    ATTEMPT_PUBLISHED,
    ATTEMPT_INTENT,
    ATTEMPT_ACTIVATED,
    /* terminal */
    ATTEMPT_GOOD,        /* survived probation, or was confirmed */
    ATTEMPT_BAD,         /* the version failed before the switch: init, migrate, health */
    ATTEMPT_ROLLED_BACK, /* the switch was made or about to be, and taken back */
    ATTEMPT_REFUSED,     /* no version came of it: compile error, verify, disk */
    ATTEMPT_ABORTED,     /* nothing wrong with the version: drain, save, cancelled */
    ATTEMPT_UNCHANGED,   /* the artifact is the newest one already */
    ATTEMPT_SUPERSEDED,  /* a newer attempt took over */
    ATTEMPT_STATES
};

const char *attempt_state_name(enum attempt_state state);
bool attempt_state_terminal(enum attempt_state state);

struct attempt_start {
    const char *module;
    const char *kind;  /* "create", "reload", "rollback" */
    const char *cause; /* "command", "watch", "automatic", ... */
    uint32_t from, to; /* serving before, 0: none; wanted, 0: not known yet */
};

/** A new attempt; history.refused, store.*. */
int history_start(struct versions *v, const struct attempt_start *start, uint64_t *ret_attempt,
                  struct error *err);

/** INTENT or ACTIVATED of version @number (PUBLISHED is written by store_publish). @detail may be
 * NULL. Uses the reserve on a full disk, like all that a rollback has to write. */
int history_note(struct versions *v, uint64_t attempt, enum attempt_state state, uint32_t number,
                 const char *detail, struct error *err);

struct attempt_end {
    enum attempt_state state;
    const char *reason; /* "init", "migrate 1->2", "crash", "verify.symbol", ...; may be NULL */
    const char *detail; /* free text or JSON: pause, lost_updates, diagnostics; may be NULL */
    /* of the version tried; a GOOD one stays GOOD. VERSION_PUBLISHED says nothing. State GOOD
     * and BAD speak for themselves */
    enum version_status verdict;
};

/** The terminal row, with what follows from it for the version, in one commit. */
int history_end(struct versions *v, uint64_t attempt, const struct attempt_end *end,
                struct error *err);

struct history_row {
    uint64_t sequence, attempt;
    const char *module, *kind, *cause;
    enum attempt_state state;
    uint32_t from, to;
    const char *reason, *detail;
    uint64_t at_ms;
};

/** Rows of @module (NULL: all), oldest first, the last @limit of them (0: all). */
int history_list(struct versions *v, struct arena *a, const char *module, size_t limit,
                 struct history_row **ret, size_t *ret_count, struct error *err);

/** One line an attempt. */
struct history_attempt {
    uint64_t attempt;
    const char *module, *kind, *cause, *reason, *detail;
    enum attempt_state state; /* the last one */
    bool ended;
    uint32_t from, to;
    uint64_t started_ms, ended_ms; /* of the last row */
};
int history_attempts(struct versions *v, struct arena *a, const char *module, size_t limit,
                     struct history_attempt **ret, size_t *ret_count, struct error *err);

/** The version that was GOOD before @number became it, still in the store; 0: there is none. */
int history_previous_good(struct versions *v, const char *module, uint32_t number, uint32_t *ret,
                          struct error *err);

#endif
