/* What a worker is asked: one after the other, each with a time of its own. */
#include "runtime/keeper/asks.h"

#include "base/cleanup.h"
#include "runtime/keeper/service.h"

#include <stdio.h>
#include <stdlib.h>

static const char *ask_name(int type)
{
    return type == WIRE_INIT      ? "init"
           : type == WIRE_SAVE    ? "save_state"
           : type == WIRE_COPY    ? "save_state"
           : type == WIRE_GIVE    ? "save_state"
           : type == WIRE_SETTLE  ? "moving the arena"
           : type == WIRE_SEAL    ? "sealing the arena"
           : type == WIRE_LOAD    ? "load_state"
           : type == WIRE_MIGRATE ? "migrate"
           : type == WIRE_HEALTH  ? "health"
                                  : "an answer";
}

const char *worker_stage(const struct worker *w)
{
    static const char *const names[WIRE_FAILURES] = {
        [WIRE_FAIL_DLOPEN] = "loading it", [WIRE_FAIL_INIT] = "init",
        [WIRE_FAIL_SAVE] = "save_state",   [WIRE_FAIL_MIGRATE] = "migrate",
        [WIRE_FAIL_LOAD] = "load_state",   [WIRE_FAIL_HEALTH] = "health",
    };
    uint64_t stage = __atomic_load_n(&worker_progress(w)->stage, __ATOMIC_ACQUIRE);
    return stage < WIRE_FAILURES ? names[stage] : NULL;
}

static bool in_stage(const struct worker *w, enum wire_failure stage)
{
    return __atomic_load_n(&worker_progress(w)->stage, __ATOMIC_ACQUIRE) == stage;
}

/** What it has said once it cannot take back, so that it is under one of two clocks. */
static bool has_begun(struct worker *w, uint64_t id)
{
    uint64_t at = worker_at(w);
    w->begun = at > w->begun ? at : w->begun;
    return w->begun >= id;
}

bool worker_at_ask(struct worker *w)
{
    const struct ask *a = w->asks;
    const struct call *c = w->inflight.head;
    if (a == NULL || w->replaying)
        return false;
    if (c == NULL || (w->hold && !has_begun(w, c->id))) /* a held one leaves it undone */
        return true;
    /* until an arena has moved requests are answered */
    bool beside = w->service != NULL && service_has_arena(&w->service->active) &&
                  (a->type == WIRE_SAVE || a->type == WIRE_COPY || a->type == WIRE_SETTLE);
    return c->id > a->after && !beside;
}

/** A load ends with health, whose time is shorter. */
static uint64_t slice_ms(const struct ask *a)
{
    return a->type == WIRE_LOAD ? SERVICE_HEALTH_MS : a->deadline_ms;
}

static void on_ask_timer(void *context)
{
    struct ask *a = context;
    struct worker *w = a->worker;
    char why[96];
    a->timer = NULL;
    bool health = a->type == WIRE_LOAD && in_stage(w, WIRE_FAIL_HEALTH);
    bool over = (a->health && health) || (a->spent_ms += slice_ms(a)) >= a->deadline_ms;
    a->health = health;
    /* it is at something before this, which has its own time, or frozen; or it was, and has just
     * come here */
    bool waits = w->asks != a || !worker_at_ask(w) || w->keeper->status == STATUS_PAUSED;
    if (waits || a->waited)
        a->spent_ms = 0;
    if (waits || a->waited || !over) {
        a->waited = waits;
        a->timer = loop_after(w->keeper->loop, slice_ms(a), on_ask_timer, a);
        return;
    }
    const char *stage = worker_stage(w);
    snprintf(why, sizeof why, "%s took too long", stage != NULL ? stage : a->what);
    worker_kill(w, why);
}

static void ask_end(struct ask *a, const struct error *err, int fd)
{
    if (a->timer != NULL)
        loop_cancel(a->worker->keeper->loop, a->timer);
    if (a->done != NULL)
        a->done(a->context, err, fd);
    else
        cleanup_close(&fd);
    free(a);
}

/** A failure that is known at once is told from the loop like any other. */
static void ask_refused(void *context)
{
    struct ask *a = context;
    struct error err = ERROR_INIT;
    a->timer = NULL;
    error_set(&err, "worker.died", 0, "the worker is gone");
    ask_end(a, &err, -1);
}

void worker_ask(struct worker *w, int type, uint64_t value, int fd, uint64_t deadline_ms,
                worker_done_fn *done, void *context)
{
    struct ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        abort(); /* without it a transaction would wait for ever */
    *a = (struct ask){
        .worker = w, .done = done, .context = context, .what = ask_name(type), .type = type};
    if (w->lost) {
        a->timer = loop_after(w->keeper->loop, 0, ask_refused, a);
        return;
    }
    a->deadline_ms = deadline_ms;
    a->timer = loop_after(w->keeper->loop, slice_ms(a), on_ask_timer, a);
    struct ask **at = &w->asks;
    while (*at != NULL)
        at = &(*at)->next;
    *at = a;
    for (const struct call *c = w->inflight.head; c != NULL; c = c->next)
        a->after = c->id;
    if (type == WIRE_INIT) /* sent by worker_open */
        return;
    const struct wire_record r = {
        .type = (uint16_t)type, .value = value, .flags = fd >= 0 ? WIRE_FD : 0};
    struct wire_packet *p = worker_packet(w);
    wire_add(p, &r, NULL);
    worker_send(w, p, fd);
}

void asks_end(struct worker *w)
{
    struct error err = ERROR_INIT;
    error_set(&err, w->failed ? "worker.start" : "worker.died", 0, "%s",
              w->why[0] != '\0' ? w->why : "the worker died");
    for (struct ask *a; (a = w->asks) != NULL;) {
        w->asks = a->next;
        ask_end(a, &err, -1);
    }
}

void worker_forget(struct keeper *k, const void *context)
{
    for (struct worker *w = k->workers; w != NULL; w = w->next) {
        for (struct ask *a = w->asks; a != NULL; a = a->next)
            a->done = a->context == context ? NULL : a->done;
    }
}

void worker_hand_on(struct worker *w, const void *before, void *newer)
{
    for (struct ask *a = w->asks; a != NULL; a = a->next)
        a->context = a->context == before ? newer : a->context;
}

void worker_forget_type(struct worker *w, int type, const void *context)
{
    for (struct ask *a = w != NULL ? w->asks : NULL; a != NULL; a = a->next)
        a->done = a->context == context && a->type == type ? NULL : a->done;
}

bool asks_answer(struct worker *w, const struct wire_record *r, const void *payload, int *fd)
{
    static const char *const codes[WIRE_FAILURES] = {
        [WIRE_OK] = NULL,
        [WIRE_FAIL_DLOPEN] = "module.dlopen",
        [WIRE_FAIL_MODULE] = "module.unfit",
        [WIRE_FAIL_INIT] = "module.init",
        [WIRE_FAIL_SAVE] = "module.save",
        [WIRE_FAIL_MIGRATE] = "module.migrate",
        [WIRE_FAIL_LOAD] = "module.load",
        [WIRE_FAIL_HEALTH] = "module.health",
    };
    struct error err = ERROR_INIT;
    struct ask *a = w->asks;
    if (a == NULL || r->value >= WIRE_FAILURES || r->size > WIRE_DETAIL_MAX)
        return false;
    w->asks = a->next;
    if (r->value != WIRE_OK) {
        char text[WIRE_DETAIL_MAX + 1];
        size_t n = 0;
        for (; n < r->size; n++) { /* shown to people: no control characters of a stranger */
            unsigned char c = ((const unsigned char *)payload)[n];
            text[n] = c < 0x20 || c == 0x7f ? '?' : (char)c;
        }
        text[n] = '\0';
        error_set(&err, codes[r->value], 0, "%s", text);
    }
    ask_end(a, r->value != WIRE_OK ? &err : NULL, TAKE_FD(*fd));
    return true;
}

/** false: it breaks a rule. */
