/**
 * Checkpoints on their way to the disk, which must not keep the loop waiting, and with it every
 * client: one thread does what it is given, in that order, and the end of each is told on the loop.
 *
 * The thread touches nothing but its job. It is started with the first one.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_CHECKPOINTS_H
#define CLOCHE_RUNTIME_KEEPER_CHECKPOINTS_H

#include "runtime/keeper/keeper.h"
#include "versions/state.h"

enum checkpoint_work {
    CHECKPOINT_GOOD,      /* write a snapshot into the slot GOOD */
    CHECKPOINT_PROBATION, /* into the slot PROBATION; on disk at its end */
    CHECKPOINT_LAST,      /* GOOD, on disk at its end */
    CHECKPOINT_KEEP,      /* as what its version left */
    CHECKPOINT_PROMOTE,   /* PROBATION becomes GOOD; no snapshot */
};

typedef void checkpoint_done_fn(void *context, const struct error *err);

/** @snapshot is borrowed until this returns. @done NULL: a failure is an event of the journal. */
void checkpoint(struct keeper *k, enum checkpoint_work work, int snapshot,
                const struct state_expect *expect, checkpoint_done_fn *done, void *context);
/** Nothing is told to @context any more; what was to be written will be. */
void checkpoints_forget(struct keeper *k, const void *context);
/** Until all of them are done, for who reads one; their ends are told later, all the same. */
void checkpoints_wait(struct keeper *k);
/** The same, and the end of the thread; nothing is told any more. */
void checkpoints_close(struct keeper *k);

#endif
