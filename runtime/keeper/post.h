/** The keeper's end of a mailbox (runtime/mailbox.h), in its loop. */
#ifndef CLOCHE_RUNTIME_KEEPER_POST_H
#define CLOCHE_RUNTIME_KEEPER_POST_H

#include "base/error.h"
#include "runtime/keeper/loop.h"
#include "runtime/mailbox.h"

/** Zeroed it has no box, and counts. */
struct post {
    struct mailbox box;
    struct loop *loop;
    struct loop_look look;
    struct loop_source *source;
    int eventfd;
    bool deaf;  /* nothing is taken */
    bool eager; /* the next comes soon, and nobody else is waited for */
    void (*take)(void *context);
    void *context, *shared;
    size_t size;
};

/** What the other end is given: the first two are the caller's to close, the last is ours. */
struct post_fds {
    int memory, bell, ring;
};

/** Make @size bytes of shared memory, with a struct mailbox_shared at @at. @take is called when the
 * next packet is in the box; it may end @p. keeper.memory */
int post_open(struct post *p, struct loop *l, const char *name, size_t size, size_t at,
              void (*take)(void *context), void *context, struct post_fds *ret, struct error *err);
/** Something may come at any moment: look before sleeping. */
void post_look(struct post *p);
/** Nothing is taken or sent any more; the memory stays until post_close(). */
void post_end(struct post *p);
void post_close(struct post *p);

#endif
