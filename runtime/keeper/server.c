/* The door: who connects is looked at, one frame is read at a time, nothing blocks. */
#include "runtime/keeper/keeper.h"

#include "base/cleanup.h"
#include "runtime/keeper/calls.h"
#include "runtime/keeper/session.h"
#include "runtime/keeper/watch.h"
#include "runtime/orphan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CONNECTION_MAX 128
#define OWN_FDS        32 /* of the keeper, and what a client sends along */

static void connection_close(struct connection *c)
{
    struct keeper *k = c->keeper;
    for (struct connection **at = &k->connections; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    if (c->job != NULL)
        exec_abandon(c->job);
    open_forget(c);
    calls_forget(c);
    reload_client_gone(c);
    watches_forget(k, c);
    if (k->stop_client == c)
        k->stop_client = NULL;
    loop_unwatch(k->loop, c->source);
    close(c->fd);
    free(c);
    if (k->is_full)
        loop_change(k->loop, k->listener_source, EPOLLIN);
    k->is_full = false;
}

static void send_frame(struct connection *c, enum frame_type type, uint32_t serial,
                       const struct fields *f, const int *fd)
{
    if (type != FRAME_DATA && c->waits_for > 0)
        c->waits_for--;
    /* a client that does not read what it asked for loses the answer, not the keeper's time */
    if (frame_send(c->fd, type, serial, f, fd, fd != NULL ? 1 : 0, MSG_DONTWAIT) == 0)
        return;
    if (errno == EAGAIN)
        journal_dropped(c, "it does not read what it asked for");
    shutdown(c->fd, SHUT_RDWR);
}

void connection_reply(struct connection *c, uint32_t serial, const struct fields *f)
{
    send_frame(c, FRAME_OK, serial, f, NULL);
}

void connection_data(struct connection *c, uint32_t serial, const struct fields *f, int fd)
{
    send_frame(c, FRAME_DATA, serial, f, fd >= 0 ? &fd : NULL);
}

void connection_error(struct connection *c, uint32_t serial, const struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add_error(&f, err);
    send_frame(c, FRAME_ERROR, serial, &f, NULL);
}

void connection_json(struct connection *c, uint32_t serial, char *text)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_close_ int file = fields_add_json(&f, text != NULL ? text : "null");
    free(text);
    send_frame(c, FRAME_OK, serial, &f, file >= 0 ? &file : NULL);
}

static void refuse(struct connection *c, const char *code, const char *why)
{
    struct error err = ERROR_INIT;
    error_set(&err, code, 0, "%s", why);
    connection_error(c, 0, &err);
    journal_dropped(c, why);
}

static void on_connection(void *context, int fd, uint32_t events)
{
    static struct frame frame; /* one at a time, and only touched as far as it is filled */
    struct connection *c = context;
    if ((events & EPOLLOUT) != 0)
        session_writable(c);
    int rc = frame_receive(fd, &frame, MSG_DONTWAIT);
    if (rc < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    session_before(c);
    bool is_bad = rc < 0;
    if (rc > 0 && frame.head.type == FRAME_REQUEST) {
        c->waits_for++;
        operation_call(c, &frame);
    } else if (rc > 0) {
        is_bad = frame.head.type != FRAME_CALLS || calls_receive(c, &frame) < 0;
    }
    frame_close_fds(&frame);
    if (is_bad)
        refuse(c, "protocol.frame", "what was sent is not a frame of this protocol");
    if (is_bad || rc == 0)
        connection_close(c);
}

/** Whoever holds a place and says nothing keeps nobody out: of those who have nothing under way,
 * the one that is here for longest goes. False: all are at work. */
static bool make_room(struct keeper *k)
{
    struct connection *oldest = NULL;
    for (struct connection *c = k->connections; c != NULL; c = c->next) { /* the newest first */
        if (c->waits_for == 0 && c->session == NULL)
            oldest = c;
    }
    if (oldest == NULL)
        return false;
    refuse(oldest, "keeper.busy", "others want its place, and it has nothing under way");
    connection_close(oldest);
    return true;
}

/** As many places as there may be files: a client at work takes two. */
static unsigned places(void)
{
    struct rlimit r;
    rlim_t files = getrlimit(RLIMIT_NOFILE, &r) == 0 ? r.rlim_cur : RLIM_INFINITY;
    if (files >= OWN_FDS + 2 * CONNECTION_MAX)
        return CONNECTION_MAX;
    return files > OWN_FDS + 2 ? (unsigned)(files - OWN_FDS) / 2 : 1;
}

static bool has_room(struct keeper *k)
{
    unsigned count = 0;
    for (const struct connection *c = k->connections; c != NULL; c = c->next)
        count++;
    return count < places() || make_room(k);
}

static void on_listener(void *context, int fd, uint32_t events)
{
    struct keeper *k = context;
    (void)events;
    _cleanup_close_ int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred who;
    socklen_t size = sizeof who;
    if (peer < 0 && (errno == EMFILE || errno == ENFILE) && !make_room(k)) {
        loop_change(k->loop, k->listener_source, 0); /* until somebody goes */
        k->is_full = true;
    }
    if (peer < 0 || getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return;
    struct connection refused = {.keeper = k, .fd = peer, .uid = who.uid, .pid = who.pid};
    if (who.uid != geteuid() && who.uid != 0) {
        refuse(&refused, "keeper.denied", "sandboxes belong to their user");
        return;
    }
    struct connection *c = has_room(k) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        refuse(&refused, "keeper.busy", "too many clients are at work in this sandbox");
        return;
    }
    *c = (struct connection){.keeper = k, .fd = peer, .uid = who.uid, .pid = who.pid};
    c->source = loop_watch(k->loop, c->fd, EPOLLIN, on_connection, c);
    if (c->source == NULL) {
        free(c);
        return;
    }
    peer = -1;
    c->next = k->connections;
    k->connections = c;
}

/** Somebody may still answer at our door: a keeper whose state directory was deleted underneath it,
 * and whose id is ours now, goes. One that has its state is not touched. */
static int clear_door(struct keeper *k, const struct sockaddr_un *door, struct error *err)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    enum orphan found = ORPHAN_NOBODY;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)door, sizeof *door) == 0)
        found = orphan_end(fd, k->id);
    if (found == ORPHAN_ENDED)
        journal_event(k, "orphan.ended", "a keeper without a state directory");
    if (found != ORPHAN_LIVES)
        return 0;
    error_set(err, "keeper.socket", EADDRINUSE, "another sandbox \"%s\" answers at this door",
              k->id);
    return error_hint(err, "one of another CLOCHE_ROOT? give each a CLOCHE_RUN of its own");
}

static int bind_door(int listener, const struct sockaddr_un *door)
{
    mode_t before = umask(0177);
    int rc = bind(listener, (const struct sockaddr *)door, sizeof *door), saved = errno;
    umask(before);
    errno = saved;
    return rc;
}

int server_open(struct keeper *k, struct error *err)
{
    /* by the directory's fd: a path of any length fits into sun_path */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/control.sock", k->run_fd);
    k->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = k->listener < 0 ? -1 : bind_door(k->listener, &a);
    if (rc < 0 && errno == EADDRINUSE) {
        if (clear_door(k, &a, err) < 0)
            return -1;
        unlinkat(k->run_fd, "control.sock", 0);
        rc = bind_door(k->listener, &a);
    }
    if (rc < 0 || listen(k->listener, CONNECTION_MAX) < 0)
        return error_set(err, "keeper.socket", errno, "cannot make the control socket of \"%s\"",
                         k->id);
    k->listener_source = loop_watch(k->loop, k->listener, EPOLLIN, on_listener, k);
    if (k->listener_source == NULL)
        return error_set(err, "keeper.socket", errno, "cannot watch the control socket");
    return 0;
}

void server_shut(struct keeper *k)
{
    if (k->listener < 0)
        return;
    loop_unwatch(k->loop, k->listener_source);
    k->listener_source = NULL;
    close(k->listener);
    k->listener = -1;
    unlinkat(k->run_fd, "control.sock", 0);
}

void server_close(struct keeper *k)
{
    server_shut(k);
    while (k->connections != NULL)
        connection_close(k->connections);
}
