#include "runtime/client_calls.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/client_private.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

int calls_open(struct calls *c, const char *sandbox, const char *module, uint64_t timeout_ms,
               struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    *c = (struct calls){.fd = client_connect(sandbox, err), .poll_fd = -1};
    if (c->fd < 0)
        return -1;
    calls_set_deadline(c);
    snprintf(c->sandbox, sizeof c->sandbox, "%s", sandbox);
    fields_add(&f, "module", module);
    if (timeout_ms > 0)
        fields_add_int(&f, "timeout_ms", (int64_t)timeout_ms);
    c->own = malloc(PROTOCOL_MAX_BODY);
    c->in = client_frame_new();
    if (c->own == NULL)
        error_set(err, "client.memory", ENOMEM, "cannot call module \"%s\"", module);
    else if (client_send(c->fd, "call", &f, NULL, 0, err) == 0)
        return 0;
    calls_close(c);
    return -1;
}

void calls_set_deadline(struct calls *c)
{
    c->until_ms = client_deadline();
}

/** Of a wait that begins or, after a signal, goes on now. */
static int left_ms(const struct calls *c)
{
    uint64_t now = client_now_ms();
    if (c->until_ms == 0)
        return -1;
    return c->until_ms <= now            ? 0
           : c->until_ms - now < INT_MAX ? (int)(c->until_ms - now)
                                         : INT_MAX;
}

bool calls_idle(const struct calls *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return c->at == c->in->head.size && poll(&p, 1, 0) == 0;
}

static void unmap(struct calls *c)
{
    if (c->map != NULL)
        munmap(c->map, c->map_size);
    c->map = NULL;
}

static void close_fds(struct calls *c)
{
    for (int i = 0; i < c->fd_count; i++)
        close(c->fds[i]);
    c->fd_count = 0;
}

void calls_close(struct calls *c)
{
    unmap(c);
    close_fds(c);
    if (c->shared != NULL) {
        munmap(c->shared, sizeof *c->shared);
        close(c->box.ring);
        close(c->box.bell);
    }
    if (c->in != NULL)
        frame_close_fds(c->in);
    free(c->in);
    free(c->own);
    cleanup_close(&c->poll_fd);
    cleanup_close(&c->fd);
    *c = (struct calls){.fd = -1, .poll_fd = -1};
}

static bool poll_too(const struct calls *c, int fd)
{
    struct epoll_event e = {.events = EPOLLIN};
    return epoll_ctl(c->poll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

int calls_fd(struct calls *c)
{
    bool first = !c->polls;
    c->polls = true;
    if (first && c->asked && c->shared == NULL) {
        c->poll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (c->poll_fd >= 0 && !poll_too(c, c->fd)) {
            close(c->poll_fd);
            c->poll_fd = -1;
        }
    }
    return c->poll_fd >= 0 ? c->poll_fd : c->shared != NULL ? c->box.bell : c->fd;
}

/** A client that waits in here for one reply after another is worth a mailbox. */
static int want_mailbox(struct calls *c, struct error *err)
{
    if (!c->waits || c->polls || c->asked)
        return 0;
    c->asked = true;
    return client_send(c->fd, "mailbox", NULL, NULL, 0, err);
}

static int have_mailbox(struct calls *c, struct frame *f)
{
    void *shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED, f->fds[0], 0);
    if (shared == MAP_FAILED)
        return -1;
    c->shared = shared;
    mailbox_open(&c->box, &c->shared->up, &c->shared->down, f->fds[2], f->fds[1]);
    c->box.patient = true;
    f->fds[1] = f->fds[2] = -1;
    return c->poll_fd < 0 || poll_too(c, c->box.bell) ? 0 : -1;
}

int calls_send(struct calls *c, bool wait, struct error *err)
{
    if (c->used == 0)
        return 0;
    if (want_mailbox(c, err) < 0)
        return -1;
    if (c->polls && c->shared != NULL && !c->box.resting)
        mailbox_rest(&c->box);
    if (c->fd_count == 0 && mailbox_put(&c->box, c->out, c->used)) {
        c->used = 0;
        return 0;
    }
    if (frame_send_body(c->fd, FRAME_CALLS, 0, c->out, c->used, c->fds, c->fd_count,
                        wait ? 0 : MSG_DONTWAIT) < 0) {
        if (!wait && errno == EAGAIN)
            return 1;
        /* gone: what was said before is still to be read */
        if (errno != EPIPE && errno != ECONNRESET)
            return error_set(err, "protocol.send", errno, "cannot talk to the keeper of \"%s\"",
                             c->sandbox);
    }
    mailbox_sent(&c->box);
    c->used = 0;
    close_fds(c);
    return 0;
}

static int make_memfd(const void *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create("cloche-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || io_write_all(fd, data, size) < 0 ||
        io_seal(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -1;
    return TAKE_FD(fd);
}

int calls_put(struct calls *c, uint64_t id, const void *data, size_t size, struct error *err)
{
    struct call_head h = {.size = (uint32_t)size, .id = id};
    if (size > CALL_PAYLOAD_MAX) {
        error_set(err, "call.too_large", 0, "a request of %zu bytes is too large", size);
        return error_hint(err, "at most %u MiB", CALL_PAYLOAD_MAX / 1024 / 1024);
    }
    if (size > CALL_INLINE_MAX) {
        h.size = 0;
        h.flags = CALL_FD;
    }
    size_t need = sizeof h + call_padded(h.size);
    if ((c->used + need > c->room || (h.flags != 0 && c->fd_count == PROTOCOL_MAX_FDS)) &&
        calls_send(c, true, err) < 0)
        return -1;
    if (c->used == 0) {
        c->out = mailbox_room(&c->box);
        c->room = c->out != NULL ? MAILBOX_ROOM : PROTOCOL_MAX_BODY;
        c->out = c->out != NULL ? c->out : c->own;
    }
    if (h.flags != 0) {
        int fd = make_memfd(data, size);
        if (fd < 0)
            return error_set(err, "client.memory", errno, "cannot hand over %zu bytes", size);
        c->fds[c->fd_count++] = fd;
    }
    memcpy(c->out + c->used, &h, sizeof h);
    if (h.size > 0)
        memcpy(c->out + c->used + sizeof h, data, h.size);
    c->used += need;
    return 0;
}

static int nonsense(const struct calls *c, struct error *err)
{
    return error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", c->sandbox);
}

/** The error of one request, in the fields of its reply. */
static void read_failure(struct calls_reply *r)
{
    struct frame *f = client_frame_new();
    f->head.size = (uint32_t)r->size;
    memcpy(f->body, r->data, r->size);
    if (r->size > 0 && f->body[r->size - 1] == '\0')
        frame_error(f, &r->error);
    else
        error_set(&r->error, "call.failed", 0, "the request failed");
    free(f);
}

static int take_reply(struct calls *c, struct calls_reply *ret, struct error *err)
{
    struct reply_head h;
    size_t left = c->in->head.size - c->at;
    if (left < sizeof h)
        return nonsense(c, err);
    mailbox_copy(&h, c->body + c->at, sizeof h);
    if (h.size > left - sizeof h || call_padded(h.size) > left - sizeof h)
        return nonsense(c, err);
    *ret = (struct calls_reply){.id = h.id,
                                .failed = (h.flags & CALL_FAILED) != 0,
                                .status = h.status,
                                .version = h.version,
                                .data = c->body + c->at + sizeof h,
                                .size = h.size};
    c->at += sizeof h + call_padded(h.size);
    if (ret->failed)
        read_failure(ret);
    if ((h.flags & CALL_FD) == 0)
        return 1;
    struct stat st;
    if (c->next_fd >= c->in->fd_count || fstat(c->in->fds[c->next_fd], &st) < 0)
        return nonsense(c, err);
    if (st.st_size > 0) {
        c->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, c->in->fds[c->next_fd], 0);
        if (c->map == MAP_FAILED) {
            c->map = NULL;
            return error_set(err, "client.memory", errno, "cannot map a reply of %lld bytes",
                             (long long)st.st_size);
        }
    }
    c->map_size = (size_t)st.st_size;
    ret->data = c->map;
    ret->size = c->map_size;
    c->next_fd++;
    return 1;
}

/** The next frame, if the mailbox has it: 1; 0: the socket has it; -1 with errno. */
static int take_boxed(struct calls *c, bool wait)
{
    struct mailbox *m = &c->box;
    while (c->shared != NULL && !c->ended && !mailbox_waiting(m)) {
        int rc = mailbox_wait(m, wait ? left_ms(c) : 0);
        if (rc < 0 && errno != EINTR)
            return -1;
        c->ended = rc == 0; /* what was said before is still to be read */
    }
    mailbox_rise(m);
    if (!mailbox_full(m))
        return 0;
    const void *body;
    long n = mailbox_look(m, &body);
    if (n < 0) {
        errno = EPROTO;
        return -1;
    }
    c->in->head = (struct frame_head){.type = FRAME_REPLIES, .size = (uint32_t)n};
    c->boxed = n > MAILBOX_SMALL;
    if (c->boxed)
        c->body = body;
    else
        mailbox_take(m, c->in->body);
    return 1;
}

/** A keeper that was started before an upgrade knows of none. */
static bool without_mailbox(const struct calls *c)
{
    const char *code = frame_get(c->in, "code");
    return c->asked && code != NULL && strcmp(code, "protocol.operation") == 0;
}

static int next_frame(struct calls *c, bool wait)
{
    struct frame *f = c->in;
    frame_close_fds(f);
    if (c->boxed)
        mailbox_taken(&c->box);
    c->boxed = false;
    c->body = f->body;
    f->head.type = 0;
    c->at = 0;
    c->next_fd = 0;
    int rc = take_boxed(c, wait);
    if (rc != 0)
        return rc;
    while ((rc = frame_receive(c->fd, f, MSG_DONTWAIT)) < 0 && errno == EAGAIN && wait) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        rc = poll(&p, 1, left_ms(c));
        errno = rc == 0 ? EAGAIN : errno;
        if (rc == 0 || (rc < 0 && errno != EINTR))
            return -1;
    }
    if (rc <= 0)
        return rc;
    c->greeted = c->greeted || f->head.type != FRAME_ERROR;
    if (f->head.type == FRAME_REPLIES)
        mailbox_taken(&c->box);
    return f->head.type == FRAME_OK && f->fd_count == 3 && have_mailbox(c, f) < 0 ? -1 : 1;
}

int calls_next(struct calls *c, bool wait, struct calls_reply *ret, struct error *err)
{
    unmap(c);
    c->waits = c->waits || wait;
    for (;;) {
        if (c->in->head.type == FRAME_REPLIES && c->at < c->in->head.size)
            return take_reply(c, ret, err);
        int rc = next_frame(c, wait);
        if (rc < 0 && errno == EAGAIN)
            return wait ? client_too_late(c->sandbox, err) : 0;
        if (rc == 0) {
            error_set(err, "keeper.gone", 0, "sandbox \"%s\" has failed: its keeper is gone",
                      c->sandbox);
            return error_hint(err, "cloche restart %s", c->sandbox);
        }
        if (rc < 0)
            return nonsense(c, err);
        if (c->in->head.type == FRAME_ERROR && !without_mailbox(c))
            return frame_error(c->in, err);
    }
}
