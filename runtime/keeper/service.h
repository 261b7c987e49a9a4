/**
 * What serves a module: queue, worker, state.
 *
 * Theory of operation. A service is the living side of a module (modules.h): the version that
 * serves, a queue, and the worker behind them. Its node in the tree is up while some version
 * serves; which one is changed by the reload transaction (reload.h) without the node noticing. When
 * the serving worker dies outside a probation the node is down, the supervisor decides, and
 * service_start() brings the same version up again from the last checkpoint, with the requests that
 * were answered since replayed when the module is DETERMINISTIC. Meanwhile the queue accepts.
 *
 *     queue --- dispatch ---> serving          the one worker that gets requests
 *                             reload->next     loads, rehearses, then serves
 *                             reload->parked   what served before, alive until probation ends
 *
 * Checkpoints: `base` is a snapshot, in memory, from which the serving version's state can be had
 * again, and the log (calls.h) is what was answered since. Outside transactions it is renewed every
 * CHECKPOINT_MS in which something was answered (of an arena less often, CHECKPOINT_SHARE), and
 * written to the GOOD slot of the state directory; durably when a version becomes GOOD and when the
 * sandbox stops.
 *
 * A service lives as long as its module does, the keeper's life; its node goes with each tree.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_SERVICE_H
#define CLOCHE_RUNTIME_KEEPER_SERVICE_H

#include "runtime/keeper/calls.h"
#include "runtime/keeper/modules.h"
#include "runtime/keeper/reload.h"
#include "runtime/keeper/tree.h"
#include "runtime/keeper/worker.h"
#include "versions/versions.h"

#define SERVICE_INIT_MS   2000
#define SERVICE_LOAD_MS   5000
#define SERVICE_SAVE_MS   5000
#define SERVICE_MOVE_MS   30000 /* an arena to a new file, beside serving */
#define SERVICE_HEALTH_MS 1000
#define SERVICE_DRAIN_MS  1000
#define SERVICE_STOP_MS   1000
#define SERVICE_CALL_MS   30000
#define CHECKPOINT_MS     1000
#define CHECKPOINT_SHARE  50 /* of an arena: at most one part in this many of the time */
#define LOG_MAX_CALLS     4096
#define LOG_MAX_BYTES     (4u * 1024 * 1024)
#define SERVICE_STATE_CAP STATE_DEFAULT_CAP

struct service_version {
    uint32_t number; /* 0: none */
    uint32_t schema, schema_min, flags;
    enum version_status status;
};

struct service {
    struct keeper *keeper;
    struct module *module;
    const char *name;
    struct node *node; /* in the present tree; NULL: no version has served yet */

    struct worker *serving;        /* NULL: down, or coming up */
    struct worker *starting;       /* brought up by service_start */
    struct service_version active; /* what serves, or is to serve again */
    struct reload *reload;         /* the transaction under way, steps 1 to 12 */
    struct reload *probation;      /* the one that N serves by, 13 to 15 */
    bool paused;                   /* nothing is dispatched */
    bool fell_back;                /* on the previous GOOD version, once */
    bool stopping, gave_up;        /* no requests are accepted */
    char why[200];                 /* it gave up, or does not serve */

    struct call_list queue;
    uint64_t next_id, answered; /* requests of all versions */
    struct call *suspect;       /* has seen one worker die: goes alone */

    struct call_list log;
    bool logging, log_incomplete;
    bool log_full;         /* nothing is dispatched until the parked version has caught up */
    size_t log_applied;    /* the oldest of it, which the parked version has answered, too */
    uint64_t log_answered; /* since the base, also those not in the log */
    int base;              /* sealed snapshot, or -1 */
    struct loop_timer *checkpoint_timer, *down_timer;
    bool saving;
    uint64_t saving_ms, checkpoint_ms; /* when the last began; when one of an arena may */

    /* the replay of the log into some worker */
    struct worker *replay_worker;
    struct call *replay_next, *replay_wait; /* to send; whose reply is awaited */
    size_t replay_at, replay_left, replay_answers, replay_flying, replay_bytes;
    uint64_t replayed, replay_differs;
    void (*replay_done)(void *context, bool ok);
    void *replay_context;
};

/** The module's, made at first need. */
struct service *service_of(struct module *m);
/** With its log and its base; NULL: nothing to do. */
void service_free(struct service *s);
/** That of module @name; module.unknown. */
struct service *service_require(struct keeper *k, const char *name, struct error *err);
/** What the store says about a version. store.unknown_version, store.collected */
int service_version(struct service *s, uint32_t number, struct service_version *ret,
                    struct error *err);
static inline bool service_has_state(const struct service_version *v)
{
    return v->number != 0 && v->schema != 0;
}
static inline bool service_has_arena(const struct service_version *v)
{
    return service_has_state(v) && (v->flags & CLOCHE_STATE_ARENA) != 0;
}
/** A state that version @version wrote; 0: any. */
struct state_expect service_expect(const struct service *s, uint32_t version);
/** And with its schema. */
struct state_expect service_expect_own(const struct service *s, const struct service_version *v);

/** tree.c: bring it up, take it down; node_is_up() and node_is_down() are called, not from within.
 */
void service_start(struct service *s);
void service_stop(struct service *s, uint64_t grace_ms);
/** The tree is gone: no worker is left, and no node. */
void service_detach(struct service *s);
/** Its supervisor would give up: the previous GOOD version is tried, once. The node waits, as at a
 * start. */
bool service_fall_back(struct service *s);
/** Nothing will serve it any more: what waits is answered. */
void service_give_up(struct service *s, const char *why);

/** @w serves from now on, as version @v; the queue moves. */
void service_serve(struct service *s, struct worker *w, const struct service_version *v);
/** Keep @snapshot (taken over; -1: none) as what a restart begins from; the log begins anew. */
void service_set_base(struct service *s, int snapshot);
/* what workers and calls.c tell */
void service_serving_lost(struct worker *w);
void service_serving_gone(struct worker *w);
/** Log line, timer or child; false: it breaks a rule. */
bool service_event(struct worker *w, const struct wire_record *r, const void *payload);
/** It answered one request; the log takes it, or it is freed. */
void service_answered(struct service *s, struct call *c);
/** A request that two workers died of. */
void service_poison(struct service *s, struct call *c);
/** The request that @w is at takes too long. */
void service_hung(struct worker *w);

/** service_host.c: what the module asks of its host; false: it breaks a rule. */
bool service_ask_host(struct worker *w, const struct wire_record *r, const void *payload);
/** Its timers end with it. */
void service_host_forget(struct worker *w);
/** It serves (again): timers that have expired meanwhile are told. */
void service_host_tell(struct worker *w);

/** {"name", "version", ...} for info. */
cJSON *service_json(const struct service *s);

/* --- tree.c: what a service tells its node, beside node_is_up() --- */
void node_is_down(struct node *n, enum supervise_end how, const char *why);
/** One that the spec does not know of: a child from when it first serves. -1: no more room. */
int tree_add_service(struct tree *t, struct service *s, struct error *err);
/** Would there be, for those that are to serve first, and one more? */
int tree_check_room(const struct tree *t, struct error *err);

/* --- reload.c, for service.c --- */
/** A worker that takes part in a transaction: the transaction deals with it. */
bool reload_worker_lost(struct service *s, struct worker *w);
bool reload_worker_gone(struct service *s, struct worker *w);
/** A request was answered; or poisoned. */
void reload_answered(struct service *s, const struct call *c);
void reload_poisoned(struct service *s);
/** What a rollback during probation would go back to; 0: none. */
uint32_t reload_fallback(const struct service *s);
/** The log has become long: let the parked version catch up. false: it cannot. */
bool reload_catch_up(struct service *s);
/** It was down when a transaction came to its switch, which brings it up. */
bool reload_takes_over(const struct service *s);
/** In the steps where N is waited for, and M's clients with it. */
bool reload_waits(const struct service *s);
/** N serves, and may still lose to M. */
bool reload_on_probation(const struct service *s);
/** It was brought up again by its supervisor. */
void reload_came_up(struct service *s);
/** What a switch a moment ago has still to record: now, since somebody wants to read it. */
void reload_record(struct service *s);
/** Its supervisor does not bring it up any more. */
void reload_gave_up(struct service *s, const char *why);
/** The tree is gone. */
void reload_detach(struct service *s);
/** The sandbox ends: a probation is confirmed, what is not switched yet is aborted. */
void reload_stop(struct service *s);
cJSON *reload_json(const struct service *s);

#endif
