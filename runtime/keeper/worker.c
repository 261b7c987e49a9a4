/* Theory of operation: worker.h. */
#include "runtime/keeper/worker.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/calls.h"
#include "runtime/keeper/asks.h"
#include "runtime/keeper/service.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PROGRAM          "cloche-worker"
#define PROGRAM_MAX      (16 * 1024 * 1024)
#define HANG_UP_MS       200
#define SOCKET_BUFFER    (1024 * 1024)
#define RESERVE_MS       2
#define RESERVE          (sizeof((struct keeper *)0)->spares / sizeof(struct worker *))
#define RESERVE_ALL_FROM 32 /* processes: where they are scarce one in reserve is enough */

static void on_task(struct task *t, const struct sandbox_child_event *e);
static void on_socket(void *context, int fd, uint32_t events);
static void on_box(void *context);

/* --- starting ------------------------------------------------------------------------------------
 */

/** A sealed copy of the program beside this one: what runs inside cannot reach the file. */
static int open_program(struct keeper *k, struct error *err)
{
    char path[PATH_MAX];
    if (k->worker_program > 0)
        return 0;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof PROGRAM);
    if (n < 0)
        return error_set(err, "worker.program", errno, "cannot find " PROGRAM);
    path[n] = '\0';
    memcpy(strrchr(path, '/') + 1, PROGRAM, sizeof PROGRAM);
    _cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    ssize_t size = file < 0 ? -1 : io_read_to_end(file, PROGRAM_MAX, &data);
    int fd = size < 0 ? -1 : wire_make_memfd(data, (size_t)size);
    if (fd < 0) {
        error_set(err, "worker.program", errno, "cannot read \"%s\"", path);
        return error_hint(err, "install it beside the keeper");
    }
    k->worker_program = fd;
    return 0;
}

static void forget_theirs(struct worker *w)
{
    _cleanup_close_ int memory = TAKE_FD(w->theirs.memory), bell = TAKE_FD(w->theirs.bell);
}

static struct worker *spawn(struct keeper *k, struct error *err)
{
    static char *const args[] = {(char *)(uintptr_t)PROGRAM, NULL};
    if (open_program(k, err) < 0)
        return NULL;
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2];
    if (null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        error_set(err, "worker.start", errno, "cannot make the socket of a worker");
        return NULL;
    }
    _cleanup_close_ int theirs = ends[1], mine = ends[0];
    int size = SOCKET_BUFFER;
    socklen_t len = sizeof size;
    if (setsockopt(mine, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(mine, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    /* an ordinary user gets what net.core.wmem_max allows */
    if (getsockopt(mine, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0) {
        error_set(err, "worker.start", errno, "cannot make the socket of a worker");
        return NULL;
    }
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL) {
        error_set(err, "worker.start", ENOMEM, "cannot make a worker");
        return NULL;
    }
    const struct sandbox_command command = {.args = args,
                                            .streams = {null, null, null},
                                            .ready_fd = theirs,
                                            .program_given = true,
                                            .program = k->worker_program};
    if (post_open(&w->post, k->loop, "cloche-shared", sizeof(struct wire_shared),
                  offsetof(struct wire_shared, boxes), on_box, w, &w->theirs, err) < 0) {
        free(w);
        return NULL;
    }
    int child = sandbox_spawn(k->sandbox, &command, err);
    w->source = child < 0 ? NULL : loop_watch(k->loop, mine, EPOLLIN, on_socket, w);
    if (child < 0 || w->source == NULL) {
        forget_theirs(w);
        post_close(&w->post);
        free(w);
        return NULL;
    }
    w->task = (struct task){.child = child, .call = on_task};
    w->keeper = k;
    w->socket = TAKE_FD(mine);
    w->room = (size_t)size;
    w->log = -1;
    w->started_ms = loop_now_ms();
    task_add(k, &w->task);
    w->next = k->workers;
    k->workers = w;
    return w;
}

static bool in_transaction(const struct keeper *k)
{
    for (const struct module *m = k->modules; m != NULL; m = m->next) {
        if (m->service != NULL && reload_waits(m->service))
            return true;
    }
    return false;
}

static void reserve_later(void *context)
{
    struct keeper *k = context;
    k->reserve_timer = NULL;
    if (in_transaction(k))
        k->reserve_timer = loop_after(k->loop, RESERVE_MS, reserve_later, k);
    else
        worker_reserve(k);
}

void worker_reserve(struct keeper *k)
{
    struct error err = ERROR_INIT;
    const uint64_t limit = k->spec->resources.processes;
    const size_t wanted = limit != 0 && limit < RESERVE_ALL_FROM ? 1 : RESERVE;
    for (size_t i = 0; i < wanted; i++) {
        if (k->spares[i] == NULL && k->sandbox != NULL && k->status != STATUS_STOPPING)
            k->spares[i] = spawn(k, &err);
    }
}

void worker_drop_spares(struct keeper *k)
{
    for (size_t i = 0; i < RESERVE; i++) {
        if (k->spares[i] != NULL)
            worker_drop(k->spares[i], CLOCHE_STOP_SHUTDOWN);
    }
}

static struct worker *take(struct keeper *k, struct error *err)
{
    struct worker *w = NULL;
    for (size_t i = 0; i < RESERVE && w == NULL; i++) {
        w = k->spares[i];
        k->spares[i] = NULL;
    }
    if (w == NULL)
        w = spawn(k, err);
    if (w != NULL && k->reserve_timer == NULL)
        k->reserve_timer = loop_after(k->loop, RESERVE_MS, reserve_later, k);
    return w;
}

struct worker *worker_open(struct service *s, uint32_t version, uint32_t flags,
                           worker_done_fn *done, void *context, struct error *err)
{
    struct keeper *k = s->keeper;
    struct wire_init init = {.version = version,
                             .flags = flags,
                             .state_cap = SERVICE_STATE_CAP,
                             .reply_cap = CALL_PAYLOAD_MAX,
                             .arena_bytes = s->module->arena_bytes};
    snprintf(init.module, sizeof init.module, "%s", s->name);
    _cleanup_close_ int log = log_open(k, s->node != NULL ? s->node->path : s->name, err);
    struct worker *w = log < 0 ? NULL : take(k, err);
    if (w == NULL)
        return NULL;
    w->service = s;
    w->version = version;
    const struct wire_record r = {.type = WIRE_INIT, .size = sizeof init};
    const int fds[] = {[WIRE_FD_SHARED] = w->theirs.memory,
                       [WIRE_FD_BELL] = w->theirs.bell,
                       [WIRE_FD_RING] = w->theirs.ring,
                       [WIRE_FD_LOG] = log};
    struct wire_packet *p = worker_packet(w);
    wire_add(p, &r, &init);
    if (wire_send(w->socket, 0, p->data, p->used, fds, WIRE_FD_LOG + 1, MSG_DONTWAIT) < 0) {
        error_set(err, "worker.start", errno, "cannot reach a new worker");
        worker_drop(w, 0);
        return NULL;
    }
    forget_theirs(w);
    /* what the worker has may be full, and is blocking: this end of its own is not, so that a
     * module that fills the pipe cannot stop the keeper, who alone empties it */
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", log);
    w->log = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    worker_ask(w, WIRE_INIT, 0, -1, SERVICE_INIT_MS, done, context);
    return w;
}

/* --- telling -------------------------------------------------------------------------------------
 */

struct wire_packet *worker_packet(struct worker *w)
{
    wire_begin(&w->keeper->packet, &w->post.box);
    return &w->keeper->packet;
}

void worker_tell(struct worker *w, const struct wire_record *r, const void *payload)
{
    struct wire_packet *p = worker_packet(w);
    if (!w->lost && wire_add(p, r, payload) != NULL)
        worker_send(w, p, -1);
}

static void on_send_failed(void *context)
{
    struct worker *w = context;
    w->send_failed = NULL;
    if (!w->lost)
        worker_kill(w, "it does not read what it is told");
}

bool worker_send(struct worker *w, const struct wire_packet *p, int fd)
{
    if (w->lost)
        return false;
    bool counts = w->theirs.memory < 0; /* it was told INIT, and has its box */
    if (counts && fd < 0 && mailbox_put(&w->post.box, p->data, p->used)) {
        post_look(&w->post);
        return true;
    }
    if (wire_send(w->socket, counts ? w->post.box.sent + 1 : 0, p->data, p->used, &fd, fd >= 0,
                  MSG_DONTWAIT) == 0) {
        if (counts)
            mailbox_sent(&w->post.box);
        return true;
    }
    /* what is outstanding is bounded below the socket's room, so this one does not read; or it is
     * gone already, and in a moment its end says why. Said from the loop: the caller is in the
     * middle of something */
    if (w->send_failed == NULL)
        w->send_failed =
            loop_after(w->keeper->loop, errno == EAGAIN ? 0 : HANG_UP_MS, on_send_failed, w);
    return false;
}

void worker_hold(struct worker *w, bool hold)
{
    w->hold = hold;
    __atomic_store_n(&worker_progress(w)->hold, hold, __ATOMIC_RELEASE);
}

uint64_t worker_at(const struct worker *w)
{
    return __atomic_load_n(&worker_progress(w)->at, __ATOMIC_ACQUIRE);
}

/* --- the end -------------------------------------------------------------------------------------
 */

static void kill_now(struct worker *w)
{
    if (w->keeper->sandbox != NULL)
        sandbox_child_signal(w->keeper->sandbox, w->task.child, SIGKILL);
}

static void on_stop_timer(void *context)
{
    struct worker *w = context;
    w->stop_timer = NULL;
    if (w->lost)
        kill_now(w);
    else
        worker_kill(w, "stop took too long");
}

static void lost(struct worker *w, bool hung_up)
{
    struct keeper *k = w->keeper;
    if (w->lost)
        return;
    w->lost = true;
    loop_unwatch(k->loop, w->source);
    w->source = NULL;
    loop_unlook(k->loop, &w->post.look);
    if (w->watchdog != NULL)
        loop_cancel(k->loop, w->watchdog);
    w->watchdog = NULL;
    for (size_t i = 0; i < RESERVE; i++)
        k->spares[i] = k->spares[i] == w ? NULL : k->spares[i];
    service_host_forget(w);
    /* one that has closed its socket is dying most often, and its own status says of what */
    if (!hung_up)
        kill_now(w);
    else if (w->stop_timer == NULL)
        w->stop_timer = loop_after(k->loop, HANG_UP_MS, on_stop_timer, w);
    if (w->on_lost != NULL)
        w->on_lost(w);
    post_end(&w->post); /* not before: who takes its place waits */
    close(w->socket);
    w->socket = -1;
    if (!hung_up) /* else when it is reaped, in a moment, and it is known what it died of */
        asks_end(w);
}

void worker_kill(struct worker *w, const char *why)
{
    if (w->why[0] == '\0')
        snprintf(w->why, sizeof w->why, "%s", why);
    if (w->lost)
        kill_now(w);
    lost(w, false);
}

static void describe(struct worker *w, const struct sandbox_child_event *e)
{
    struct keeper *k = w->keeper;
    struct sandbox_usage u;
    char what[100];
    if (w->why[0] != '\0') /* it was killed, and why is known */
        return;
    if (e->type == CHILD_FAILED) {
        snprintf(w->why, sizeof w->why, "cannot start: %.150s", e->error->message);
        return;
    }
    if (e->blocked_syscall != NULL)
        snprintf(what, sizeof what, "blocked system call %.60s", e->blocked_syscall);
    else if (e->process_limit)
        snprintf(what, sizeof what, "process limit");
    else if (WIFSIGNALED(e->status) && WTERMSIG(e->status) == SIGKILL && k->sandbox != NULL &&
             sandbox_usage(k->sandbox, &u) == 0 && u.oom_kills > k->oom_kills) {
        k->oom_kills = u.oom_kills;
        snprintf(what, sizeof what, "memory limit");
    } else if (WIFSIGNALED(e->status))
        snprintf(what, sizeof what, "signal %d (%.60s)", WTERMSIG(e->status),
                 strsignal(WTERMSIG(e->status)));
    else
        snprintf(what, sizeof what, "exit with status %d", WEXITSTATUS(e->status));
    const char *stage = worker_stage(w);
    snprintf(w->why, sizeof w->why, "%s%s%s", stage != NULL ? stage : "", stage != NULL ? ": " : "",
             what);
}

static void worker_free(struct worker *w)
{
    struct keeper *k = w->keeper;
    for (struct worker **at = &k->workers; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    task_remove(k, &w->task);
    if (w->send_failed != NULL)
        loop_cancel(k->loop, w->send_failed);
    if (w->stop_timer != NULL)
        loop_cancel(k->loop, w->stop_timer);
    forget_theirs(w);
    post_close(&w->post);
    cleanup_close(&w->log);
    free(w);
    keeper_check_stopped(k);
}

static void on_task(struct task *t, const struct sandbox_child_event *e)
{
    struct worker *w = (struct worker *)t;
    if (e->type == CHILD_STARTED) {
        w->guard = sandbox_pid_of(e->fd);
        close(e->fd);                         /* signalled through init, which knows it by number */
        if (w->lost && w->stop_timer == NULL) /* else it has a while to say what it died of */
            kill_now(w);
        return;
    }
    if (e->type != CHILD_FAILED && e->type != CHILD_EXITED)
        return;
    describe(w, e);
    if (e->type == CHILD_EXITED)
        journal_violation(w->keeper, e, w->service != NULL ? w->service->name : PROGRAM);
    w->failed = e->type == CHILD_FAILED;
    lost(w, true);
    asks_end(w);
    if (w->on_gone != NULL)
        w->on_gone(w);
    worker_free(w);
}

void worker_stop(struct worker *w, int reason, uint64_t grace_ms)
{
    const struct wire_record r = {.type = WIRE_STOP, .value = (uint64_t)reason};
    if (w->lost || w->stopping)
        return;
    w->stopping = true;
    worker_hold(w, true); /* what it has in hand is not begun any more */
    worker_tell(w, &r, NULL);
    w->stop_timer = loop_after(w->keeper->loop, grace_ms, on_stop_timer, w);
}

void worker_drop(struct worker *w, int reason)
{
    w->on_lost = w->on_gone = NULL;
    w->owner = NULL;
    if (w->service != NULL && w->service->replay_worker == w)
        calls_replay_forget(w->service);
    for (struct ask *a = w->asks; a != NULL; a = a->next)
        a->done = NULL;
    for (struct call *c; (c = call_pop(&w->inflight)) != NULL;)
        call_free(c);
    w->service = NULL;
    worker_stop(w, reason, SERVICE_STOP_MS);
}

void worker_drop_all(struct keeper *k)
{
    for (struct worker *w = k->workers; w != NULL; w = w->next) {
        w->on_lost = w->on_gone = NULL;
        for (struct ask *a = w->asks; a != NULL; a = a->next)
            a->done = NULL;
    }
}

/* --- hearing -------------------------------------------------------------------------------------
 */

static bool on_record(struct worker *w, const struct wire_record *r, const void *payload, int *fd)
{
    if (((r->flags & WIRE_FD) != 0) != (*fd >= 0))
        return false;
    if (r->type == WIRE_DONE || r->type == WIRE_REPLY) /* a line of the log buys no time */
        w->progress_ms = loop_now_ms();
    if (r->type == WIRE_DONE)
        return asks_answer(w, r, payload, fd);
    if (r->type == WIRE_REPLY)
        return calls_reply(w, r, payload, TAKE_FD(*fd));
    return w->service == NULL || service_event(w, r, payload);
}

/** One packet of it; @passed, when given, came with it and is closed here. @boxed: it is still in
 * the box, where the worker can change it. */
static void on_packet(struct worker *w, const void *packet, size_t size, int passed, bool boxed)
{
    static _Alignas(8) unsigned char copy[WIRE_PACKET_MAX];
    _cleanup_close_ int file = passed;
    struct wire_record r;
    const void *payload;
    bool good = true;
    for (size_t at = 0; good && !w->lost;) {
        int more = wire_next(packet, size, &at, &r, &payload);
        if (more == 0)
            break;
        if (more > 0 && boxed && r.type != WIRE_REPLY) { /* whose payload is only passed on */
            mailbox_copy(copy, payload, r.size);
            payload = copy;
        }
        good = more > 0 && on_record(w, &r, payload, &file);
    }
    if (boxed)
        mailbox_taken(&w->post.box);
    if (!good)
        worker_kill(w, "it broke the protocol");
    else if (w->service != NULL && w == w->service->serving)
        calls_dispatch(w->service);
    calls_flush(w->keeper);
}

/** The next packet is in the box. */
static void on_box(void *context)
{
    static _Alignas(8) unsigned char small[MAILBOX_SMALL];
    struct worker *w = context;
    const void *packet;
    long n = mailbox_look(&w->post.box, &packet);
    if (n >= 0 && (size_t)n <= sizeof small) {
        mailbox_copy(small, packet, (size_t)n);
        mailbox_taken(&w->post.box);
        on_packet(w, small, (size_t)n, -1, false);
    } else if (n >= 0) {
        on_packet(w, packet, (size_t)n, -1, true);
    } else {
        worker_kill(w, "it broke the protocol");
    }
}

static void on_socket(void *context, int fd, uint32_t events)
{
    static _Alignas(8) unsigned char packet[WIRE_PACKET_MAX];
    struct worker *w = context;
    int fds[WIRE_MAX_FDS], count;
    (void)events;
    struct mailbox *box = &w->post.box;
    uint64_t number = 0;
    long n = wire_receive(fd, &number, packet, sizeof packet, fds, &count, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* one in the box was put there before this one was sent */
    if ((n == 0 || (n > 0 && number == box->taken + 2)) && mailbox_full(box))
        on_box(w);
    for (int i = 1; i < count; i++)
        close(fds[i]);
    int passed = count > 0 ? fds[0] : -1;
    if (n == 0 && !w->lost) { /* ended, or about to: why is said by init */
        lost(w, true);
    } else if (!w->lost && (n < 0 || count > 1 || number != box->taken + 1)) {
        worker_kill(w, "it broke the protocol");
        calls_flush(w->keeper);
    }
    if (w->lost) {
        cleanup_close(&passed);
        return;
    }
    mailbox_taken(box);
    post_look(&w->post);
    on_packet(w, packet, (size_t)n, passed, false);
}
