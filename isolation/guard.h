/**
 * What init (serve.c) and the guards of its children (guard.c) share. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_GUARD_H
#define CLOCHE_ISOLATION_GUARD_H

#include "isolation/spawn.h"

#include <sys/resource.h>

enum guard_state {
    GUARD_BUSY,
    GUARD_ENDS,  /* it has no children any more, and answers */
    GUARD_WAITS, /* the same, and then takes the next command: changed by compare and swap only */
};

struct slot {      /* in memory shared with the guard */
    int32_t child; /* 0: free */
    pid_t guard;
    int channel; /* init's end of the way down to the guard; -1 */
    int32_t status;
    uint64_t end_ns;
    bool exited, failed;
    bool signalled;   /* from above: maybe not taken note of yet, so for this command only */
    int state;        /* enum guard_state */
    int32_t answered; /* the child whose end was told; not, if the guard was killed before */
};

struct slots {
    int32_t used; /* those above were never taken: only grows */
    struct slot slot[SPAWN_MAX_CHILDREN];
};

struct request {
    struct message message;
    int fds[SPAWN_MAX_FDS];
    unsigned fd_count;
};

/** In a new guard: the first command is @r, further ones come by @channel (-1: none do). @slot is
 * its own. */
_Noreturn void guard_main(const struct plan *p, struct slots *slots, struct slot *slot, int channel,
                          struct request *r);

/** Whether what a program could do leaves its guard and the guard's namespaces as they were: it has
 * no capabilities and comes by none, and it is of another user, who may neither signal the guard
 * nor set its limits, priority or processors. */
bool guard_may_stay(const struct plan *p, uint32_t uid);

struct message guard_exited(int32_t child, int status, uint64_t end_ns, const struct rusage *usage);

#endif
