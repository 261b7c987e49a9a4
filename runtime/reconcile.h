/**
 * State on disk against reality: what killed keepers, killed clients and hands that deleted files
 * left behind. There is no daemon that would do this at its start, so `list` does the part that
 * costs nothing, and `doctor --repair` all of it.
 */
#ifndef CLOCHE_RUNTIME_RECONCILE_H
#define CLOCHE_RUNTIME_RECONCILE_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"

struct reconciled {
    struct strings alive, without_keeper, stopped, collected;
    struct strings ruined;  /* ids, and in the same order */
    struct strings reasons; /* what is wrong with their spec */
    unsigned orphans;       /* keepers without a state directory: ended */
    unsigned doors;         /* run directories without a state directory: removed */
    unsigned groups;        /* control groups without a keeper: removed */
};

/** Sweep everything, restart nothing. */
int reconcile(struct arena *a, struct reconciled *ret, struct error *err);

/** A sandbox that has no keeper to watch over its ttl or idle timeout, and has reached one of them,
 * is destroyed. true: it was. */
bool reconcile_expired(const char *id);

#endif
