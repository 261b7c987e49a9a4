/**
 * The keeper's end of a worker (runtime/worker/wire.h).
 *
 * Theory of operation. A worker is a child of the sandbox that executes cloche-worker from a sealed
 * copy of it. Starting one takes about a millisecond, so the keeper of a sandbox with modules has
 * one in reserve: it runs, knows no module yet, and is given one by INIT. Everything asked of a
 * worker is answered in order and has a deadline; whoever asks is called back exactly once.
 *
 * Its end comes in two parts. `lost`, once, as soon as it can do nothing more: its socket closed,
 * it broke a rule, ran into a deadline, or was killed; what it had in hand is taken from it there.
 * `gone`, after init has reaped it and all that it forked, with the reason; the worker is freed
 * behind it.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_WORKER_H
#define CLOCHE_RUNTIME_KEEPER_WORKER_H

#include "runtime/keeper/calls.h"
#include "runtime/keeper/keeper.h"
#include "runtime/keeper/post.h"
#include "runtime/worker/wire.h"

struct worker;
struct service;

/** @err NULL: done, and @fd (or -1) is the callee's. */
typedef void worker_done_fn(void *context, const struct error *err, int fd);

struct ask {
    struct ask *next;
    struct worker *worker;
    worker_done_fn *done; /* NULL: nobody listens */
    void *context;
    struct loop_timer *timer;
    uint64_t deadline_ms; /* from when the worker is at it */
    uint64_t spent_ms;    /* of that */
    uint64_t after;       /* the last request that it was given before; 0: none */
    bool waited;          /* when the timer was last over it was at something before this */
    bool health;          /* of a load: then it was at health, which comes last */
    const char *what;     /* "init", "save_state", ... */
    int type;
};

struct worker {
    struct task task; /* first: a task is cast to its worker */
    struct worker *next;
    struct keeper *keeper;
    struct service *service; /* NULL: in reserve, or dropped */
    uint32_t version;
    int socket;
    pid_t guard, process; /* as the host counts them; 0: not known */
    cpu_set_t processors; /* before it was gathered */
    size_t room;          /* of its socket, as the kernel counts it */
    struct post post;
    struct post_fds theirs; /* of which; until INIT */
    struct loop_source *source;
    struct ask *asks; /* oldest first */
    bool lost, hold, stopping;
    bool gathered; /* affinity.h */
    bool failed;   /* it never ran */
    char why[200]; /* how it ended, as far as it is known */
    uint64_t started_ms;

    /* requests given to it and not answered, oldest first */
    struct call_list inflight;
    uint64_t begun;       /* the highest worker_at() that was looked at by worker_at_ask() */
    uint64_t progress_ms; /* it was given something while idle, or answered, last */
    struct loop_timer *watchdog, *stop_timer, *send_failed;
    uint64_t watchdog_due_ms;
    bool replaying; /* what is in flight is replayed, and belongs to the log */
    bool ticking;   /* it was told of timers, and has not come to the end of that */

    void (*on_lost)(struct worker *w);
    void (*on_gone)(struct worker *w);
    void *owner;
    int log;                     /* where its lines go; -1 */
    struct worker_timer *timers; /* service_host.c */
    unsigned timer_count;
    struct worker_child *children; /* worker_children.c */
    unsigned child_count;
};

/** A worker of version @version of @s that is being told to load it; @done when it is READY or not.
 * NULL with @err. */
struct worker *worker_open(struct service *s, uint32_t version, uint32_t flags,
                           worker_done_fn *done, void *context, struct error *err);
/** Have some in reserve: a reload with a state takes two, one of them to rehearse with. */
void worker_reserve(struct keeper *k);
void worker_drop_spares(struct keeper *k);

/** Ask for something; @fd is borrowed, -1: none. A failure comes by @done, never from here. */
void worker_ask(struct worker *w, int type, uint64_t value, int fd, uint64_t deadline_ms,
                worker_done_fn *done, void *context);
/** Tell it something that is not answered. */
void worker_tell(struct worker *w, const struct wire_record *r, const void *payload);
/** The keeper's one packet, begun anew for @w. */
struct wire_packet *worker_packet(struct worker *w);
/** Send it; false: @w was lost over it. */
bool worker_send(struct worker *w, const struct wire_packet *p, int fd);
/** Let it begin no further request, or again. */
void worker_hold(struct worker *w, bool hold);
/** The last request that it began, as it says itself. */
uint64_t worker_at(const struct worker *w);
/** Is it at what it was asked first, and not at a request? */
bool worker_at_ask(struct worker *w);

/** Kill it, and all that it forked. @why is kept as the reason when there is no earlier one. */
void worker_kill(struct worker *w, const char *why);
/** stop(@reason), exit; killed when it takes longer than @grace_ms. */
void worker_stop(struct worker *w, int reason, uint64_t grace_ms);
/** No ask calls back with @context any more. */
void worker_forget(struct keeper *k, const void *context);
/** What was asked for @before is @newer's. */
void worker_hand_on(struct worker *w, const void *before, void *newer);
/** Nor one ask of @type. */
void worker_forget_type(struct worker *w, int type, const void *context);
/** Nobody wants to hear of it any more: its asks are forgotten, and it is stopped (or killed) and
 * reaped in the background. */
void worker_drop(struct worker *w, int reason);
/** All of them, at the end of the tree. */
void worker_drop_all(struct keeper *k);

#endif
