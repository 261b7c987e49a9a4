/**
 * What a supervisor does when a child ends: OTP's rules (stdlib's supervisor.erl), as a function of
 * data. No clock, no process, no I/O: time comes in, a decision goes out.
 *
 *   restart    permanent: whatever the end. transient: unless it ended normally, or was told to
 *              shut down. temporary: never, and it is forgotten.
 *   strategy   one_for_one: the child. one_for_all: all children. rest_for_one: it and those after.
 *              Others that are stopped for it are started again, in order; temporary ones are not.
 *   intensity  more than max_restarts restarts within the window: give up, stop all.
 *
 * Beside OTP: status 125 means "do not restart me"; a failed start is a restart; and there is a
 * back-off: the first restart comes at once, then after 100 ms, doubled up to 5 s, and from the
 * beginning once the child has run for 10 s.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_SUPERVISE_H
#define CLOCHE_RUNTIME_KEEPER_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum supervise_strategy { ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE };
enum supervise_restart { PERMANENT, TRANSIENT, TEMPORARY };

enum supervise_end {
    END_NORMAL,      /* status 0 */
    END_SHUTDOWN,    /* a nested supervisor that gave up: OTP's `shutdown` */
    END_ABNORMAL,    /* another status, a signal, a limit */
    END_REFUSED,     /* status 125 */
    END_START_FAILED /* never came up */
};

struct supervise_child {
    enum supervise_restart restart;
    bool forgotten;   /* temporary, and gone */
    unsigned backoff; /* restarts since it last ran well */
};

struct supervise {
    enum supervise_strategy strategy;
    unsigned max_restarts;
    uint64_t window_ms;
    struct supervise_child *children;
    size_t count;
    uint64_t *restarts; /* times of those in the window; room for max_restarts + 1 */
    size_t restart_count;
};

enum supervise_action { SUPERVISE_NOTHING, SUPERVISE_RESTART, SUPERVISE_GIVE_UP };

struct supervise_decision {
    enum supervise_action action;
    size_t from,
        to; /* children to stop, last first; then to start, first first, unless forgotten */
    uint64_t delay_ms; /* between the two */
};

/** Child @child ended at @now_ms after it had run for @ran_ms. */
struct supervise_decision supervise_ended(struct supervise *s, size_t child, enum supervise_end how,
                                          uint64_t now_ms, uint64_t ran_ms);

#endif
