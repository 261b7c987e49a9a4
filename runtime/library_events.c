/* Handles, and what comes as events: operations that were begun, and sandboxes that are followed.
 *
 * Every operation is one socket on which one last frame comes, from the sandbox's keeper or from
 * one that starts; a following is a watch on the sandbox's state directory. All of them hang on one
 * epoll, which is the application's event fd; what was read is queued, and an eventfd on the same
 * epoll stays readable while the queue is not empty. No thread works behind the application. */
#include "runtime/library.h"

#include "base/cleanup.h"
#include "runtime/launch.h"
#include "runtime/tail.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define LINE_MAX_BYTES 65536

enum verb { VERB_CREATE, VERB_EXEC, VERB_RESTART, VERB_DESTROY };

struct operation {
    struct operation *next;
    uint64_t number;
    enum verb verb;
    bool launched; /* what comes is the one frame of a keeper that starts */
    bool undoing;  /* a creation failed, as @failure says; what it left is being removed */
    int fd;
    char id[72];
    struct cloche_error failure;
};

struct following {
    struct following *next;
    int watch;
    char id[72], *line;
    size_t used;
    bool too_long; /* the line that is being read is skipped */
    struct tail tail;
    struct cloche *handle;
};

/** Small, because there may be as many as lines in a file; what the application gets is made when
 * it asks. */
struct queued {
    struct queued *next;
    struct cloche_event *event; /* of what was begun; NULL: the rest */
    enum cloche_event_kind kind;
    char id[72];
    size_t size;
    char json[];
};

/* --- handles -------------------------------------------------------------------------------------
 */

static int watch(struct cloche *c, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return fd < 0 ? -1 : epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e);
}

int cloche_open(const struct cloche_options *options, struct cloche **ret, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    struct cloche_options o = {0};
    if (options != NULL)
        LIBRARY_OPTIONS(o, options);
    struct cloche *c = calloc(1, sizeof *c);
    if (c == NULL)
        return library_give(error_set(&e, "cloche.memory", errno, "cannot make a handle"), &e, err);
    c->deadline_ms = o.deadline_ms < INT64_MAX / 2 ? o.deadline_ms : 0;
    c->parallel = o.parallel;
    c->inotify = -1;
    pthread_mutex_init(&c->lock, NULL);
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->waiting = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->epoll < 0 || watch(c, c->waiting) < 0) {
        error_set(&e, "cloche.memory", errno, "cannot make a handle");
        cloche_close(c);
        return library_give(-1, &e, err);
    }
    *ret = c;
    return library_give(0, &e, err);
}

static void end_operation(struct cloche *c, struct operation *o)
{
    struct operation **at = &c->operations;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    cleanup_close(&o->fd);
    free(o);
}

static void end_following(struct cloche *c, struct following *f)
{
    struct following **at = &c->followings;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    cleanup_close(&f->tail.fd);
    cleanup_close(&f->tail.dir);
    free(f->line);
    free(f);
}

void cloche_close(struct cloche *c)
{
    if (c == NULL)
        return;
    while (c->operations != NULL)
        end_operation(c, c->operations);
    while (c->followings != NULL)
        end_following(c, c->followings);
    while (c->first != NULL) {
        struct queued *q = c->first;
        c->first = q->next;
        free(q->event);
        free(q);
    }
    library_drop_calls(c);
    cleanup_close(&c->inotify);
    cleanup_close(&c->waiting);
    cleanup_close(&c->epoll);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

int cloche_event_fd(const struct cloche *c)
{
    return c != NULL ? c->epoll : -1;
}

/* --- the queue -----------------------------------------------------------------------------------
 */

static void *allocate(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL)
        abort(); /* as an arena does: an outcome that nobody hears of is waited for for ever */
    return p;
}

static struct cloche_event *new_event(enum cloche_event_kind kind, const char *id, const char *json,
                                      size_t size)
{
    struct cloche_event *e = allocate(sizeof *e + size + 1);
    char *copy = (char *)(e + 1);
    e->kind = kind;
    snprintf(e->id, sizeof e->id, "%s", id);
    memcpy(copy, json, size);
    e->json = size > 0 ? copy : NULL;
    return e;
}

static struct queued *add_event(struct cloche *c, enum cloche_event_kind kind, const char *id,
                                const char *json, size_t size)
{
    struct queued *q = allocate(sizeof *q + size);
    q->kind = kind;
    snprintf(q->id, sizeof q->id, "%s", id);
    q->size = size;
    memcpy(q->json, json, size);
    if (c->first == NULL) {
        c->first = q;
        eventfd_write(c->waiting, 1);
    } else {
        c->last->next = q;
    }
    c->last = q;
    return q;
}

static struct cloche_event *take_event(struct cloche *c)
{
    struct queued *q = c->first;
    eventfd_t count;
    c->first = q->next;
    if (c->first == NULL)
        eventfd_read(c->waiting, &count);
    struct cloche_event *e =
        q->event != NULL ? q->event : new_event(q->kind, q->id, q->json, q->size);
    free(q);
    return e;
}

void cloche_event_free(struct cloche_event *event)
{
    free(event);
}

/* --- operations ----------------------------------------------------------------------------------
 */

static void finish(struct cloche *c, struct operation *o, const struct cloche_error *failure,
                   const struct frame *f)
{
    struct cloche_event *e = new_event(CLOCHE_EVENT_DONE, o->id, "", 0);
    add_event(c, CLOCHE_EVENT_DONE, o->id, "", 0)->event = e;
    e->number = o->number;
    if (failure != NULL)
        e->error = *failure;
    else if (o->verb == VERB_EXEC && f != NULL)
        library_read_result(f, &e->result);
    end_operation(c, o);
}

static void fail(struct cloche *c, struct operation *o, const struct error *err)
{
    struct cloche_error failure;
    library_give(-1, err, &failure);
    finish(c, o, &failure, NULL);
}

/** A keeper of its own does the rest. */
static int launch(struct cloche *c, struct operation *o, const char *task, struct error *err)
{
    cleanup_close(&o->fd);
    o->launched = true;
    o->fd = client_launch(o->id, task, err);
    if (o->fd < 0)
        return -1;
    if (watch(c, o->fd) < 0)
        return error_set(err, "cloche.memory", errno, "cannot wait for a keeper");
    return 0;
}

/** Its keeper has gone, or was never there. */
static void without_keeper(struct cloche *c, struct operation *o, const struct error *gone)
{
    struct error err = ERROR_INIT;
    if (o->verb == VERB_EXEC)
        fail(c, o, gone);
    else if (launch(c, o, o->verb == VERB_DESTROY ? KEEPER_REMOVE : KEEPER_START, &err) < 0)
        fail(c, o, &err);
}

static void read_launched(struct cloche *c, struct operation *o, struct frame *f)
{
    struct error err = ERROR_INIT;
    if (o->undoing) {
        finish(c, o, &o->failure, NULL);
    } else if (client_launched(o->fd, o->id, f, &err) == 0) {
        finish(c, o, NULL, NULL);
    } else if (o->verb != VERB_CREATE) {
        fail(c, o, &err);
    } else {
        library_give(-1, &err, &o->failure);
        o->undoing = true;
        if (launch(c, o, KEEPER_REMOVE, &err) < 0)
            finish(c, o, &o->failure, NULL);
    }
}

static void read_answer(struct cloche *c, struct operation *o, struct frame *f)
{
    struct error err = ERROR_INIT;
    int rc = client_next(o->fd, o->id, f, &err);
    frame_close_fds(f);
    if (rc == 0)
        finish(c, o, NULL, f);
    else if (rc < 0 && client_without_keeper(&err))
        without_keeper(c, o, &err);
    else if (rc < 0)
        fail(c, o, &err);
}

static struct operation *find_operation(struct cloche *c, int fd)
{
    struct operation *o = c->operations;
    while (o != NULL && o->fd != fd)
        o = o->next;
    return o;
}

/** From here on its events may come: in another thread before this one has returned. */
static void add_operation(struct cloche *c, struct operation *o, uint64_t *ret_number)
{
    o->number = ++c->last_number;
    if (ret_number != NULL)
        *ret_number = o->number;
    o->next = c->operations;
    c->operations = o;
}

static int need_handle(const struct cloche *c, struct error *err)
{
    return c != NULL ? 0
                     : error_set(err, "usage.handle", 0, "events need a handle of cloche_open()");
}

/** @ask: sends the request, over a connection to the keeper. */
static int begin(struct cloche *c, enum verb verb, const char *id,
                 int (*ask)(int socket, const void *what, struct error *err), const void *what,
                 uint64_t *ret_number, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_close_ int fd = need_handle(c, &e) < 0 ? -1 : client_connect(id, &e);
    bool gone = fd < 0 && verb != VERB_EXEC && client_without_keeper(&e);
    if ((fd < 0 && !gone) || (fd >= 0 && ask(fd, what, &e) < 0))
        return library_give(-1, &e, err);
    struct operation *o = calloc(1, sizeof *o);
    if (o == NULL)
        return library_give(error_set(&e, "cloche.memory", errno, "cannot begin"), &e, err);
    *o = (struct operation){.verb = verb, .fd = TAKE_FD(fd)};
    snprintf(o->id, sizeof o->id, "%s", id);
    pthread_mutex_lock(&c->lock);
    add_operation(c, o, ret_number);
    if (gone)
        without_keeper(c, o, &e);
    else if (watch(c, o->fd) < 0) {
        error_set(&e, "cloche.memory", errno, "cannot wait for the keeper");
        fail(c, o, &e);
    }
    pthread_mutex_unlock(&c->lock);
    return library_give(0, &e, err);
}

static int send_exec(int socket, const void *what, struct error *err)
{
    return library_send_exec(socket, what, err);
}

int cloche_begin_exec(struct cloche *c, const char *id, const struct cloche_command *command,
                      uint64_t *ret_number, struct cloche_error *err)
{
    return begin(c, VERB_EXEC, id, send_exec, command, ret_number, err);
}

static int send_stop(int socket, const char *operation, const void *force, struct error *err)
{
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    fields_add_int(&fields, "force", *(const int *)force != 0);
    return client_send(socket, operation, &fields, NULL, 0, err);
}

static int send_restart(int socket, const void *force, struct error *err)
{
    return send_stop(socket, "restart", force, err);
}

static int send_destroy(int socket, const void *force, struct error *err)
{
    return send_stop(socket, "destroy", force, err);
}

int cloche_begin_restart(struct cloche *c, const char *id, int force, uint64_t *ret_number,
                         struct cloche_error *err)
{
    return begin(c, VERB_RESTART, id, send_restart, &force, ret_number, err);
}

int cloche_begin_destroy(struct cloche *c, const char *id, int force, uint64_t *ret_number,
                         struct cloche_error *err)
{
    return begin(c, VERB_DESTROY, id, send_destroy, &force, ret_number, err);
}

int cloche_begin_create(struct cloche *c, const char *id, const struct cloche_sandbox *what,
                        uint64_t *ret_number, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_free_ char *text = need_handle(c, &e) < 0 ? NULL : library_spec(what, &e);
    struct operation *o = text == NULL ? NULL : calloc(1, sizeof *o);
    if (o == NULL || client_make(id, text, &e) < 0) {
        free(o);
        return library_give(-1, &e, err);
    }
    *o = (struct operation){.verb = VERB_CREATE, .fd = -1};
    snprintf(o->id, sizeof o->id, "%s", id);
    pthread_mutex_lock(&c->lock);
    add_operation(c, o, ret_number);
    int rc = launch(c, o, KEEPER_START, &e);
    if (rc < 0)
        end_operation(c, o);
    pthread_mutex_unlock(&c->lock);
    if (rc < 0)
        client_unmake(id, &e);
    return library_give(rc, &e, err);
}

int cloche_cancel(struct cloche *c, uint64_t number, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    if (need_handle(c, &e) < 0)
        return library_give(-1, &e, err);
    fields_add_int(&fields, "signal", 9);
    pthread_mutex_lock(&c->lock);
    struct operation *o = c->operations;
    while (o != NULL && (o->number != number || o->verb != VERB_EXEC))
        o = o->next;
    int rc = o != NULL ? client_send(o->fd, "signal", &fields, NULL, 0, &e)
                       : error_set(&e, "call.unknown", 0, "no command %llu is under way",
                                   (unsigned long long)number);
    pthread_mutex_unlock(&c->lock);
    return library_give(rc, &e, err);
}

/* --- following -----------------------------------------------------------------------------------
 */

static void on_bytes(void *context, const char *data, size_t size)
{
    struct following *f = context;
    for (const char *end = data + size; data < end;) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        size_t n = (size_t)((newline != NULL ? newline : end) - data);
        if (n > LINE_MAX_BYTES - f->used)
            f->too_long = true;
        if (!f->too_long) {
            memcpy(f->line + f->used, data, n);
            f->used += n;
        }
        if (newline == NULL)
            return;
        if (!f->too_long)
            add_event(f->handle, CLOCHE_EVENT_JSON, f->id, f->line, f->used);
        f->used = 0;
        f->too_long = false;
        data = newline + 1;
    }
}

static struct following *find_following(struct cloche *c, const char *id)
{
    struct following *f = c->followings;
    while (f != NULL && strcmp(f->id, id) != 0)
        f = f->next;
    return f;
}

static int follow(struct cloche *c, const char *id, struct error *err)
{
    char path[48];
    if (find_following(c, id) != NULL)
        return error_set(err, "call.followed", 0, "sandbox \"%.64s\" is followed already", id);
    _cleanup_close_ int dir = client_open_state(id, ".", err);
    if (dir < 0)
        return -1;
    if (c->inotify < 0) {
        c->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (watch(c, c->inotify) < 0) {
            cleanup_close(&c->inotify);
            c->inotify = -1;
        }
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    int wd = c->inotify < 0
                 ? -1
                 : inotify_add_watch(c->inotify, path,
                                     IN_MODIFY | IN_CREATE | IN_MOVE_SELF | IN_DELETE_SELF);
    if (wd < 0) {
        error_set(err, "logs.watch", errno, "cannot watch sandbox \"%.64s\"", id);
        return error_hint(err, "raise fs.inotify.max_user_watches and max_user_instances");
    }
    struct following *f = calloc(1, sizeof *f);
    char *line = malloc(LINE_MAX_BYTES);
    if (f == NULL || line == NULL)
        abort();
    *f = (struct following){.next = c->followings, .watch = wd, .line = line, .handle = c};
    f->tail = (struct tail){
        .dir = TAKE_FD(dir), .fd = -1, .file = "events.jsonl", .call = on_bytes, .context = f};
    snprintf(f->id, sizeof f->id, "%s", id);
    f->tail.fd = openat(f->tail.dir, f->tail.file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (f->tail.fd >= 0)
        lseek(f->tail.fd, 0, SEEK_END);
    c->followings = f;
    return 0;
}

int cloche_follow(struct cloche *c, const char *id, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    if (need_handle(c, &e) < 0)
        return library_give(-1, &e, err);
    pthread_mutex_lock(&c->lock);
    int rc = follow(c, id, &e);
    pthread_mutex_unlock(&c->lock);
    return library_give(rc, &e, err);
}

int cloche_unfollow(struct cloche *c, const char *id, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    if (need_handle(c, &e) < 0)
        return library_give(-1, &e, err);
    pthread_mutex_lock(&c->lock);
    struct following *f = find_following(c, id);
    int rc =
        f != NULL ? 0 : error_set(&e, "call.unknown", 0, "sandbox \"%.64s\" is not followed", id);
    if (f != NULL) {
        inotify_rm_watch(c->inotify, f->watch);
        end_following(c, f);
    }
    pthread_mutex_unlock(&c->lock);
    return library_give(rc, &e, err);
}

/** One kind of change for one sandbox; -1: for all of them, some were lost. */
static void on_change(struct cloche *c, int wd, uint32_t mask)
{
    struct following *next;
    for (struct following *f = c->followings; f != NULL; f = next) {
        next = f->next;
        if (f->watch != wd && wd != -1)
            continue;
        static const char lost[] = "{\"event\":\"follower.lost\"}";
        if (tail_catch_up(&f->tail))
            add_event(c, CLOCHE_EVENT_JSON, f->id, lost, sizeof lost - 1);
        if ((mask & (IN_MOVE_SELF | IN_DELETE_SELF)) == 0)
            continue;
        add_event(c, CLOCHE_EVENT_GONE, f->id, "", 0);
        inotify_rm_watch(c->inotify, f->watch);
        end_following(c, f);
    }
}

static void read_changes(struct cloche *c)
{
    char buf[8192] __attribute__((aligned(8)));
    ssize_t n = read(c->inotify, buf, sizeof buf);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const void *)(buf + at);
        on_change(c, e->wd, e->mask);
        at += (ssize_t)(sizeof *e + e->len);
    }
}

/* --- next ----------------------------------------------------------------------------------------
 */

static void read_ready(struct cloche *c)
{
    struct epoll_event ready[16];
    _cleanup_free_ struct frame *f = client_frame_new();
    int n = epoll_wait(c->epoll, ready, 16, 0);
    for (int i = 0; i < n; i++) {
        struct operation *o = find_operation(c, ready[i].data.fd);
        if (ready[i].data.fd == c->inotify)
            read_changes(c);
        else if (o != NULL && o->launched)
            read_launched(c, o, f);
        else if (o != NULL)
            read_answer(c, o, f);
    }
}

int cloche_next_event(struct cloche *c, struct cloche_event **ret, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    if (need_handle(c, &e) < 0)
        return library_give(-1, &e, err);
    pthread_mutex_lock(&c->lock);
    if (c->first == NULL)
        read_ready(c);
    bool found = c->first != NULL;
    if (found)
        *ret = take_event(c);
    pthread_mutex_unlock(&c->lock);
    library_give(0, &e, err);
    return found;
}
