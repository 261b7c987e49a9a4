/** The inside of a reload, shared by reload.c (steps 1 to 12), rehearsal.c (6, 7), probation.c (13
 * to 15), rollback.c, group.c (several as one) and transaction.c (how it ends). Private to them. */
#ifndef CLOCHE_RUNTIME_KEEPER_TRANSACTION_H
#define CLOCHE_RUNTIME_KEEPER_TRANSACTION_H

#include "runtime/keeper/service.h"

struct reload {
    struct service *s;
    struct keeper *k;
    struct reload_request r;
    struct reload_watch watch; /* `ended` NULL: nobody listens */
    struct reload_watch confirmer;
    uint64_t attempt;
    int step;
    struct build *build;
    struct service_version from, to;
    bool hand_over;        /* M's state goes to N */
    bool down;             /* and M's own migrate has to rewrite it for the older N */
    bool ahead;            /* what 6 starts was asked for before the attempt had its row */
    bool ready, rehearsed; /* N; 7: both are needed for 8 */

    struct worker *next, *rehearsal, *migrator, *parked;
    unsigned waiting;         /* for how many of those that 7 needs, and for the live copy */
    int live, snapshot, kept; /* a copy of M's state, M's state, what N once left; -1 */

    /* M's arena: its copy is whole only when M has sealed it, or has ended */
    unsigned asked;     /* M: how much of what `waiting` counts is its to answer */
    bool unsealed;      /* the snapshot has such a one */
    bool unsaved;       /* M cannot save, and N wants nothing of it: there is no snapshot */
    int given;          /* it, while M is parked; -1 */
    bool sealing;       /* M was asked to, which takes a while: not before clients are served */
    bool behind;        /* base is older than where the log begins, */
    uint64_t behind_by; /* by so many requests */

    struct reload_group *group; /* of several modules; NULL once it is switched, or alone */

    uint64_t began_ns, paused_ns, pause_us;
    struct loop_timer *timer, *drain_timer, *health_timer;
    bool owed;      /* M has not answered yet, and the transaction waits no longer */
    bool recorded;  /* its terminal row is written */
    bool ended;     /* it is over; freed when M has answered */
    bool took_over; /* M was down: nobody else brings it up meanwhile */
    bool forced;    /* M was killed because it did not drain */

    /* probation */
    uint64_t probation_ms, completed;
    uint64_t confirmed_at; /* how many requests were answered when N saved `confirmed` */
    unsigned health_failures;
    bool time_over, untried, confirming;
    int confirmed; /* N's state, on its way to the disk; -1 */
    bool catching; /* M answers the log, or saves after that */

    /* rollback */
    struct worker *losing; /* N, until it is reaped */
    bool rolling, back;    /* M's turn; M serves again */
    bool poisoned;
    uint64_t redispatched; /* id of the request N died of, until it is answered */
    uint64_t lost_updates, replayed, differs;
    char why[240];
};

/** Steps that the history and clients see. */
void transaction_step(struct reload *t, int step, const char *text);
const char *transaction_step_name(int step);
/** The terminal row, when it has to be there before anything that follows from it. */
int transaction_record(struct reload *t, enum attempt_state state, const char *reason,
                       enum version_status verdict, const struct error *why, struct error *err);
/** The terminal row and the end of the watch; frees @t unless M still owes an answer. @verdict: of
 * the version tried, VERSION_PUBLISHED: none. */
void transaction_end(struct reload *t, enum attempt_state state, const char *reason,
                     enum version_status verdict, const struct error *err);
/** Who has asked for the end of the probation hears of it once. */
void transaction_tell_confirmer(struct reload *t, const struct reload_result *r);
/** The ends of a step that fails before the switch; @t is gone then. transaction_bad finds out what
 * the version is BAD for ("init", "migrate 1->2", ...). */
void transaction_refuse(struct reload *t, const struct error *why);
void transaction_bad(struct reload *t, const struct error *why);
void transaction_abort(struct reload *t, const char *reason, const struct error *why);
void transaction_abort_drain(struct reload *t);
/** What they have in common. */
void transaction_fail(struct reload *t, enum attempt_state state, const char *reason,
                      const struct error *why);
/** Who was expected has gone without having been asked anything: the end. */
bool transaction_missing(struct reload *t, const struct worker *w);
/** M goes on as if nothing had been. */
void transaction_resume(struct service *s);
void transaction_drop(struct worker **w);
void transaction_cancel(struct reload *t, struct loop_timer **timer);
/** Workers and files of @t that nothing else owns any more. */
void transaction_release(struct reload *t);
/** Remove the versions that are more than are kept; nothing that serves or may. */
void transaction_collect(struct service *s);
uint64_t transaction_now_ns(void);
/** What watches and clients are told. */
struct reload_result transaction_result(const struct reload *t, enum attempt_state state,
                                        const struct error *err);

/** Several transactions as one: group.c. Each of these three is called where a member would go on
 * by itself; true: it waits, and is gone on with when all are there. */
bool group_prepared(struct reload *t); /* before 8 */
bool group_loaded(struct reload *t);   /* before 12 */
/** @t ends before the switch, and then so do the others. */
struct reload_group *group_leave(struct reload *t);
void group_fail(struct reload_group *g, const char *module);
/** @t alone ends. */
void group_unchanged(struct reload *t);

/** 6 and 7; before 6, when what it needs is known by then. */
void rehearsal_start(struct reload *t);
void rehearsal_ahead(struct reload *t);
void rehearsal_forget(struct reload *t);

/** Go on with 8, or when the others of a group are there; with 8 and 9; with 12. */
void transaction_prepared(struct reload *t);
void transaction_quiesce(struct reload *t);
void transaction_switch(struct reload *t);

/** Steps 2 to 5. */
int reload_build(struct reload *t, const struct build_options *o, struct error *err);
/** What is not switched yet is given up; M serves. */
void reload_abort(struct service *s, const char *reason);

/** Between base and log is a gap: were M lost, too, those updates would be. */
void transaction_fall_behind(struct reload *t, uint64_t requests);

/** Step 13: N serves. */
void probation_begin(struct reload *t);
/** Ask M, once, to seal the arena that it gave, so that it does not write to what N began with. */
void probation_seal(struct reload *t);
/** Rows and link of step 13, once. */
void probation_record(struct reload *t);
/** The base is all there is, and there is a gap behind it. */
void probation_give_up_log(struct reload *t);
/** Why what is past its build ends when the version before it does; what is built goes on. */
#define PROBATION_FAILED "the serving version failed its probation"
/** N serves and something newer is about to: what @t kept for its rollback is @newer's now. */
void probation_hand_on(struct reload *t, struct reload *newer);

/** Is all known that the row of a rollback says? Then it is written. */
void rollback_settle(struct reload *t);
/** A request was answered while M has its turn. */
void rollback_answered(struct reload *t, const struct call *c);

#endif
