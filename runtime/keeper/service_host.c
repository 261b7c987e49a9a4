/* What a module asks of its host: cloche.log/1, cloche.timer/1, cloche.children/1. Timers and
 * children belong to the worker that asked, and end with it. */
#include "runtime/keeper/service.h"

#include "base/io.h"
#include "runtime/keeper/worker_children.h"

#include <stdlib.h>
#include <string.h>

#define TIMERS_MAX 256
#define TIMER_MIN  1
#define TIMER_MAX  (100ull * 366 * 24 * 3600 * 1000)

struct worker_timer {
    struct worker_timer *next;
    struct worker *worker;
    struct loop_timer *timer;
    uint64_t token, period_ms;
};

static void timer_free(struct worker_timer *t)
{
    struct worker *w = t->worker;
    for (struct worker_timer **at = &w->timers; *at != NULL; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    if (t->timer != NULL)
        loop_cancel(w->keeper->loop, t->timer);
    w->timer_count--;
    free(t);
}

static void on_timer(void *context)
{
    struct worker_timer *t = context;
    struct worker *w = t->worker;
    const struct wire_record r = {.type = WIRE_EXPIRED, .id = t->token};
    t->timer = NULL;
    /* a parked or paused worker hears nothing: its time stands still */
    if (w->service == NULL || (w->service->serving == w && !w->hold))
        worker_tell(w, &r, NULL);
    if (t->period_ms > 0 && !w->lost)
        t->timer = loop_after(w->keeper->loop, t->period_ms, on_timer, t);
    else
        timer_free(t);
}

static struct worker_timer *find(struct worker *w, uint64_t token)
{
    struct worker_timer *t = w->timers;
    while (t != NULL && t->token != token)
        t = t->next;
    return t;
}

static bool start_timer(struct worker *w, uint64_t token, const uint64_t times[2])
{
    struct worker_timer *t = find(w, token);
    if (t != NULL)
        timer_free(t);
    if (w->timer_count >= TIMERS_MAX || times[0] > TIMER_MAX || times[1] > TIMER_MAX)
        return false;
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return false;
    *t = (struct worker_timer){
        .next = w->timers, .worker = w, .token = token, .period_ms = times[1]};
    t->timer =
        loop_after(w->keeper->loop, times[0] < TIMER_MIN ? TIMER_MIN : times[0], on_timer, t);
    w->timers = t;
    w->timer_count++;
    return true;
}

void service_host_forget(struct worker *w)
{
    while (w->timers != NULL)
        timer_free(w->timers);
    worker_children_end(w);
}

/** One line a call, whatever is in it; a worker that floods the pipe loses lines. */
static void write_line(struct worker *w, uint64_t level, const char *text, size_t size)
{
    static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
    char line[4000 + 16];
    const char *name = names[level < 4 ? level : 3];
    size_t n = strlen(name);
    memcpy(line, name, n);
    for (size_t i = 0; i < size && n < sizeof line - 1; i++)
        line[n++] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    line[n++] = '\n';
    /* the pipe is read by this very loop: when it is full the line is lost, for it does not block
     */
    if (w->log >= 0 && write(w->log, line, n) < 0)
        return;
}

bool service_ask_host(struct worker *w, const struct wire_record *r, const void *payload)
{
    if (r->type == WIRE_LOG && r->size <= 4096) {
        write_line(w, r->value, payload, r->size);
        return true;
    }
    if (r->type == WIRE_TIMER && r->size == 2 * sizeof(uint64_t)) {
        uint64_t times[2];
        memcpy(times, payload, sizeof times);
        return start_timer(w, r->id, times);
    }
    if (r->type == WIRE_CHILD_START && r->size <= WIRE_INLINE_MAX) {
        worker_child_start(w, r->id, payload, r->size);
        return true;
    }
    if (r->type == WIRE_CHILD_STOP) {
        worker_child_stop(w, r->id);
        return true;
    }
    if (r->type == WIRE_CANCEL) {
        struct worker_timer *t = find(w, r->id);
        if (t != NULL)
            timer_free(t);
        return true;
    }
    return false;
}
