/* The keeper's side of a build; theory of operation: build.h. */
#include "runtime/keeper/build.h"

#include "base/cleanup.h"
#include "base/syscalls.h"
#include "runtime/keeper/affinity.h"
#include "runtime/keeper/builder.h"
#include "runtime/keeper/modules.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define CANCEL_MS 1000 /* for a builder to clean up; then it is killed */

struct build {
    struct build *next;
    struct keeper *keeper;
    const char *module;
    build_done_fn *done; /* NULL: answered, or cancelled */
    void *context;
    const char *step; /* the last one heard of */
    pid_t pid;
    int pidfd, socket;
    struct loop_source *socket_source, *pidfd_source;
    struct loop_timer *timer;
    struct timespec began;
    struct arena *arena;
};

/* Codes come back as text and must outlive the frame. There are as many as the sources have. */
static const char *lasting(const char *code)
{
    static struct known {
        struct known *next;
        char code[];
    } * all;
    for (const struct known *k = all; k != NULL; k = k->next) {
        if (strcmp(k->code, code) == 0)
            return k->code;
    }
    size_t n = strlen(code) + 1;
    struct known *k = malloc(sizeof *k + n);
    if (k == NULL)
        return "keeper.memory";
    memcpy(k->code, code, n);
    k->next = all;
    all = k;
    return k->code;
}

static uint64_t elapsed_us(const struct timespec *since)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)((t.tv_sec - since->tv_sec) * 1000000 + (t.tv_nsec - since->tv_nsec) / 1000);
}

static void free_build(struct build *b)
{
    struct loop *l = b->keeper->loop;
    loop_unwatch(l, b->socket_source);
    loop_unwatch(l, b->pidfd_source);
    if (b->timer != NULL)
        loop_cancel(l, b->timer);
    cleanup_close(&b->socket);
    cleanup_close(&b->pidfd);
    for (struct build **at = &b->keeper->builds; *at != NULL; at = &(*at)->next) {
        if (*at == b) {
            *at = b->next;
            break;
        }
    }
    arena_free(b->arena); /* itself, too */
}

/** The builder, and a publisher that it could not wait for: they are one process group. */
static void reap(const struct build *b)
{
    kill(-b->pid, SIGKILL);
    while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    while (waitpid(-b->pid, NULL, 0) > 0 || errno == EINTR)
        continue;
}

static const char *text_of(const struct frame *f, const char *key, const char *otherwise)
{
    const char *t = frame_get(f, key);
    return t != NULL ? t : otherwise;
}

static uint64_t number_of(const struct frame *f, const char *key)
{
    return (uint64_t)frame_get_int(f, key, 0, INT64_MAX, 0);
}

static void answer(struct build *b, struct build_result *r)
{
    build_done_fn *done = b->done;
    b->done = NULL;
    struct module *m = modules_find(b->keeper, b->module, NULL);
    r->total_us = elapsed_us(&b->began) - r->waited_us;
    if (m != NULL && r->verdict[0] != '\0') {
        m->took.snapshot = r->snapshot_us;
        m->took.compile = r->compile_us;
        m->took.verify = r->verify_us;
        m->took.publish = r->publish_us;
        m->took.total = r->total_us;
        free(m->diagnostics);
        free(m->build_text);
        m->diagnostics = strdup(r->diagnostics);
        m->build_text = strdup(r->text);
    }
    if (done != NULL)
        done(b->context, r);
}

static void lost(struct build *b)
{
    struct build_result r = {.status = BUILD_FAILED,
                             .step = b->step,
                             .verdict = "",
                             .imported = "[]",
                             .diagnostics = "[]",
                             .text = "",
                             .toolchain = "",
                             .sha256 = ""};
    error_set(&r.error, "build.lost", 0, "the builder of module \"%s\" ended without an answer",
              b->module);
    answer(b, &r);
}

static void read_result(const struct frame *f, struct build_result *r)
{
    static const struct {
        const char *word;
        enum build_status status;
    } words[] = {{"changed", BUILD_CHANGED},     {"step", BUILD_STEP},
                 {"published", BUILD_PUBLISHED}, {"unchanged", BUILD_UNCHANGED},
                 {"verified", BUILD_VERIFIED},   {"failed", BUILD_FAILED}};
    const char *status = text_of(f, "status", "failed");
    *r = (struct build_result){
        .status = BUILD_FAILED,
        .number = (uint32_t)frame_get_int(f, "number", 0, UINT32_MAX, 0),
        .step = text_of(f, "step", "compile"),
        .verdict = text_of(f, "verdict", ""),
        .imported = text_of(f, "imported", "[]"),
        .diagnostics = text_of(f, "diagnostics", "[]"),
        .text = text_of(f, "text", ""),
        .toolchain = text_of(f, "toolchain", ""),
        .sha256 = text_of(f, "sha256", ""),
        .schema = (uint32_t)frame_get_int(f, "schema", 0, UINT32_MAX, 0),
        .flags = (uint32_t)frame_get_int(f, "flags", 0, UINT32_MAX, 0),
        .cached = number_of(f, "cached") != 0,
        .snapshot_us = number_of(f, "snapshot_us"),
        .compile_us = number_of(f, "compile_us"),
        .verify_us = number_of(f, "verify_us"),
        .publish_us = number_of(f, "publish_us"),
        .waited_us = number_of(f, "waited_us"),
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, status) == 0)
            r->status = words[i].status;
    }
    if (r->status == BUILD_FAILED) {
        frame_error(f, &r->error);
        r->error.code = lasting(r->error.code);
    }
}

/** True: there may be more. */
static bool hear(struct build *b)
{
    static struct frame frame; /* one at a time; what a callback needs of it is used before it
                                  returns */
    struct build_result r;
    int rc = frame_receive(b->socket, &frame, MSG_DONTWAIT);
    if (rc < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (rc > 0) {
        frame_close_fds(&frame);
        read_result(&frame, &r);
        if (r.status == BUILD_STEP)
            b->step = lasting(r.step);
        if (r.status == BUILD_CHANGED || r.status == BUILD_STEP) {
            b->done(b->context, &r);
            return b->done != NULL;
        }
    }
    loop_unwatch(b->keeper->loop, b->socket_source);
    b->socket_source = NULL;
    if (rc > 0) /* else its end is on the pidfd, too */
        answer(b, &r);
    return false;
}

static void on_socket(void *context, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    hear(context);
}

static void on_exit_of(void *context, int fd, uint32_t events)
{
    struct build *b = context;
    (void)fd;
    (void)events;
    while (b->socket_source != NULL && hear(b)) /* the answer may still be waiting there */
        continue;
    reap(b);
    if (b->done != NULL)
        lost(b);
    free_build(b);
}

static void on_late(void *context)
{
    struct build *b = context;
    b->timer = NULL;
    sys_pidfd_send_signal(b->pidfd, SIGKILL);
}

void build_take(struct build *b, uint64_t attempt, build_done_fn *done, void *context)
{
    b->done = done;
    b->context = context;
    /* one that is gone is noticed by its end */
    (void)send(b->socket, &attempt, sizeof attempt, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void build_cancel(struct build *b)
{
    if (b == NULL || b->done == NULL)
        return;
    b->done = NULL;
    loop_unwatch(b->keeper->loop, b->socket_source);
    b->socket_source = NULL;
    cleanup_close(&b->socket); /* which it hears */
    b->socket = -1;
    b->timer = loop_after(b->keeper->loop, CANCEL_MS, on_late, b);
}

void build_end_all(struct keeper *k)
{
    for (struct build *b = k->builds; b != NULL; b = b->next)
        build_cancel(b);
    while (k->builds != NULL) {
        struct build *b = k->builds;
        struct pollfd p = {.fd = b->pidfd, .events = POLLIN};
        while (poll(&p, 1, CANCEL_MS) < 0 && errno == EINTR)
            continue;
        reap(b);
        free_build(b);
    }
}

/* --- start --------------------------------------------------------------------------------------
 */

static const char *const *copy_list(struct arena *a, const char *const *list)
{
    struct strings copy = {0};
    for (; list != NULL && *list != NULL; list++)
        strings_add(a, &copy, *list);
    return (const char *const *)copy.items;
}

static void start_builder(const struct build *b, pid_t keeper, const struct module *m,
                          const struct build_options *o, int socket)
{
    struct build_options options = *o;
    struct builder builder = {.module = b->module,
                              .options = &options,
                              .depends = &m->depends,
                              .root = modules_root(b->keeper),
                              .keeper = keeper,
                              .socket = socket,
                              .state_fd = b->keeper->state_fd,
                              .log_fd = b->keeper->log_fd};
    module_policy(m, &builder.policy);
    options.source.flags = copy_list(b->arena, o->source.flags);
    options.source.defines = copy_list(b->arena, o->source.defines);
    builder_main(&builder);
}

struct build *build_start(struct keeper *k, const char *module, const struct build_options *options,
                          build_done_fn *done, void *context, struct error *err)
{
    const struct module *m = modules_add(k, module, err);
    if (m == NULL)
        return NULL;
    struct arena *a = arena_new();
    struct build *b = arena_alloc(a, sizeof *b);
    int ends[2] = {-1, -1};
    *b = (struct build){.keeper = k,
                        .module = arena_strdup(a, module),
                        .done = done,
                        .context = context,
                        .step = "snapshot",
                        .socket = -1,
                        .pidfd = -1,
                        .arena = a};
    clock_gettime(CLOCK_MONOTONIC, &b->began);
    int size = 2 * PROTOCOL_MAX_BODY; /* an answer is one message */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        affinity_part(k);
        const pid_t keeper = getpid();
        b->pid = fork();
        setpgid(b->pid, b->pid); /* on either side: whoever is first */
        if (b->pid == 0)
            start_builder(b, keeper, m, options, ends[1]);
    } else {
        b->pid = -1;
    }
    int problem = errno;
    cleanup_close(&ends[1]);
    b->socket = ends[0];
    b->next = k->builds;
    k->builds = b;
    b->pidfd = b->pid < 0 ? -1 : sys_pidfd_open(b->pid, 0);
    if (b->pidfd >= 0) {
        b->socket_source = loop_watch(k->loop, b->socket, EPOLLIN, on_socket, b);
        b->pidfd_source = loop_watch(k->loop, b->pidfd, EPOLLIN, on_exit_of, b);
        if (b->pidfd_source != NULL && b->socket_source != NULL)
            return b;
    }
    problem = b->pid < 0 ? problem : errno;
    if (b->pid > 0)
        reap(b);
    free_build(b);
    error_set(err, "build.start", problem, "cannot start to build module \"%s\"", module);
    return NULL;
}
