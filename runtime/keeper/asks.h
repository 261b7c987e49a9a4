/** The asks of a worker (worker.h), as its own end of them sees them. Private to worker.c and
 * asks.c.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_ASKS_H
#define CLOCHE_RUNTIME_KEEPER_ASKS_H

#include "runtime/keeper/worker.h"

static inline struct wire_progress *worker_progress(const struct worker *w)
{
    return &((struct wire_shared *)w->post.shared)->progress;
}

/** Which function of the module it says it is in; NULL: none. */
const char *worker_stage(const struct worker *w);
/** The oldest one has its answer; false: it breaks a rule. */
bool asks_answer(struct worker *w, const struct wire_record *r, const void *payload, int *fd);
/** It is gone, and none will be answered. */
void asks_end(struct worker *w);

#endif
