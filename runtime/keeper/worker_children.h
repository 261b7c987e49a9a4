/**
 * cloche.children/1: programs that a module starts beside itself, in the same sandbox.
 *
 * What the module sends is an entry of the supervision tree as JSON; it is read by the one reader
 * of specs, and only its child of kind "command" is taken. The child is restarted by its own rule
 * (temporary unless it says otherwise; 3 times in 5 s), and the module hears of its end when it is
 * not. It belongs to the worker: when that ends, so does it, with all that it forked.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_WORKER_CHILDREN_H
#define CLOCHE_RUNTIME_KEEPER_WORKER_CHILDREN_H

#include "runtime/keeper/worker.h"

/** What is wrong with it is told by `ended` with status 127, and in the module's log. */
void worker_child_start(struct worker *w, uint64_t number, const char *json, size_t size);
void worker_child_stop(struct worker *w, uint64_t number);
/** Kill them all; nobody is told. */
void worker_children_end(struct worker *w);

#endif
