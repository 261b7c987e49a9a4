/**
 * Those who wait for each other, on one processor for a moment.
 *
 * Theory of operation. Within a pause keeper, M and N work strictly one after the other: what is
 * asked of one wakes it, and the one before sleeps. A processor that idles takes 20 to 50 us to
 * come back, more than most steps take, and the scheduler prefers such a one; the one at hand takes
 * 3. So they are bound to the keeper's, for AFFINITY_MS at most.
 *
 * Whoever starts a thread or a process meanwhile hands the binding on: the keeper parts before it
 * does, and a module that says THREADS is not bound. A program bound by somebody else may not be
 * allowed there: then it stays as it is.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_AFFINITY_H
#define CLOCHE_RUNTIME_KEEPER_AFFINITY_H

struct keeper;
struct worker;

#define AFFINITY_MS 2

/** The keeper, and @w (NULL: nobody). */
void affinity_gather(struct keeper *k, struct worker *w);
/** Everybody where they were allowed to be before. */
void affinity_part(struct keeper *k);

#endif
