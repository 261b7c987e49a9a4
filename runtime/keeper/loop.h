/**
 * The keeper's event loop: one epoll and a list of timers.
 *
 * sd-event would do the same, but loading libsystemd costs 1.9 ms and 300 KiB a keeper here, a
 * third of the whole time from create to running (measured: an empty program 0.97 ms, with
 * libsystemd 2.83 ms).
 */
#ifndef CLOCHE_RUNTIME_KEEPER_LOOP_H
#define CLOCHE_RUNTIME_KEEPER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;
struct loop_timer;
typedef void loop_fd_fn(void *context, int fd, uint32_t events);
typedef void loop_timer_fn(void *context);

struct loop *loop_new(void);
void loop_free(struct loop *l);

/** NULL with errno. The fd stays the caller's; remove the source before closing it. */
struct loop_source *loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *call,
                               void *context);
/** Also from within a callback, its own included. */
void loop_unwatch(struct loop *l, struct loop_source *source);

/** Wait for other events. */
void loop_change(struct loop *l, struct loop_source *source, uint32_t events);

/** What may have come without an event: before the loop sleeps it calls, until that says false:
 * there is nothing, and an event will say when there is. */
struct loop_look {
    struct loop_look *next;
    bool listed;
    bool (*call)(void *context);
    void *context;
};
void loop_look(struct loop *l, struct loop_look *k);
void loop_unlook(struct loop *l, struct loop_look *k);

/** Call once, after @ms. The timer is gone after its call. */
struct loop_timer *loop_after(struct loop *l, uint64_t ms, loop_timer_fn *call, void *context);
void loop_cancel(struct loop *l, struct loop_timer *timer);

/** Until loop_stop(); then it can be run again. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/** CLOCK_MONOTONIC. */
uint64_t loop_now_ms(void);

#endif
