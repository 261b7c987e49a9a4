/* Theory of operation: session.h, calls.h; the bodies of frames: runtime/calls.h. */
#include "runtime/keeper/session.h"

#include "base/cleanup.h"
#include "runtime/calls.h"
#include "runtime/keeper/post.h"
#include "runtime/keeper/service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define SESSION_MAX_CALLS 16384
#define SESSION_MAX_BYTES (32u * 1024 * 1024)
#define SESSION_MAX_FDS   64

struct frame_waiting {
    struct frame_waiting *next;
    int fds[PROTOCOL_MAX_FDS];
    int fd_count;
    size_t size;
    unsigned char body[];
};

struct session {
    struct session *next_dirty;
    struct connection *client;
    struct service *module;
    struct post post;
    uint32_t timeout_ms;
    size_t open_calls, open_bytes, open_fds; /* accepted and not answered */
    bool dirty;
    int fds[PROTOCOL_MAX_FDS];
    int fd_count;
    size_t used, room;
    unsigned char *body;                   /* the frame being filled: in the box, or */
    unsigned char *own;                    /* here */
    struct frame_waiting *waiting, **last; /* that the socket had no room for */
    size_t waiting_bytes;
};

/* --- out -----------------------------------------------------------------------------------------
 */

static void events(struct session *s)
{
    struct connection *c = s->client;
    bool full = s->open_calls > SESSION_MAX_CALLS || s->open_bytes > SESSION_MAX_BYTES ||
                s->open_fds > SESSION_MAX_FDS || s->waiting_bytes > SESSION_MAX_BYTES;
    bool low = s->open_calls <= SESSION_MAX_CALLS / 2 && s->open_bytes <= SESSION_MAX_BYTES / 2 &&
               s->open_fds <= SESSION_MAX_FDS / 2 && s->waiting_bytes <= SESSION_MAX_BYTES / 2;
    bool deaf = s->post.deaf ? !low : full, writing = s->waiting != NULL;
    if (deaf == s->post.deaf && writing == c->writing)
        return;
    s->post.deaf = deaf; /* it is not read from, neither way */
    post_look(&s->post);
    c->writing = writing;
    loop_change(c->keeper->loop, c->source,
                (deaf ? 0 : (uint32_t)EPOLLIN) | (writing ? (uint32_t)EPOLLOUT : 0));
}

static void wait_for_room(struct session *s)
{
    struct frame_waiting *w = malloc(sizeof *w + s->used);
    if (w == NULL) {
        shutdown(s->client->fd, SHUT_RDWR);
        for (int i = 0; i < s->fd_count; i++)
            close(s->fds[i]);
        return;
    }
    *w = (struct frame_waiting){.fd_count = s->fd_count, .size = s->used};
    memcpy(w->fds, s->fds, sizeof w->fds);
    memcpy(w->body, s->body, s->used);
    if (s->waiting == NULL)
        s->waiting = w;
    else
        *s->last = w;
    s->last = &w->next;
    s->waiting_bytes += w->size;
}

static int send_replies(struct session *s, const void *body, size_t size, const int *fds, int count)
{
    int rc = frame_send_body(s->client->fd, FRAME_REPLIES, 0, body, size, fds, count, MSG_DONTWAIT);
    if (rc == 0)
        mailbox_sent(&s->post.box);
    return rc;
}

static void flush(struct session *s)
{
    if (s->used == 0)
        return;
    int rc = -1;
    errno = EAGAIN;
    if (s->waiting == NULL && s->fd_count == 0 && mailbox_put(&s->post.box, s->body, s->used)) {
        post_look(&s->post);
        rc = 0;
    } else if (s->waiting == NULL) {
        rc = send_replies(s, s->body, s->used, s->fds, s->fd_count);
    }
    if (rc < 0 && (errno == EAGAIN || errno == ETOOMANYREFS)) {
        wait_for_room(s);
    } else {
        if (rc < 0)
            shutdown(s->client->fd, SHUT_RDWR);
        for (int i = 0; i < s->fd_count; i++)
            close(s->fds[i]);
    }
    s->used = 0;
    s->fd_count = 0;
    events(s);
}

void session_writable(struct connection *client)
{
    struct session *s = client->session;
    while (s != NULL && s->waiting != NULL) {
        struct frame_waiting *w = s->waiting;
        if (send_replies(s, w->body, w->size, w->fds, w->fd_count) < 0 &&
            (errno == EAGAIN || errno == ETOOMANYREFS))
            break;
        s->waiting = w->next;
        s->waiting_bytes -= w->size;
        for (int i = 0; i < w->fd_count; i++)
            close(w->fds[i]);
        free(w);
    }
    if (s != NULL)
        events(s);
}

void calls_flush(struct keeper *k)
{
    for (struct session *s; (s = k->dirty) != NULL;) {
        k->dirty = s->next_dirty;
        s->dirty = false;
        flush(s);
    }
}

static void put(struct session *s, const struct reply_head *h, const void *payload, int fd)
{
    size_t need = sizeof *h + call_padded(h->size);
    if (s->used + need > s->room || (fd >= 0 && s->fd_count == PROTOCOL_MAX_FDS))
        flush(s);
    if (s->used == 0) {
        unsigned char *box = mailbox_room(&s->post.box);
        bool fits = box != NULL && need <= MAILBOX_ROOM;
        s->body = fits ? box : s->own;
        s->room = fits ? MAILBOX_ROOM : PROTOCOL_MAX_BODY;
    }
    memcpy(s->body + s->used, h, sizeof *h);
    if (h->size > 0)
        memcpy(s->body + s->used + sizeof *h, payload, h->size);
    s->used += need;
    if (fd >= 0)
        s->fds[s->fd_count++] = fd;
    if (s->dirty)
        return;
    struct keeper *k = s->client->keeper;
    s->dirty = true;
    s->next_dirty = k->dirty;
    k->dirty = s;
}

void session_done(struct connection *client, struct call *c)
{
    struct session *s = client->session;
    s->open_calls--;
    s->open_bytes -= c->size;
    s->open_fds -= c->fd >= 0;
    s->post.eager = s->open_calls == 0;
    c->client = NULL;
    if (s->post.deaf)
        events(s);
}

void session_reply(struct connection *client, struct call *c, int status, uint32_t version,
                   const void *payload, uint32_t size, int fd)
{
    int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    const struct reply_head h = {.size = size,
                                 .flags = fd >= 0 ? CALL_FD : 0,
                                 .id = c->client_id,
                                 .status = status,
                                 .version = version};
    if (fd >= 0 && copy < 0) {
        struct error err = ERROR_INIT;
        error_set(&err, "call.reply", errno, "the reply cannot be passed on");
        session_fail(client, c, &err);
        return;
    }
    put(client->session, &h, payload, copy);
    session_done(client, c);
}

void session_fail(struct connection *client, struct call *c, const struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add_error(&f, err);
    const struct reply_head h = {
        .size = (uint32_t)f.used, .flags = CALL_FAILED, .id = c->client_id, .status = -1};
    put(client->session, &h, f.data, -1);
    session_done(client, c);
}

/* --- in ------------------------------------------------------------------------------------------
 */

int op_call(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    const char *name = frame_get(f, "module");
    _cleanup_fields_ struct fields answer = FIELDS_INIT;
    if (c->session != NULL)
        return error_set(err, "protocol.busy", 0, "this connection calls a module already");
    struct service *m = service_require(k, name != NULL ? name : "", err);
    if (m == NULL)
        return -1;
    struct session *s = calloc(1, sizeof *s);
    unsigned char *own = malloc(PROTOCOL_MAX_BODY);
    if (s == NULL || own == NULL) {
        free(s);
        free(own);
        return error_set(err, "keeper.memory", ENOMEM, "cannot serve one more client");
    }
    *s = (struct session){.client = c, .module = m, .own = own};
    s->timeout_ms = (uint32_t)frame_get_int(f, "timeout_ms", 1, 86400000, SERVICE_CALL_MS);
    c->session = s;
    int size = 2 * PROTOCOL_MAX_BODY;
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fields_add_int(&answer, "version", m->active.number);
    connection_reply(c, f->head.serial, &answer);
    return 0;
}

static int queue_calls(struct session *s, const void *body, size_t size, int *fds, int fd_count);
static void pass_on(struct session *s);

static void on_box(void *context)
{
    struct session *s = context;
    const void *body;
    long n = mailbox_look(&s->post.box, &body);
    int rc = n < 0 ? -1 : queue_calls(s, body, (size_t)n, NULL, 0);
    mailbox_taken(&s->post.box);
    if (rc < 0)
        shutdown(s->client->fd, SHUT_RDWR);
    else
        pass_on(s);
}

int op_mailbox(struct connection *c, struct frame *f, struct error *err)
{
    struct session *s = c->session;
    struct post_fds theirs;
    if (s == NULL || s->post.shared != NULL)
        return error_set(err, "protocol.mailbox", 0, "this connection cannot have a mailbox");
    if (post_open(&s->post, c->keeper->loop, "cloche-mailbox", sizeof(struct mailbox_shared), 0,
                  on_box, s, &theirs, NULL) < 0) {
        connection_reply(c, f->head.serial, NULL); /* it goes without */
        return 0;
    }
    const int fds[] = {theirs.memory, theirs.bell, theirs.ring};
    if (frame_send(c->fd, FRAME_OK, f->head.serial, NULL, fds, 3, MSG_DONTWAIT) < 0)
        shutdown(c->fd, SHUT_RDWR);
    close(theirs.memory);
    close(theirs.bell);
    return 0;
}

void session_before(struct connection *client)
{
    struct session *s = client->session;
    if (s != NULL && mailbox_full(&s->post.box))
        on_box(s);
}

/** Why a request cannot even wait. */
static bool refused(const struct service *m, struct error *err)
{
    const struct keeper *k = m->keeper;
    if (k->sandbox == NULL || k->status == STATUS_STOPPING) {
        error_set(err, "sandbox.not_running", 0, "sandbox \"%s\" is %s", k->id,
                  status_name(k->status));
        error_hint(err, "cloche restart %s", k->id);
    } else if (m->gave_up) {
        error_set(err, "module.failed", 0, "module \"%s\" has failed: %s", m->name, m->why);
        error_hint(err, "cloche logs %s %s", k->id, m->name);
    } else if (m->active.number == 0 && m->reload == NULL) {
        error_set(err, "module.none", 0, "module \"%s\" has no version that serves", m->name);
        error_hint(err, "cloche history %s %s says why; cloche reload %s %s=SOURCE", k->id, m->name,
                   k->id, m->name);
    } else {
        return false;
    }
    return true;
}

int calls_receive(struct connection *client, struct frame *f)
{
    struct session *s = client->session;
    if (s == NULL)
        return -1;
    mailbox_taken(&s->post.box);
    post_look(&s->post);
    if (queue_calls(s, f->body, f->head.size, f->fds, f->fd_count) < 0)
        return -1;
    pass_on(s);
    return 0;
}

/** @body may be in the box: heads and payloads are copied, and nothing is read twice. */
static int queue_calls(struct session *s, const void *body, size_t size, int *fds, int fd_count)
{
    const unsigned char *from = body;
    struct connection *client = s->client;
    struct service *m = s->module;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    struct error err = ERROR_INIT;
    bool no = refused(m, &err);
    int next_fd = 0;
    for (size_t at = 0; at < size;) {
        struct call_head h;
        if (size - at < sizeof h)
            return -1;
        mailbox_copy(&h, from + at, sizeof h);
        at += sizeof h;
        bool file = (h.flags & CALL_FD) != 0;
        if ((h.flags & ~CALL_FD) != 0 || h.size > CALL_INLINE_MAX || (file && h.size != 0) ||
            call_padded(h.size) > size - at || (file && next_fd >= fd_count))
            return -1;
        int64_t bytes = file ? wire_memfd_size(fds[next_fd], CALL_PAYLOAD_MAX) : h.size;
        struct call *c = bytes < 0 ? NULL : malloc(sizeof *c + h.size);
        if (c == NULL)
            return -1;
        memset(c, 0, sizeof *c);
        c->client = client;
        c->client_id = h.id;
        c->id = ++m->next_id;
        c->received_ms = now;
        c->timeout_ms = s->timeout_ms;
        c->size = (uint32_t)bytes;
        c->fd = -1;
        if (file) {
            c->fd = fds[next_fd];
            fds[next_fd++] = -1;
        }
        memcpy(c->data, from + at, h.size);
        at += call_padded(h.size);
        s->open_calls++;
        s->post.eager = false;
        s->open_bytes += c->size;
        s->open_fds += c->fd >= 0;
        if (no)
            calls_fail(m, c, &err);
        else
            call_push(&m->queue, c);
    }
    return 0;
}

static void pass_on(struct session *s)
{
    calls_dispatch(s->module);
    calls_flush(s->client->keeper);
    events(s);
}

static void forget_in(struct call_list *l, const struct connection *client)
{
    for (struct call *c = l->head; c != NULL; c = c->next) {
        if (c->client == client)
            c->client = NULL;
    }
}

void calls_forget(struct connection *client)
{
    struct session *s = client->session;
    struct keeper *k = client->keeper;
    if (s == NULL)
        return;
    /* what waits goes on without them: it was accepted. Their replies are dropped */
    forget_in(&s->module->queue, client);
    for (struct worker *w = k->workers; w != NULL; w = w->next)
        forget_in(&w->inflight, client);
    for (struct session **at = &k->dirty; *at != NULL; at = &(*at)->next_dirty) {
        if (*at == s) {
            *at = s->next_dirty;
            break;
        }
    }
    for (int i = 0; i < s->fd_count; i++)
        close(s->fds[i]);
    while (s->waiting != NULL) {
        struct frame_waiting *w = s->waiting;
        s->waiting = w->next;
        for (int i = 0; i < w->fd_count; i++)
            close(w->fds[i]);
        free(w);
    }
    post_close(&s->post);
    free(s->own);
    free(s);
    client->session = NULL;
}
