/* What a module asks of its host: cloche.log/1, cloche.timer/1, cloche.children/1. Timers and
 * children belong to the worker that asked, and end with it. */
#include "runtime/keeper/service.h"

#include "base/cleanup.h"
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
    bool due; /* and the worker has not been told yet */
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

static void on_told(void *context, const struct error *err, int fd);

/* All that are due in one packet, and no more before it is done with them: however long it is at a
 * request, what waits in its socket stays small. A period that passes meanwhile is left out. */
void service_host_tell(struct worker *w)
{
    /* a parked or paused worker hears nothing before it serves again */
    if (w->ticking || w->lost || w->hold || w->service == NULL || w->service->serving != w)
        return;
    struct wire_packet *p = worker_packet(w);
    for (struct worker_timer *t = w->timers, *next; t != NULL; t = next) {
        const struct wire_record r = {.type = WIRE_EXPIRED, .id = t->token};
        next = t->next;
        if (!t->due)
            continue;
        t->due = false;
        wire_add(p, &r, NULL);
        if (t->timer == NULL)
            timer_free(t);
    }
    if (p->used == 0 || !worker_send(w, p, -1))
        return;
    w->ticking = true;
    worker_ask(w, WIRE_PING, 0, -1, SERVICE_CALL_MS, on_told, w);
}

static void on_told(void *context, const struct error *err, int fd)
{
    struct worker *w = context;
    cleanup_close(&fd);
    w->ticking = false;
    if (err == NULL)
        service_host_tell(w);
}

static void on_timer(void *context)
{
    struct worker_timer *t = context;
    struct worker *w = t->worker;
    t->timer = NULL;
    t->due = true;
    if (t->period_ms > 0)
        t->timer = loop_after(w->keeper->loop, t->period_ms, on_timer, t);
    service_host_tell(w);
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
