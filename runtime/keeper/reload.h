/**
 * The reload transaction: changing what serves without losing a request.
 *
 * Theory of operation. One transaction a module, in the steps of this table; M serves and is GOOD,
 * N is new. Steps 2 to 5 belong to build.h, and are left out when a published number is activated.
 *
 *    1  take the module's slot                           M serves
 *    2  to 5: snapshot, compile, verify, publish         M serves
 *    6  start worker N; init; READY                      M serves
 *    7  rehearse: M saves a live copy, a second worker   M serves
 *       of N migrates and loads it, and is dropped
 *    8  row INTENT: the last disk write before 12        M serves
 *    9  quiesce M: dispatch stops, the queue accepts     paused
 *   10  M saves to a sealed memfd, the snapshot S        paused
 *   11  N loads S, health                                paused
 *   12  the queue goes to N; M is parked alive           N serves
 *   13  row ACTIVATED, `current`                         N serves
 *   14  probation                                        N serves
 *   15  row GOOD; M stopped; S dropped                   N serves
 *
 * An arena (versions/state.h) is rehearsed from the last checkpoint, where there is one; M gets
 * ready to give it away while it serves (7), gives it in 10, and seals it parked, behind 12. Only
 * then it is a snapshot: until then the base stays what it was, and M is the only way back.
 *
 * Whatever fails before 12 leaves M serving; what fails in 14 gives the queue back to M. Every
 * attempt ends in one terminal row of the history and one call of its `ended`.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_RELOAD_H
#define CLOCHE_RUNTIME_KEEPER_RELOAD_H

#include "runtime/keeper/keeper.h"
#include "versions/history.h"

/** What becomes of the state. */
enum reload_state {
    RELOAD_STATE_MIGRATE,  /* handed over, migrated where the schemas differ */
    RELOAD_STATE_SNAPSHOT, /* of a rollback: the one that was kept when the version was left */
    RELOAD_STATE_EMPTY     /* N starts without any */
};

struct reload_request {
    const char *module;
    uint32_t number;           /* a published version; 0: build one, from: */
    int artifact;              /* a shared object (borrowed until reload_start returns), or -1, */
    const char *artifact_name; /* as its owner calls it, or NULL */
    const char *source;  /* else a file or directory of the host; NULL: the source of the spec */
    struct build *ahead; /* of that, begun already; taken over unless reload_start fails */
    const char *kind;    /* "reload", "rollback", "create" */
    const char *cause;   /* "command", "watch", "automatic" */
    enum reload_state state;
    bool force_drain;  /* a request that does not end in time is taken from M and given to N */
    bool supersede;    /* a transaction that is under way gives way, unless it is past step 8 */
    bool no_probation; /* GOOD at once, after its first health */
};

/** How an attempt ended, or (@switched of progress) that N serves now. */
struct reload_result {
    const char *module;
    uint64_t attempt;
    enum attempt_state state; /* terminal, or ATTEMPT_ACTIVATED: N serves, on probation */
    int step;                 /* reached, 1 to 15 */
    uint32_t tried, active;   /* version wanted; version that serves now (0: none) */
    uint64_t pause_us, lost_updates, replayed;
    bool untried;              /* the time of its probation was over before any request came */
    const struct error *error; /* NULL unless it failed; its message names the step */
};

struct reload_watch {
    /** Begun: @step, with a word or two about it. May be NULL. */
    void (*step)(void *context, int step, const char *text);
    /** N serves (ATTEMPT_ACTIVATED), still on probation. May be NULL. */
    void (*switched)(void *context, const struct reload_result *r);
    /** It is over but for the request that it takes: it goes on until there is one. May be NULL. */
    void (*untried)(void *context, const struct reload_result *r);
    /** The end; called once, never from within reload_start. */
    void (*ended)(void *context, const struct reload_result *r);
    void *context;
};

/** -1: nothing was begun: module.unknown, reload.busy (names attempt and step), sandbox.*.
 * 0: @w->ended will be called. */
int reload_start(struct keeper *k, const struct reload_request *r, const struct reload_watch *w,
                 struct error *err);

/** Several modules as one: all are prepared, then all quiesced, dependents first, and all switched;
 * what fails before the switch ends all. With @cascade the modules that depend on one of them are
 * started anew, too, with the version that they have. @w is called for each. *@ret_count: how many
 * there are in all. module.cycle, and the errors of reload_start(). */
int reload_start_all(struct keeper *k, const struct reload_request *list, size_t count,
                     bool cascade, const struct reload_watch *w, size_t *ret_count,
                     struct error *err);

/** Nobody listens any more; the attempt goes on. */
void reload_forget(struct keeper *k, void *context);

/** End the probation of @module with GOOD now. reload.none, reload.busy (it is being ended). 0:
 * @w's `ended` says whether it became GOOD; reload_forget() as above. */
int reload_confirm(struct keeper *k, const char *module, const struct reload_watch *w,
                   struct error *err);

#endif
