#include "versions/history.h"

#include "versions/db.h"
#include "versions/versions.h"

#include <string.h>

#define TO(state) (1u << (state))
#define ENDS_EARLY                                                                                 \
    (TO(ATTEMPT_BAD) | TO(ATTEMPT_REFUSED) | TO(ATTEMPT_ABORTED) | TO(ATTEMPT_SUPERSEDED))

/* what may follow what */
static const struct {
    const char *name;
    unsigned next;
} states[ATTEMPT_STATES] = {
    [ATTEMPT_STARTED] = {"STARTED", TO(ATTEMPT_PUBLISHED) | TO(ATTEMPT_INTENT) |
                                        TO(ATTEMPT_UNCHANGED) | ENDS_EARLY},
    [ATTEMPT_PUBLISHED] = {"PUBLISHED", TO(ATTEMPT_INTENT) | ENDS_EARLY},
    [ATTEMPT_INTENT] = {"INTENT", TO(ATTEMPT_ACTIVATED) | TO(ATTEMPT_ROLLED_BACK) | ENDS_EARLY},
    [ATTEMPT_ACTIVATED] = {"ACTIVATED",
                           TO(ATTEMPT_GOOD) | TO(ATTEMPT_ROLLED_BACK) | TO(ATTEMPT_SUPERSEDED)},
    [ATTEMPT_GOOD] = {"GOOD", 0},
    [ATTEMPT_BAD] = {"BAD", 0},
    [ATTEMPT_ROLLED_BACK] = {"ROLLED_BACK", 0},
    [ATTEMPT_REFUSED] = {"REFUSED", 0},
    [ATTEMPT_ABORTED] = {"ABORTED", 0},
    [ATTEMPT_UNCHANGED] = {"UNCHANGED", 0},
    [ATTEMPT_SUPERSEDED] = {"SUPERSEDED", 0},
};

const char *attempt_state_name(enum attempt_state state)
{
    return states[state].name;
}

bool attempt_state_terminal(enum attempt_state state)
{
    return states[state].next == 0;
}

static enum attempt_state state_of(const char *name)
{
    for (unsigned i = 0; i < ATTEMPT_STATES; i++)
        if (strcmp(states[i].name, name) == 0)
            return (enum attempt_state)i;
    return ATTEMPT_STATES;
}

struct new_attempt {
    const struct attempt_start *start;
    int64_t attempt;
};

static int insert_start(struct versions *v, void *argument, struct error *err)
{
    struct new_attempt *n = argument;
    const struct attempt_start *s = n->start;
    if (db_run(v, err, "INSERT OR IGNORE INTO module (name) VALUES (?)", "s", s->module) < 0 ||
        db_number(v, 1, &n->attempt, err, "SELECT coalesce(max(attempt), 0) + 1 FROM history", "") <
            0)
        return -1;
    return db_run(v, err,
                  "INSERT INTO history (sequence, attempt, module, kind, cause, state,"
                  "  from_version, to_version, reason, detail, at_ms)"
                  "  VALUES ((SELECT coalesce(max(sequence), 0) + 1 FROM history), ?, ?, ?, ?,"
                  "  'STARTED', ?, ?, '', '', ?)",
                  "isssiii", n->attempt, s->module, s->kind, s->cause, (int64_t)s->from,
                  (int64_t)s->to, db_now_ms());
}

int history_start(struct versions *v, const struct attempt_start *start, uint64_t *ret_attempt,
                  struct error *err)
{
    struct new_attempt n = {.start = start};
    if (!spec_valid_id(start->module))
        return error_set(err, "history.refused", 0, "\"%s\" is not a module name", start->module);
    if (db_transaction(v, DB_RESERVE | DB_ORDERED, insert_start, &n, err) < 0)
        return error_wrap(err, "history of module \"%s\"", start->module);
    *ret_attempt = (uint64_t)n.attempt;
    return 0;
}

struct new_row {
    uint64_t attempt;
    enum attempt_state state;
    uint32_t number; /* 0: as the row before */
    const char *reason, *detail;
    enum version_status verdict;
};

/* the row's consequence for the version and the module */
static int judge_version(struct versions *v, const struct new_row *n, const char *module,
                         int64_t number, struct error *err)
{
    if (n->state == ATTEMPT_GOOD) {
        return db_run(v, err,
                      "UPDATE version SET status = 'GOOD', reason = '', good_ms = ?"
                      "  WHERE module = ? AND number = ?",
                      "isi", db_now_ms(), module, number) < 0
                   ? -1
                   : db_run(v, err, "UPDATE module SET good = ? WHERE name = ?", "is", number,
                            module);
    }
    enum version_status verdict = n->state == ATTEMPT_BAD ? VERSION_BAD : n->verdict;
    if (!attempt_state_terminal(n->state) || verdict == VERSION_PUBLISHED ||
        verdict == VERSION_GOOD)
        return 0;
    return db_run(v, err,
                  "UPDATE version SET status = ?, reason = ?"
                  "  WHERE module = ? AND number = ? AND status != 'GOOD'",
                  "sssi", version_status_name(verdict), n->reason, module, number);
}

static int insert_row(struct versions *v, void *argument, struct error *err)
{
    const struct new_row *n = argument;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_stmt_ sqlite3_stmt *last = NULL;
    if (db_prepare(v, &last, err,
                   "SELECT module, kind, cause, state, from_version, to_version FROM history"
                   "  WHERE attempt = ? ORDER BY sequence DESC LIMIT 1",
                   "i", (int64_t)n->attempt) < 0)
        return -1;
    int r = db_step(v, last, err);
    if (r < 0)
        return -1;
    if (r == 0)
        return error_set(err, "history.refused", 0, "there is no attempt %llu",
                         (unsigned long long)n->attempt);
    const char *module = db_text(a, last, 0), *state = db_text(a, last, 3);
    int64_t number = n->number != 0 ? n->number : sqlite3_column_int64(last, 5);
    enum attempt_state before = state_of(state);
    if (before == ATTEMPT_STATES || (states[before].next & TO(n->state)) == 0)
        return error_set(err, "history.refused", 0, "attempt %llu is %s and cannot become %s",
                         (unsigned long long)n->attempt, state, states[n->state].name);
    if (db_run(v, err,
               "INSERT INTO history (sequence, attempt, module, kind, cause, state,"
               "  from_version, to_version, reason, detail, at_ms)"
               "  VALUES ((SELECT max(sequence) + 1 FROM history), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               "issssiissi", (int64_t)n->attempt, module, db_text(a, last, 1), db_text(a, last, 2),
               states[n->state].name, sqlite3_column_int64(last, 4), number, n->reason, n->detail,
               db_now_ms()) < 0)
        return -1;
    return judge_version(v, n, module, number, err);
}

int history_note(struct versions *v, uint64_t attempt, enum attempt_state state, uint32_t number,
                 const char *detail, struct error *err)
{
    struct new_row n = {.attempt = attempt, .state = state, .number = number, .detail = detail};
    if (attempt_state_terminal(state))
        return error_set(err, "history.refused", 0, "%s ends an attempt", states[state].name);
    return db_transaction(v, DB_ORDERED | (state != ATTEMPT_PUBLISHED ? DB_RESERVE : 0), insert_row,
                          &n, err);
}

int history_end(struct versions *v, uint64_t attempt, const struct attempt_end *end,
                struct error *err)
{
    struct new_row n = {.attempt = attempt,
                        .state = end->state,
                        .reason = end->reason,
                        .detail = end->detail,
                        .verdict = end->verdict};
    if (!attempt_state_terminal(end->state))
        return error_set(err, "history.refused", 0, "%s does not end an attempt",
                         states[end->state].name);
    return db_transaction(v, DB_RESERVE | (end->state != ATTEMPT_GOOD ? DB_ORDERED : 0), insert_row,
                          &n, err);
}

/* --- reading --------------------------------------------------------------------------------- */

int history_list(struct versions *v, struct arena *a, const char *module, size_t limit,
                 struct history_row **ret, size_t *ret_count, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    if (db_prepare(v, &s, err,
                   "SELECT * FROM (SELECT sequence, attempt, module, kind, cause, state,"
                   "  from_version, to_version, reason, detail, at_ms FROM history"
                   "  WHERE ?1 = '' OR module = ?1 ORDER BY sequence DESC LIMIT ?2)"
                   "  ORDER BY sequence",
                   "si", module, limit == 0 ? (int64_t)-1 : (int64_t)limit) < 0)
        return -1;
    struct history_row *rows = NULL;
    size_t count = 0;
    int r;
    for (; (r = db_step(v, s, err)) > 0; count++) {
        rows = arena_grow(a, rows, count, sizeof *rows);
        rows[count] =
            (struct history_row){.sequence = (uint64_t)sqlite3_column_int64(s, 0),
                                 .attempt = (uint64_t)sqlite3_column_int64(s, 1),
                                 .module = db_text(a, s, 2),
                                 .kind = db_text(a, s, 3),
                                 .cause = db_text(a, s, 4),
                                 .state = state_of((const char *)sqlite3_column_text(s, 5)),
                                 .from = (uint32_t)sqlite3_column_int64(s, 6),
                                 .to = (uint32_t)sqlite3_column_int64(s, 7),
                                 .reason = db_text(a, s, 8),
                                 .detail = db_text(a, s, 9),
                                 .at_ms = (uint64_t)sqlite3_column_int64(s, 10)};
    }
    *ret = rows;
    *ret_count = count;
    return r;
}

int history_attempts(struct versions *v, struct arena *a, const char *module, size_t limit,
                     struct history_attempt **ret, size_t *ret_count, struct error *err)
{
    _cleanup_stmt_ sqlite3_stmt *s = NULL;
    if (db_prepare(v, &s, err,
                   "SELECT * FROM (SELECT attempt, module, kind, cause, reason, detail, state,"
                   "  terminal, from_version, to_version, started_ms, ended_ms FROM attempt"
                   "  WHERE ?1 = '' OR module = ?1 ORDER BY attempt DESC LIMIT ?2)"
                   "  ORDER BY attempt",
                   "si", module, limit == 0 ? (int64_t)-1 : (int64_t)limit) < 0)
        return -1;
    struct history_attempt *rows = NULL;
    size_t count = 0;
    int r;
    for (; (r = db_step(v, s, err)) > 0; count++) {
        rows = arena_grow(a, rows, count, sizeof *rows);
        rows[count] =
            (struct history_attempt){.attempt = (uint64_t)sqlite3_column_int64(s, 0),
                                     .module = db_text(a, s, 1),
                                     .kind = db_text(a, s, 2),
                                     .cause = db_text(a, s, 3),
                                     .reason = db_text(a, s, 4),
                                     .detail = db_text(a, s, 5),
                                     .state = state_of((const char *)sqlite3_column_text(s, 6)),
                                     .ended = sqlite3_column_int(s, 7) != 0,
                                     .from = (uint32_t)sqlite3_column_int64(s, 8),
                                     .to = (uint32_t)sqlite3_column_int64(s, 9),
                                     .started_ms = (uint64_t)sqlite3_column_int64(s, 10),
                                     .ended_ms = (uint64_t)sqlite3_column_int64(s, 11)};
    }
    *ret = rows;
    *ret_count = count;
    return r;
}

int history_previous_good(struct versions *v, const char *module, uint32_t number, uint32_t *ret,
                          struct error *err)
{
    int64_t found;
    if (db_number(v, 0, &found, err,
                  "SELECT h.to_version FROM history h JOIN version n"
                  "  ON n.module = h.module AND n.number = h.to_version"
                  "  WHERE h.module = ?1 AND h.state = 'GOOD' AND h.to_version != ?2"
                  "  AND n.collected_ms = 0 AND n.status = 'GOOD'"
                  "  AND h.sequence < coalesce((SELECT max(sequence) FROM history WHERE module = ?1"
                  "    AND state = 'GOOD' AND to_version = ?2), 9223372036854775807)"
                  "  ORDER BY h.sequence DESC LIMIT 1",
                  "si", module, (int64_t)number) < 0)
        return -1;
    *ret = (uint32_t)found;
    return 0;
}
