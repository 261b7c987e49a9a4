/* Ways to an end: restart, destroy, and collecting what nobody uses any more. */
#include "runtime/keeper/keeper.h"

#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#define GRACE_MS   5000
#define LONGEST_MS (100ULL * 366 * 24 * 3600 * 1000)

static void restart_stopped(struct keeper *k);

static int begin_stop(struct connection *c, struct frame *f, void (*then)(struct keeper *),
                      const char *event, struct error *err)
{
    struct keeper *k = c->keeper;
    bool force = frame_get_int(f, "force", 0, 1, 0) == 1;
    if (k->stopped != NULL) {
        error_set(err, "sandbox.busy", 0, "sandbox \"%s\" is stopping already", k->id);
        return error_hint(err, "wait for it");
    }
    if (k->ready != NULL && then == restart_stopped && (!force || k->restarts == 0)) {
        error_set(err, "sandbox.busy", 0, "sandbox \"%s\" is starting", k->id);
        return error_hint(err, k->restarts == 0 ? "wait for it" : "wait for it, or pass --force");
    }
    unsigned busy = exec_count(k);
    if (busy > 0 && !force) {
        error_set(err, "sandbox.busy", 0, "sandbox \"%s\" runs %u command%s of clients", k->id,
                  busy, busy == 1 ? "" : "s");
        return error_hint(err, "wait for it, or pass --force");
    }
    keeper_interrupt(k, event); /* its waiter is the stop_client until here */
    k->stop_client = c;
    k->stop_serial = f->head.serial;
    k->stop_span = journal_start(k, event, c, force ? "forced" : NULL);
    keeper_stop(k, (uint64_t)frame_get_int(f, "grace_ms", 0, 3600000, GRACE_MS), then);
    return 0;
}

static void answer_stop(struct keeper *k, const struct error *err)
{
    if (k->stop_client != NULL && err != NULL)
        connection_error(k->stop_client, k->stop_serial, err);
    else if (k->stop_client != NULL)
        connection_reply(k->stop_client, k->stop_serial, NULL);
    k->stop_client = NULL;
}

static void restarted(struct keeper *k, const struct error *err)
{
    journal_stop(k, k->stop_span, "restart", k->stop_client, err);
    answer_stop(k, err);
}

static void restart_stopped(struct keeper *k)
{
    struct error err = ERROR_INIT;
    if (keeper_release(k, &err) < 0)
        fprintf(stderr, "%s\n", err.message); /* the next start says more, if it matters */
    k->restarts++;
    if (keeper_start(k, restarted, &err) < 0)
        restarted(k, &err);
}

int op_restart(struct connection *c, struct frame *f, struct error *err)
{
    return begin_stop(c, f, restart_stopped, "restart", err);
}

/** It stays, costs nothing, and can be restarted: by a keeper of its own, which must find the door
 * and the lock free once this one has answered. */
static void stop_stopped(struct keeper *k)
{
    struct error err = ERROR_INIT;
    int rc = keeper_release(k, &err);
    keeper_set_status(k, STATUS_STOPPED, NULL);
    journal_stop(k, k->stop_span, "stop", k->stop_client, rc < 0 ? &err : NULL);
    server_shut(k);
    flock(k->state_fd, LOCK_UN);
    answer_stop(k, rc < 0 ? &err : NULL);
    loop_stop(k->loop);
}

int op_stop(struct connection *c, struct frame *f, struct error *err)
{
    return begin_stop(c, f, stop_stopped, "stop", err);
}

static void destroy_stopped(struct keeper *k)
{
    struct error err = ERROR_INIT;
    int rc = keeper_remove(k, &err);
    journal_stop(k, k->stop_span, "destroy", k->stop_client, rc < 0 ? &err : NULL);
    answer_stop(k, rc < 0 ? &err : NULL);
    loop_stop(k->loop);
}

int op_destroy(struct connection *c, struct frame *f, struct error *err)
{
    return begin_stop(c, f, destroy_stopped, "destroy", err);
}

/* --- collecting ---------------------------------------------------------------------------------
 */

static void arm(struct keeper *k);

static void collect(struct keeper *k, const char *why)
{
    journal_event(k, "gc.collected", why);
    keeper_interrupt(k, why);
    k->stop_client = NULL;
    k->stop_span = journal_start(k, "destroy", NULL, why);
    keeper_stop(k, GRACE_MS, destroy_stopped);
}

static uint64_t in_ms(uint64_t seconds)
{
    return seconds < LONGEST_MS / 1000 ? seconds * 1000 : LONGEST_MS;
}

/** Milliseconds until @k is too old, by the clock on the wall: a keeper before this one counts. */
static uint64_t ttl_left(const struct keeper *k)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t age = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 - k->created_ms;
    uint64_t ttl = in_ms(k->spec->ttl_s);
    return age < 0 ? ttl : (uint64_t)age >= ttl ? 0 : ttl - (uint64_t)age;
}

static uint64_t idle_left(const struct keeper *k)
{
    uint64_t idle = in_ms(k->spec->idle_timeout_s), unused = loop_now_ms() - k->used_ms;
    return exec_count(k) > 0 ? idle : unused >= idle ? 0 : idle - unused;
}

static void on_collect(void *context)
{
    struct keeper *k = context;
    k->collect_timer = NULL;
    if (k->stopped != NULL) { /* a stop is under way; a restart may follow it */
        k->collect_timer = loop_after(k->loop, GRACE_MS, on_collect, k);
        return;
    }
    if (k->spec->ttl_s != LIMIT_NONE && ttl_left(k) == 0)
        collect(k, "ttl");
    else if (k->spec->idle_timeout_s != LIMIT_NONE && idle_left(k) == 0)
        collect(k, "idle");
    else
        arm(k);
}

/* One timer for both, which looks when it fires: a use costs no system call but the clock's. */
static void arm(struct keeper *k)
{
    uint64_t ms = LONGEST_MS;
    if (k->spec->ttl_s != LIMIT_NONE && ttl_left(k) < ms)
        ms = ttl_left(k);
    if (k->spec->idle_timeout_s != LIMIT_NONE && idle_left(k) < ms)
        ms = idle_left(k);
    if (ms < LONGEST_MS)
        k->collect_timer = loop_after(k->loop, ms, on_collect, k);
}

void collect_start(struct keeper *k)
{
    collect_used(k);
    arm(k);
}

void collect_used(struct keeper *k)
{
    k->used_ms = loop_now_ms();
}
