/* Theory of operation: calls.h. This file is the module's side: queue, dispatch, replies, replay;
 * the client's side is sessions.c. */
#include "runtime/keeper/calls.h"

#include "base/cleanup.h"
#include "runtime/calls.h"
#include "runtime/keeper/service.h"
#include "runtime/keeper/session.h"

#include <stdlib.h>
#include <string.h>

/* What a worker may have in hand: enough to keep it busy, little enough for its socket's room */
#define WINDOW_CALLS 512
#define WINDOW_BYTES (128u * 1024)
#define ROOM_OF_REST (64u * 1024) /* for what is no request */

void call_push(struct call_list *l, struct call *c)
{
    c->next = NULL;
    if (l->head == NULL)
        l->head = c;
    else
        *l->tail = c;
    l->tail = &c->next;
    l->count++;
    l->bytes += c->size;
}

struct call *call_pop(struct call_list *l)
{
    struct call *c = l->head;
    if (c == NULL)
        return NULL;
    l->head = c->next;
    l->count--;
    l->bytes -= c->size;
    c->next = NULL;
    return c;
}

void call_prepend(struct call_list *l, struct call_list *front)
{
    if (front->head == NULL)
        return;
    *front->tail = l->head;
    if (l->head == NULL)
        l->tail = front->tail;
    l->head = front->head;
    l->count += front->count;
    l->bytes += front->bytes;
    *front = (struct call_list){0};
}

void call_free(struct call *c)
{
    if (c->client != NULL)
        session_done(c->client, c);
    cleanup_close(&c->fd);
    free(c);
}

/* --- to the worker -------------------------------------------------------------------------------
 */

static void arm(struct worker *w);

static void on_watchdog(void *context)
{
    struct worker *w = context;
    w->watchdog = NULL;
    const struct call *c = w->inflight.head;
    uint64_t timeout = w->replaying ? SERVICE_CALL_MS : c != NULL ? c->timeout_ms : 0;
    if (c == NULL && !w->replaying)
        return;
    bool frozen = w->keeper->status == STATUS_PAUSED && w->service != NULL;
    /* which has a time of its own; or a verdict would be about the pause */
    if (worker_at_ask(w) || (frozen && reload_on_probation(w->service)))
        w->progress_ms = loop_now_ms();
    if (loop_now_ms() - w->progress_ms < timeout)
        arm(w);
    else
        service_hung(w);
}

static void arm(struct worker *w)
{
    const struct call *c = w->inflight.head;
    uint64_t timeout = w->replaying ? SERVICE_CALL_MS : c != NULL ? c->timeout_ms : 0;
    uint64_t due = w->progress_ms + timeout;
    if (w->lost || (w->watchdog != NULL && w->watchdog_due_ms <= due))
        return;
    if (w->watchdog != NULL) /* of a request that had more time */
        loop_cancel(w->keeper->loop, w->watchdog);
    uint64_t now = loop_now_ms();
    w->watchdog_due_ms = due;
    w->watchdog = loop_after(w->keeper->loop, due > now ? due - now : 0, on_watchdog, w);
}

static struct wire_record record_of(const struct call *c, uint16_t flags)
{
    return (struct wire_record){.type = WIRE_REQUEST,
                                .flags = (uint16_t)(c->flags | flags | (c->fd >= 0 ? WIRE_FD : 0)),
                                .size = c->fd >= 0 ? 0 : c->size,
                                .id = c->id,
                                .value = c->received_ms};
}

/** Into the packet, or sent at once when it has a file of its own. */
static void give(struct worker *w, const struct call *c, uint16_t flags)
{
    struct wire_packet *p = &w->keeper->packet;
    const struct wire_record r = record_of(c, flags);
    if (p->used > 0 && (c->fd >= 0 || !wire_fits(p, r.size))) {
        worker_send(w, p, -1);
        worker_packet(w);
    }
    wire_add(p, &r, c->data);
    if (c->fd >= 0) {
        worker_send(w, p, c->fd);
        worker_packet(w);
    }
}

static void give_rest(struct worker *w)
{
    const struct wire_packet *p = &w->keeper->packet;
    if (p->used > 0)
        worker_send(w, p, -1);
}

static size_t inline_bytes(const struct call *c)
{
    return c->fd >= 0 ? 0 : c->size;
}

/** Whether a socket has room for so many requests, each in a packet of its own: the kernel counts
 * buffers with their heads, rounded up to powers of two (sk_buff.truesize). */
static bool has_room(const struct worker *w, size_t count, size_t bytes)
{
    return count * 1024 + 2 * bytes + ROOM_OF_REST <= w->room;
}

static bool may_go(const struct service *m, const struct worker *w, const struct call *c)
{
    if (w->inflight.count == 0)
        return true;
    /* one that a worker died of goes alone, so that the next death says whose fault it was */
    if (c == m->suspect || w->inflight.head == m->suspect)
        return false;
    return w->inflight.count < WINDOW_CALLS && w->inflight.bytes + c->size <= WINDOW_BYTES &&
           has_room(w, w->inflight.count + 1, w->inflight.bytes + c->size);
}

void calls_dispatch(struct service *m)
{
    struct worker *w = m->serving;
    if (m->queue.head == NULL || w == NULL || w->lost || m->paused || m->log_full || w->hold ||
        w->replaying)
        return;
    bool idle = w->inflight.head == NULL;
    worker_packet(w);
    while (m->queue.head != NULL && may_go(m, w, m->queue.head)) {
        struct call *c = call_pop(&m->queue);
        give(w, c, 0);
        call_push(&w->inflight, c);
    }
    give_rest(w);
    /* one that had to be woken may have to run where we are */
    w->post.eager = w->inflight.head != NULL && !w->post.box.rang;
    if (idle) {
        w->progress_ms = loop_now_ms();
        arm(w);
    }
}

/* --- from the worker -----------------------------------------------------------------------------
 */

static uint64_t digest_of(int status, const void *data, size_t size, int fd)
{
    uint64_t h = 1469598103934665603ULL ^ (uint64_t)(int64_t)status;
    const unsigned char *p = data;
    for (size_t i = 0; fd < 0 && i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, size - i < 8 ? size - i : 8);
        h = (h ^ word) * 1099511628211ULL;
        h ^= h >> 32;
    }
    return h ^ size;
}

static void replay_more(struct service *m);

static bool replay_reply(struct service *m, const struct worker *w, const struct wire_record *r,
                         const void *payload, int fd)
{
    struct call *c = m->replay_wait;
    if (c == NULL || w != m->replay_worker || m->replay_flying == 0 || c->id != r->id)
        return false;
    m->replay_differs += digest_of((int)(int64_t)r->value, payload, r->size, fd) != c->reply_digest;
    m->replay_wait = c->next;
    m->replay_flying--;
    m->replay_bytes -= inline_bytes(c);
    m->replay_answers--;
    replay_more(m);
    return true;
}

bool calls_reply(struct worker *w, const struct wire_record *r, const void *payload, int reply_fd)
{
    _cleanup_close_ int fd = reply_fd;
    struct service *m = w->service;
    int64_t size = fd >= 0 ? wire_memfd_size(fd, CALL_PAYLOAD_MAX) : (int64_t)r->size;
    if (m == NULL || size < 0 || (fd >= 0 && r->size != 0) || r->size > WIRE_INLINE_MAX)
        return false;
    if (w->replaying)
        return replay_reply(m, w, r, payload, fd);
    struct call *c = w->inflight.head;
    if (c == NULL || c->id != r->id || w != m->serving)
        return false;
    call_pop(&w->inflight);
    const struct call *next = w->inflight.head;
    w->post.eager = next != NULL;
    if (next != NULL && next->timeout_ms < c->timeout_ms)
        arm(w);
    int status = (int)(int64_t)r->value;
    if (c->client != NULL)
        session_reply(c->client, c, status, w->version, payload, r->size, fd);
    if (m->logging)
        c->reply_digest = digest_of(status, payload, r->size, fd);
    if (m->suspect == c)
        m->suspect = NULL;
    service_answered(m, c);
    return true;
}

void calls_fail(struct service *m, struct call *c, const struct error *err)
{
    if (m->suspect == c)
        m->suspect = NULL;
    if (c->client != NULL)
        session_fail(c->client, c, err);
    call_free(c);
}

void calls_refuse(struct service *m, const struct error *err)
{
    for (struct call *c; (c = call_pop(&m->queue)) != NULL;)
        calls_fail(m, c, err);
    calls_flush(m->keeper);
}

struct call *calls_take_back(struct service *m, struct worker *w, bool died)
{
    struct call_list back = {0};
    struct call *suspect = NULL;
    struct error err = ERROR_INIT;
    uint64_t at = died ? worker_at(w) : 0;
    bool known = false;
    for (const struct call *c = w->inflight.head; c != NULL; c = c->next)
        known = known || c->id == at;
    if (died && !known && w->inflight.head != NULL) {
        /* between two requests, when it is the one before the first; else it says nonsense, and
         * pays with what it had in hand first */
        at = w->inflight.head->id - (at + 1 == w->inflight.head->id);
    }
    for (struct call *c; (c = call_pop(&w->inflight)) != NULL;) {
        bool begun = died && c->id <= at;
        c->deaths = (uint16_t)(c->deaths + (begun && c->id == at));
        if (begun && (m->active.flags & CLOCHE_NO_REDISPATCH) != 0) {
            error_set(&err, "call.died", 0,
                      "version %u of module \"%s\" died with this request in hand", w->version,
                      m->name);
            error_hint(&err, "the module says NO_REDISPATCH: whether it was done is not known");
            calls_fail(m, c, &err);
            continue;
        }
        if (c->deaths >= 2) {
            service_poison(m, c);
            continue;
        }
        if (begun)
            c->flags |= CLOCHE_REQUEST_AGAIN;
        if (begun && c->id == at)
            suspect = c;
        call_push(&back, c);
    }
    call_prepend(&m->queue, &back);
    if (suspect != NULL)
        m->suspect = suspect;
    calls_flush(m->keeper);
    return suspect;
}

/* --- replay --------------------------------------------------------------------------------------
 */

static void replay_end(void *context)
{
    struct service *m = context;
    struct worker *w = m->replay_worker;
    m->replay_worker = NULL;
    void (*done)(void *, bool) = m->replay_done;
    m->replay_done = NULL;
    if (w != NULL)
        w->replaying = false;
    if (done != NULL)
        done(m->replay_context, w != NULL && !w->lost);
}

static void replay_more(struct service *m)
{
    struct worker *w = m->replay_worker;
    if (m->replay_answers == 0) {
        replay_end(m);
        return;
    }
    if (m->replay_left == 0 || m->replay_flying > WINDOW_CALLS / 2)
        return;
    worker_packet(w);
    while (m->replay_left > 0 && m->replay_flying < WINDOW_CALLS) {
        size_t bytes = m->replay_bytes + inline_bytes(m->replay_next);
        if (m->replay_flying > 0 &&
            (bytes > WINDOW_BYTES || !has_room(w, m->replay_flying + 1, bytes)))
            break;
        m->replay_bytes = bytes;
        m->replay_flying++;
        m->replay_left--;
        give(w, m->replay_next, CLOCHE_REQUEST_REPLAY);
        m->replay_next = m->replay_next->next;
        m->replay_at++;
    }
    give_rest(w);
}

static struct call *entry(const struct service *m, size_t index)
{
    struct call *c = m->log.head;
    while (c != NULL && index-- > 0)
        c = c->next;
    return c;
}

void calls_replay(struct service *m, struct worker *w, size_t skip,
                  void (*done)(void *context, bool ok), void *context)
{
    m->replay_worker = w;
    m->replay_done = done;
    m->replay_context = context;
    m->replay_next = m->replay_wait = entry(m, skip);
    m->replay_at = skip;
    m->replay_left = m->replay_answers = m->log.count - skip;
    m->replayed += m->replay_left;
    m->replay_flying = m->replay_bytes = 0;
    w->replaying = true;
    w->progress_ms = loop_now_ms();
    arm(w);
    replay_more(m);
}

void calls_replay_rest(struct service *m, void (*done)(void *context, bool ok), void *context)
{
    size_t more = m->log.count - m->replay_at - m->replay_left;
    m->replay_done = done;
    m->replay_context = context;
    m->replay_next = entry(m, m->replay_at);
    m->replay_left += more;
    m->replay_answers += more;
    m->replayed += more;
    replay_more(m);
}

void calls_replay_forget(struct service *m)
{
    if (m->replay_worker != NULL)
        m->replay_worker->replaying = false;
    m->replay_worker = NULL;
    m->replay_done = NULL;
}

void calls_replay_lost(struct service *m, struct worker *w)
{
    if (m->replay_worker != w)
        return;
    m->replay_worker = NULL;
    w->replaying = false;
    replay_end(m);
}

void calls_drop_log(struct service *m)
{
    calls_drop_logged(m, m->log.count);
    m->log_incomplete = false;
    m->log_answered = 0;
    m->log_applied = 0;
}

void calls_drop_logged(struct service *m, size_t count)
{
    struct call *c;
    for (size_t i = 0; i < count && (c = call_pop(&m->log)) != NULL; i++)
        call_free(c);
    m->log_applied -= count < m->log_applied ? count : m->log_applied;
    m->log_answered -= count < m->log_answered ? count : m->log_answered;
    if (m->replay_worker != NULL)
        m->replay_at -= count < m->replay_at ? count : m->replay_at;
    m->log_full = false;
}
