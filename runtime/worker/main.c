/* cloche-worker: one process, one version of one module.
 *
 * Theory of operation. The keeper has init execute this file, sealed, in a PID namespace of its
 * own, confined like every program of the sandbox before its first instruction. Its only door is
 * the socket at fd 3 (wire.h). A worker is nobody's until INIT names module and version; it loads
 * /modules/NAME/N/module.so once and never unloads it; then it does what it is told, in order, on
 * one thread, until STOP or the end of the socket. What the module does to this process is the
 * module's own loss: the keeper takes no word of it on trust. */
#include "runtime/worker/host.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "versions/state.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#define FLUSH_NS    500000 /* a finished reply waits no longer for those behind it */
#define CRASH_NS    500000
#define CRASH_STACK 65536

/** What is large goes into its file at once: @filed bytes, before those in memory. */
struct reply {
    struct cloche_reply api;
    unsigned char *data;
    size_t used, room, filed, cap;
    int fd;
    bool failed;
};

static struct host host = {.spare = -1};
static uint64_t flushed_ns;

/* --- requests ------------------------------------------------------------------------------------
 */

static void *reply_reserve(struct cloche_reply *api, size_t size)
{
    struct reply *r = api->opaque;
    if (r->failed || size > r->cap - r->filed - r->used) {
        r->failed = true;
        return NULL;
    }
    if (size > r->room - r->used) {
        size_t room = r->room * 2 > r->used + size ? r->room * 2 : r->used + size;
        unsigned char *data = realloc(r->data, room);
        if (data == NULL) {
            r->failed = true;
            return NULL;
        }
        r->data = data;
        r->room = room;
    }
    void *at = r->data + r->used;
    r->used += size;
    return at;
}

/** What is in memory, and @data behind it, into the file. */
static int reply_file(struct reply *r, const void *data, size_t size)
{
    if (r->fd < 0)
        r->fd = wire_new_memfd();
    if (r->fd < 0 || io_write_all(r->fd, r->data, r->used) < 0 ||
        io_write_all(r->fd, data, size) < 0) {
        r->failed = true;
        return -1;
    }
    r->filed += r->used + size;
    r->used = 0;
    return 0;
}

static int reply_write(struct cloche_reply *api, const void *data, size_t size)
{
    struct reply *r = api->opaque;
    if (size > WIRE_INLINE_MAX && !r->failed && size <= r->cap - r->filed - r->used)
        return reply_file(r, data, size);
    void *at = reply_reserve(api, size);
    if (at == NULL)
        return -1;
    if (size > 0)
        memcpy(at, data, size);
    return 0;
}

static struct reply *reply_empty(void)
{
    static struct reply r = {.fd = -1};
    if (r.data == NULL) {
        r.room = 4096;
        r.data = malloc(r.room);
        if (r.data == NULL)
            _exit(1);
    }
    r.used = r.filed = 0;
    r.failed = false;
    r.cap = host.init.reply_cap;
    r.api = (struct cloche_reply){
        .struct_size = sizeof r.api, .opaque = &r, .write = reply_write, .reserve = reply_reserve};
    return &r;
}

static void send_reply(struct reply *r, uint64_t id, int status)
{
    struct wire_record record = {.type = WIRE_REPLY, .id = id, .value = (uint64_t)(int64_t)status};
    if (!r->failed && (r->filed > 0 || r->used > WIRE_INLINE_MAX)) {
        if (reply_file(r, NULL, 0) < 0 || wire_seal_memfd(r->fd) < 0)
            _exit(1);
        record.flags = WIRE_FD;
    } else {
        cleanup_close(&r->fd);
        r->fd = -1;
        record.size = r->failed ? 0 : (uint32_t)r->used;
    }
    host_put(&host, &record, r->data, r->fd);
    r->fd = -1;
    if (r->room > 4 * WIRE_INLINE_MAX) {
        free(r->data);
        r->data = NULL;
    }
}

static void on_request(const struct wire_record *r, const void *payload, int fd)
{
    struct cloche_request request = {.struct_size = sizeof request,
                                     .flags =
                                         r->flags & (CLOCHE_REQUEST_AGAIN | CLOCHE_REQUEST_REPLAY),
                                     .id = r->id,
                                     .received_ms = r->value,
                                     .data = payload,
                                     .size = r->size};
    if (__atomic_load_n(&host.shared->progress.hold, __ATOMIC_ACQUIRE) != 0)
        return; /* left undone: the keeper sees that no reply came before what follows */
    void *map = NULL;
    if ((r->flags & WIRE_FD) != 0) {
        int64_t size = wire_memfd_size(fd, INT64_MAX);
        if (size < 0)
            _exit(1);
        if (size > 0) {
            map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
            if (map == MAP_FAILED)
                _exit(1);
            request.data = map;
        }
        request.size = (size_t)size;
    }
    __atomic_store_n(&host.shared->progress.at, r->id, __ATOMIC_RELEASE);
    host.arena_touched = true;
    struct reply *reply = reply_empty();
    int status = host.module->handle(host.self, &request, &reply->api);
    send_reply(reply, r->id, reply->failed && status == 0 ? -1 : status);
    if (map != NULL)
        munmap(map, request.size);
    uint64_t now = host_now_ns();
    if (now - flushed_ns > FLUSH_NS) {
        host_flush(&host);
        flushed_ns = now;
    }
}

/* --- life ----------------------------------------------------------------------------------------
 */

/** What the file said is asked again of what was loaded: the keeper's check was of the same bytes,
 * but nothing here relies on it. */
static const char *unfit(const struct cloche_module *m)
{
    if (m->abi.magic != CLOCHE_MODULE_MAGIC || m->abi.major != CLOCHE_MODULE_MAJOR ||
        m->abi.minor > CLOCHE_MODULE_MINOR || m->abi.module_size < sizeof *m)
        return "its ABI block is not one of this host";
    if (m->name == NULL || strcmp(m->name, host.name) != 0)
        return "it has another name";
    if (m->init == NULL || m->handle == NULL ||
        (m->abi.state_schema != 0 && (m->save_state == NULL || m->load_state == NULL)))
        return "a required function is missing";
    if ((m->abi.flags & CLOCHE_STATE_ARENA) != 0 &&
        (m->abi.state_schema == 0 || (m->abi.flags & CLOCHE_THREADS) != 0))
        return "STATE_ARENA without a state, or with threads";
    return NULL;
}

static void on_init(const struct wire_record *r, const void *payload, const int *fds, int fd_count)
{
    char path[128];
    struct error err = ERROR_INIT;
    if (r->size != sizeof host.init || host.module != NULL || host.shared != NULL ||
        fd_count <= WIRE_FD_LOG)
        _exit(1);
    memcpy(&host.init, payload, sizeof host.init);
    host.init.module[sizeof host.init.module - 1] = '\0';
    memcpy(host.name, host.init.module, sizeof host.name);
    host.shared =
        mmap(NULL, sizeof *host.shared, PROT_READ | PROT_WRITE, MAP_SHARED, fds[WIRE_FD_SHARED], 0);
    int ring = fcntl(fds[WIRE_FD_RING], F_DUPFD_CLOEXEC, 3),
        bell = fcntl(fds[WIRE_FD_BELL], F_DUPFD_CLOEXEC, 3);
    if (host.shared == MAP_FAILED || ring < 0 || bell < 0 || dup2(fds[WIRE_FD_LOG], 1) < 0 ||
        dup2(fds[WIRE_FD_LOG], 2) < 0)
        _exit(1);
    mailbox_open(&host.box, &host.shared->boxes.up, &host.shared->boxes.down, ring, bell);
    host_open(&host);

    snprintf(path, sizeof path, "/modules/%s/%u/module.so", host.name, host.init.version);
    prctl(PR_SET_NAME, host.name); /* for `cloche top`: a process of a memfd has none of its own */
    host_stage(&host, WIRE_FAIL_DLOPEN);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        host_refuse(&host, WIRE_FAIL_DLOPEN, dlerror());
        return;
    }
    const struct cloche_module *m = dlsym(handle, CLOCHE_MODULE_SYMBOL);
    const char *why = m == NULL ? "it has no symbol " CLOCHE_MODULE_SYMBOL : unfit(m);
    if (why != NULL) {
        host_refuse(&host, WIRE_FAIL_MODULE, why);
        return;
    }
    host.module = m;
    if ((host.init.flags & WIRE_INIT_MIGRATE_ONLY) == 0 && host_arena_open(&host, &err) < 0) {
        host_refuse(&host, WIRE_FAIL_INIT, err.message);
        return;
    }
    if ((host.init.flags & WIRE_INIT_MIGRATE_ONLY) == 0) {
        host_stage(&host, WIRE_FAIL_INIT);
        int rc = m->init(&host.api, &host.self);
        if (rc != 0) {
            char text[64];
            snprintf(text, sizeof text, "init answered %d", rc);
            host_refuse(&host, WIRE_FAIL_INIT, text);
            return;
        }
    }
    host_done(&host, WIRE_OK, NULL, -1);
    struct link_map *map; /* it is READY, and there is a while before its LOAD */
    if ((host.init.flags & WIRE_INIT_WARM) != 0 && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0)
        host_warm(map->l_addr);
}

static void on_expired(uint64_t token)
{
    host.arena_touched = true;
    const struct cloche_module *m = host.module;
    const struct cloche_timer_handler_v1 *t =
        m->get_extension != NULL ? m->get_extension(host.self, CLOCHE_TIMER_ID) : NULL;
    if (t != NULL)
        t->expired(host.self, token);
}

static void on_ended(uint64_t child, int status)
{
    host.arena_touched = true;
    const struct cloche_module *m = host.module;
    const struct cloche_children_handler_v1 *c =
        m->get_extension != NULL ? m->get_extension(host.self, CLOCHE_CHILDREN_ID) : NULL;
    if (c != NULL)
        c->ended(host.self, child, status);
}

static _Noreturn void on_stop(int reason)
{
    if (host.module != NULL && host.module->stop != NULL &&
        (host.init.flags & WIRE_INIT_MIGRATE_ONLY) == 0)
        host.module->stop(host.self, reason);
    host_flush(&host);
    fflush(NULL);
    _exit(0);
}

/** Is it answered by DONE? */
static bool asks(unsigned type)
{
    return type != WIRE_REQUEST && type != WIRE_EXPIRED && type != WIRE_ENDED;
}

static void on_record(const struct wire_record *r, const void *payload, const int *fds,
                      int fd_count)
{
    int fd = fd_count > 0 ? fds[0] : -1;
    if (r->type == WIRE_STOP)
        on_stop((int)r->value);
    if (r->type == WIRE_INIT) {
        on_init(r, payload, fds, fd_count);
        return;
    }
    if (host.module == NULL)
        return; /* refused: only STOP is left */
    if (asks(r->type))
        host_finish(&host);
    if (r->type == WIRE_REQUEST)
        on_request(r, payload, fd);
    else if (r->type == WIRE_SETTLE || r->type == WIRE_SAVE || r->type == WIRE_COPY)
        host_defer(&host, r);
    else if (r->type == WIRE_GIVE)
        host_save(&host, r);
    else if (r->type == WIRE_SEAL)
        host_seal(&host);
    else if (r->type == WIRE_LOAD)
        host_load(&host, fd);
    else if (r->type == WIRE_MIGRATE)
        host_migrate(&host, r, fd);
    else if (r->type == WIRE_PING || (r->type == WIRE_HEALTH && host_healthy(&host)))
        host_done(&host, WIRE_OK, NULL, -1);
    else if (r->type == WIRE_EXPIRED)
        on_expired(r->id);
    else if (r->type == WIRE_ENDED)
        on_ended(r->id, (int)r->value);
}

/** When memory ends a worker goes before the process that watches it, whose end tells less. */
static void go_first(void)
{
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (n <= 0)
        return; /* a sandbox without /proc */
    text[n] = '\0';
    long score = strtol(text, NULL, 10) + 100;
    n = snprintf(text, sizeof text, "%ld", score < 1000 ? score : 1000);
    if (pwrite(fd, text, (size_t)n, 0) < 0)
        return;
}

/* The kernel takes the memory of a dying process apart before its files, which is most of the time
 * until the keeper hears of a crash. A close(2) here tells it at once, and the processor is for
 * those who now answer; then the process dies of the same signal as without. A module may have
 * handlers of its own, which replace or call this one. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
    (void)context;
    close(WIRE_SOCKET);
    nanosleep(&(struct timespec){.tv_nsec = CRASH_NS}, NULL);
    signal(sig, SIG_DFL);
    if (info->si_code <= 0) /* sent: else the instruction is met again */
        raise(sig);
}

static void catch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static unsigned char stack[CRASH_STACK]; /* for one that has used up its own */
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    const struct sigaction catch = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &catch, NULL);
}

/** The next packet, which is in the box still when it is large; its size. Not @wait: 0 when there
 * is none yet. */
static size_t hear(const void **ret, bool *ret_boxed, int *fds, int *fd_count, bool wait)
{
    static _Alignas(8) unsigned char packet[WIRE_PACKET_MAX];
    struct mailbox *m = &host.box;
    *fd_count = 0;
    *ret_boxed = false;
    *ret = packet;
    while (m->in != NULL && !mailbox_waiting(m)) {
        if (!wait)
            return 0;
        if (mailbox_wait(m, -1) <= 0)
            _exit(0); /* nobody is left */
    }
    uint64_t number = 0, next = m->in != NULL ? m->taken + 1 : 0;
    long n;
    if (mailbox_full(m)) {
        n = mailbox_look(m, ret);
        number = next;
        *ret_boxed = n > MAILBOX_SMALL;
        if (!*ret_boxed) {
            mailbox_take(m, packet);
            *ret = packet;
        }
    } else {
        n = wire_receive(WIRE_SOCKET, &number, packet, sizeof packet, fds, fd_count, 0);
        if (m->in != NULL)
            mailbox_taken(m);
    }
    if (n <= 0 || number != next)
        _exit(n != 0);
    return (size_t)n;
}

int main(void)
{
    go_first();
    catch_crashes();
    unsetenv("CLOCHE_READY_FD");
    fcntl(WIRE_SOCKET, F_SETFD, FD_CLOEXEC);
    for (;;) {
        int fds[WIRE_MAX_FDS], fd_count;
        const void *packet;
        bool boxed;
        size_t n = hear(&packet, &boxed, fds, &fd_count, !host_arena_moves(&host));
        if (n == 0) {
            host_arena_move(&host, true);
            continue;
        }
        flushed_ns = host_now_ns();
        struct wire_record r;
        const void *payload;
        for (size_t at = 0; wire_next(packet, n, &at, &r, &payload) > 0;)
            on_record(&r, payload, fds, fd_count);
        for (int i = 0; i < fd_count; i++)
            close(fds[i]);
        if (boxed)
            mailbox_taken(&host.box);
        host_flush(&host);
        if (host_arena_moves(&host))
            host_arena_move(&host, false);
    }
}
