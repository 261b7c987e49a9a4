/** The inside of cloche-worker: one module, loaded, with what the host gives it. */
#ifndef CLOCHE_RUNTIME_WORKER_HOST_H
#define CLOCHE_RUNTIME_WORKER_HOST_H

#include "runtime/worker/wire.h"
#include "versions/state.h"

struct host {
    struct cloche_host api; /* first: what the module passes back is cast to this */
    struct wire_init init;
    char name[72];
    const struct cloche_module *module;
    void *self;
    struct wire_shared *shared;
    struct mailbox box;
    struct wire_packet out; /* replies and messages not sent yet */
    uint64_t last_child;
    int spare; /* memory for the next state, or -1 */
    uint64_t spare_bytes;
    struct state_arena arena;   /* arena.at NULL: it wants none */
    bool arena_touched;         /* since the last save */
    uint64_t arena_ns;          /* when a piece of it moved last */
    struct wire_record waiting; /* a SAVE or SETTLE, until it has moved; type 0: none */
};

/** Send what is waiting. Ends the process when nobody is there any more. */
void host_flush(struct host *h);
/** Queue one record; @fd, when given, is closed and goes in a packet of its own. */
void host_put(struct host *h, const struct wire_record *r, const void *payload, int fd);
/** Also the end of the stage. */
void host_done(struct host *h, enum wire_failure failure, const char *text, int fd);
static inline void host_stage(struct host *h, enum wire_failure stage)
{
    __atomic_store_n(&h->shared->progress.stage, stage, __ATOMIC_RELEASE);
}

/** Fill h->api: extensions and all. */
void host_open(struct host *h);

/* state.c */
/** Behind init: the memory that a state is most often loaded into, which is the heap's and that of
 * the variables of the module, loaded at @module. */
void host_warm(uintptr_t module);
uint64_t host_now_ns(void);
/** Before init. */
int host_arena_open(struct host *h, struct error *err);
/** Does it have to move, when there is nothing else to do? */
static inline bool host_arena_moves(const struct host *h)
{
    return h->arena.at != NULL && !h->arena.fresh && (h->arena_touched || h->waiting.type != 0);
}
/** One piece. Not @idle: only when something waits for it, or it was waiting for long. */
void host_arena_move(struct host *h, bool idle);
/** SAVE and SETTLE: when the arena has moved, meanwhile requests are answered. */
void host_defer(struct host *h, const struct wire_record *r);
/** What was deferred is answered before anything else that is. */
void host_finish(struct host *h);
void host_save(struct host *h, const struct wire_record *r);
void host_seal(struct host *h);
void host_load(struct host *h, int snapshot);
void host_migrate(struct host *h, const struct wire_record *r, int snapshot);
/** false: the keeper was told. */
bool host_healthy(struct host *h);
static inline void host_refuse(struct host *h, enum wire_failure failure, const char *text)
{
    host_done(h, failure, text, -1);
}

#endif
