/* Steps 6 and 7 of a reload: N is started, and beside it a second worker of N that takes over a
 * copy of M's state. N has time until that is done. */
#include "base/cleanup.h"
#include "runtime/keeper/checkpoints.h"
#include "runtime/keeper/transaction.h"

#include <string.h>
#include <sys/stat.h>

#define REHEARSED_MAX (1 << 20)
#define BESIDE        (8u << 20) /* an arena, of memory: workers, and what they have there */
#define GONE_MS       2          /* the guard that has told of a worker's end gets to its own */

static void step_7(struct reload *t);

/* --- 6: start N ----------------------------------------------------------------------------------
 */

static void forget_worker(struct worker *w)
{
    struct reload *t = w->owner;
    struct worker **const places[] = {&t->next, &t->rehearsal, &t->migrator};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (*places[i] == w)
            *places[i] = NULL;
    }
}

static struct worker *open_worker(struct reload *t, uint32_t version, uint32_t flags,
                                  worker_done_fn *done, struct error *err)
{
    struct worker *w = worker_open(t->s, version, flags, done, t, err);
    if (w == NULL)
        return NULL;
    w->owner = t;
    w->on_gone = forget_worker;
    return w;
}

/** One of those that 7 waits for is there. */
static void on_part(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    cleanup_close(&fd);
    if (err != NULL) {
        t->step = 6; /* N, while the other is at 7 already */
        transaction_bad(t, err);
    } else if (--t->waiting == 0)
        step_7(t);
}

/** N is there; what waits for it is 8, unless it is N that is looked at in 7. */
static void on_next(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    t->ready = err == NULL;
    if (err != NULL || !t->hand_over)
        on_part(t, err, fd);
    else if (t->rehearsed)
        transaction_prepared(t);
}

static void on_live(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    struct error why = ERROR_INIT;
    struct state_header h;
    const struct state_expect expect = service_expect_own(t->s, &t->from);
    t->asked--;
    if (t->asked == 0)
        transaction_cancel(t, &t->drain_timer);
    if (err != NULL || state_check(fd, &expect, &h, &why) < 0) {
        cleanup_close(&fd);
        t->step = 7;
        transaction_abort(t, "save", err != NULL ? err : &why);
        return;
    }
    t->live = fd;
    if (--t->waiting == 0)
        step_7(t);
}

/** M's arena can be given away in no time. */
static void on_settled(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    cleanup_close(&fd);
    t->asked--;
    transaction_cancel(t, &t->drain_timer);
    if (err != NULL) {
        t->step = 7;
        transaction_abort(t, "save", err);
    } else if (--t->waiting == 0)
        step_7(t);
}

/** A checkpoint of M is there to rehearse with: a copy of an arena is not for nothing. */
static bool has_checkpoint(const struct reload *t)
{
    const struct state_expect expect = service_expect_own(t->s, &t->from);
    struct state_header h;
    return t->s->base >= 0 && state_check(t->s->base, &expect, &h, NULL) == 0;
}

/** The state that the version had when it was left. */
static int find_kept(struct reload *t, struct error *err)
{
    const struct state_expect expect = service_expect_own(t->s, &t->to);
    struct state_header h;
    struct error why = ERROR_INIT;
    checkpoints_wait(t->k);
    if (!service_has_state(&t->to) || state_kept(t->k->state_fd, &expect, &t->kept, &h, &why) == 0)
        return 0;
    error_set(err, "state.none", 0, "no state was kept of version %u: %.300s", t->to.number,
              why.message);
    return error_hint(err, "--state migrate or empty");
}

/** M is at a request that does not end: the copy cannot be had in time. */
static void on_live_timer(void *context)
{
    struct reload *t = context;
    struct worker *m = t->s->serving;
    t->drain_timer = NULL;
    /* of many requests before it none may have taken too long; what M is asked has its own time */
    if (m != NULL && (worker_at_ask(m) || loop_now_ms() - m->progress_ms < SERVICE_DRAIN_MS)) {
        t->drain_timer = loop_after(t->k->loop, SERVICE_DRAIN_MS, on_live_timer, t);
        return;
    }
    t->step = 7;
    if (!t->r.force_drain) {
        transaction_abort_drain(t);
        return;
    }
    worker_forget_type(t->s->serving, WIRE_COPY, t);
    worker_forget_type(t->s->serving, WIRE_SETTLE, t);
    t->waiting -= t->asked;
    t->asked = 0;
    if (t->waiting == 0)
        step_7(t);
}

static void ask_live(struct reload *t)
{
    struct service *s = t->s;
    bool arena = service_has_arena(&t->from), copy = t->hand_over && !(arena && has_checkpoint(t));
    if (s->serving == NULL || (!copy && !arena))
        return;
    t->asked = copy + arena;
    t->waiting += t->asked;
    t->drain_timer = loop_after(t->k->loop, SERVICE_DRAIN_MS, on_live_timer, t);
    if (copy)
        worker_ask(s->serving, WIRE_COPY, s->answered, -1,
                   arena ? SERVICE_MOVE_MS : SERVICE_SAVE_MS, on_live, t);
    if (arena)
        worker_ask(s->serving, WIRE_SETTLE, 0, -1, SERVICE_MOVE_MS, on_settled, t);
}

/** What an arena is, and what it was at the last checkpoint, are two files in the sandbox's memory.
 */
static bool has_room(const struct reload *t, struct error *err)
{
    uint64_t memory = t->k->spec->resources.memory_bytes, bytes = t->s->module->arena_bytes;
    if (memory == 0 || memory == LIMIT_NONE || (memory > BESIDE && bytes <= (memory - BESIDE) / 2))
        return true;
    error_set(err, "module.arena", 0,
              "an arena of %llu bytes wants twice that and %u MiB, the sandbox has %llu bytes",
              (unsigned long long)bytes, BESIDE >> 20, (unsigned long long)memory);
    error_hint(err, "a smaller \"arena_bytes\" of the module in the spec, or more --memory");
    return false;
}

/** Who goes back by command does not lose a state for not having said so. */
static bool forgets(const struct reload *t, struct error *err)
{
    if (strcmp(t->r.kind, "rollback") != 0 || strcmp(t->r.cause, "command") != 0 ||
        t->r.state != RELOAD_STATE_MIGRATE || t->from.number == 0 || service_has_state(&t->from) ||
        !service_has_state(&t->to))
        return false;
    error_set(err, "module.migrate", 0, "version %u has no state that version %u could take over",
              t->from.number, t->to.number);
    error_hint(err, "choose what becomes of the state: --state snapshot or empty");
    return true;
}

/** All that 7 needs, and N; NULL, or why it ends here ("": it is refused). */
static const char *open_all(struct reload *t, struct error *err)
{
    struct service *s = t->s;
    t->from = s->active;
    t->hand_over = t->r.state == RELOAD_STATE_MIGRATE && service_has_state(&t->from) &&
                   service_has_state(&t->to) && (s->serving != NULL || s->base >= 0);
    if (t->r.state == RELOAD_STATE_SNAPSHOT && find_kept(t, err) < 0)
        return "snapshot";
    if (forgets(t, err))
        return "migrate";
    if (service_has_arena(&t->to) && !has_room(t, err))
        return "";
    t->down = t->hand_over && t->to.schema < t->from.schema;
    t->waiting = t->hand_over ? 1u + t->down : 1;
    ask_live(t);
    if (t->hand_over)
        t->rehearsal = open_worker(t, t->to.number, 0, on_part, err);
    if (t->down)
        t->migrator = open_worker(t, t->from.number, WIRE_INIT_MIGRATE_ONLY, on_part, err);
    t->next = open_worker(t, t->to.number, t->hand_over ? WIRE_INIT_WARM : 0, on_next, err);
    if (t->next == NULL || (t->hand_over && t->rehearsal == NULL) ||
        (t->down && t->migrator == NULL))
        return "worker";
    return NULL;
}

void rehearsal_ahead(struct reload *t)
{
    t->ahead = open_all(t, NULL) == NULL;
    if (!t->ahead)
        rehearsal_forget(t);
}

void rehearsal_forget(struct reload *t)
{
    transaction_release(t);
    worker_forget(t->k, t);
}

void rehearsal_start(struct reload *t)
{
    struct error err = ERROR_INIT;
    transaction_step(t, 6, "start");
    const char *reason = t->ahead ? NULL : open_all(t, &err);
    if (reason != NULL && reason[0] == '\0')
        transaction_refuse(t, &err);
    else if (reason != NULL)
        transaction_abort(t, reason, &err);
}

/* --- 7: rehearse ---------------------------------------------------------------------------------
 */

static void rehearsed(struct reload *t)
{
    t->rehearsed = true;
    if (t->ready)
        transaction_prepared(t);
}

static void on_rehearsal_freed(void *context)
{
    struct reload *t = context;
    t->timer = NULL;
    rehearsed(t);
}

static void on_rehearsal_gone(struct worker *w)
{
    struct reload *t = w->owner;
    forget_worker(w);
    t->timer = loop_after(t->k->loop, GONE_MS, on_rehearsal_freed, t);
}

static void on_rehearsed(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    struct stat live;
    cleanup_close(&fd);
    if (err != NULL) {
        transaction_bad(t, err);
        return;
    }
    /* the end of a process takes time of a processor that the pause needs: after the switch, unless
     * it is memory that is needed; then it is waited for */
    bool large = t->live < 0 || fstat(t->live, &live) < 0 || live.st_size > REHEARSED_MAX;
    if (t->rehearsal == NULL || !large) {
        rehearsed(t);
        return;
    }
    cleanup_close(&t->live);
    t->live = -1;
    t->rehearsal->on_gone = on_rehearsal_gone;
    worker_stop(t->rehearsal, CLOCHE_STOP_REJECTED, SERVICE_STOP_MS);
}

static void on_rehearsal_migrated(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    _cleanup_close_ int migrated = fd;
    if (err != NULL || t->rehearsal == NULL)
        transaction_bad(t, err);
    else
        worker_ask(t->rehearsal, WIRE_LOAD, 0, migrated, SERVICE_LOAD_MS, on_rehearsed, t);
}

static void step_7(struct reload *t)
{
    transaction_step(t, 7, "rehearse");
    int copy = t->live >= 0 ? t->live : t->s->base;
    if (t->ready && transaction_missing(t, t->next))
        return;
    if (t->kept >= 0) { /* it does not change any more, so this load is the last one, too */
        worker_ask(t->next, WIRE_LOAD, 0, t->kept, SERVICE_LOAD_MS, on_rehearsed, t);
    } else if (t->hand_over && copy < 0) { /* M gives none, and there is no older one */
        transaction_drop(&t->rehearsal);
        worker_ask(t->next, WIRE_HEALTH, 0, -1, SERVICE_HEALTH_MS, on_rehearsed, t);
    } else if (!t->hand_over)
        worker_ask(t->next, WIRE_HEALTH, 0, -1, SERVICE_HEALTH_MS, on_rehearsed, t);
    else if (t->down && !transaction_missing(t, t->migrator))
        worker_ask(t->migrator, WIRE_MIGRATE, t->to.schema, copy, SERVICE_LOAD_MS,
                   on_rehearsal_migrated, t);
    else if (!t->down && !transaction_missing(t, t->rehearsal))
        worker_ask(t->rehearsal, WIRE_LOAD, 0, copy, SERVICE_LOAD_MS, on_rehearsed, t);
}
