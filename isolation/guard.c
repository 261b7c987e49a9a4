/* PID 1 of a child's namespaces, a fork of init: makes a /proc, reads the command, starts the
 * program and tells of its end. serve.c says where it stands in the sandbox. As there: system calls
 * and stack only. */
#include "isolation/guard.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define LINGER_MS 2000 /* how long a guard waits for another command */

bool spawn_parse(const void *file, size_t size, char **pointers, struct spawn_parsed *ret)
{
    const struct spawn_command *head = file;
    if (size < sizeof *head || head->magic != SPAWN_MAGIC || head->bytes != size - sizeof *head ||
        head->arg_count == 0 || head->arg_count > SPAWN_MAX_STRINGS ||
        head->env_count > SPAWN_MAX_STRINGS - head->arg_count || head->terminal > 1 ||
        head->has_ready > 1 || head->has_program > 1 || head->open > OPEN_CONNECT ||
        head->mode > 0777)
        return false;
    char *at = (char *)(uintptr_t)(head + 1), *const end = at + head->bytes;
    *ret = (struct spawn_parsed){
        .head = head, .argv = pointers, .env = pointers + head->arg_count + 1};
    for (uint32_t i = 0; i < 1 + head->arg_count + head->env_count; i++) {
        char *zero = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        if (zero == NULL)
            return false;
        if (i == 0)
            ret->cwd = at;
        else if (i <= head->arg_count)
            ret->argv[i - 1] = at;
        else
            ret->env[i - 1 - head->arg_count] = at;
        at = zero + 1;
    }
    ret->argv[head->arg_count] = ret->env[head->env_count] = NULL;
    return at == end && ret->argv[0][0] != '\0';
}

/** PID 1 of a child's namespace. */
struct guard {
    const struct plan *plan;
    struct slots *slots;
    struct slot *slot;
    int channel; /* the guard's end; -1 */
    int signals;
    char *command, **pointers; /* room for the largest */
    struct start_room room;
    bool stays; /* for another command */
};

static bool read_command(struct guard *g, int fd, struct spawn_parsed *ret)
{
    if (g->command == NULL) {
        const size_t pointers = (SPAWN_MAX_STRINGS + 2) * sizeof(char *);
        void *room = mmap(NULL, pointers + SPAWN_MAX_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (room == MAP_FAILED)
            return false;
        g->pointers = room;
        g->command = (char *)room + pointers;
    }
    ssize_t n = pread(fd, g->command, SPAWN_MAX_BYTES, 0);
    return n > 0 && spawn_parse(g->command, (size_t)n, g->pointers, ret);
}

static const char *path_of(char *const *env)
{
    for (; *env != NULL; env++) {
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

static _Noreturn void give_up(const struct plan *p, struct slot *slot, struct message *failed)
{
    slot->failed = true;
    failed->child = p->child;
    message_send(p->control, failed, -1);
    _exit(1);
}

struct message guard_exited(int32_t child, int status, uint64_t end_ns, const struct rusage *usage)
{
    return (struct message){
        .type = MESSAGE_EXITED,
        .child = child,
        .value = status,
        .time_ns = end_ns,
        .max_rss_kib = (int32_t)usage->ru_maxrss,
        .user_us = (uint64_t)usage->ru_utime.tv_sec * 1000000 + (uint64_t)usage->ru_utime.tv_usec,
        .system_us = (uint64_t)usage->ru_stime.tv_sec * 1000000 + (uint64_t)usage->ru_stime.tv_usec,
    };
}

static void add_usage(struct rusage *sum, const struct rusage *more)
{
    timeradd(&sum->ru_utime, &more->ru_utime, &sum->ru_utime);
    timeradd(&sum->ru_stime, &more->ru_stime, &sum->ru_stime);
    if (sum->ru_maxrss < more->ru_maxrss)
        sum->ru_maxrss = more->ru_maxrss;
}

static bool another_waits(const struct guard *g)
{
    const int used = __atomic_load_n(&g->slots->used, __ATOMIC_RELAXED);
    for (int i = 0; i < used; i++) {
        if (__atomic_load_n(&g->slots->slot[i].state, __ATOMIC_RELAXED) == GUARD_WAITS)
            return true;
    }
    return false;
}

/** The program has ended. Whatever it left has PID 1, the guard, for its parent by now, or for one
 * of its forefathers: no child, nobody. Returns if the guard waits for another command. */
static void program_ended(const struct guard *g, int status, struct rusage *usage)
{
    struct slot *slot = g->slot;
    const int32_t child = slot->child;
    struct rusage more;
    pid_t other;
    slot->end_ns = plan_now_ns();
    slot->status = status;
    slot->exited = true;
    while ((other = wait4(-1, NULL, WNOHANG | __WALL, &more)) > 0)
        add_usage(usage, &more);
    if (other == 0 || errno != ECHILD)
        _exit(0);
    const struct message m = guard_exited(child, status, slot->end_ns, usage);
    bool stays = g->stays && !another_waits(g);
    /* before the answer, upon which the next command may come at once */
    __atomic_store_n(&slot->state, stays ? GUARD_WAITS : GUARD_ENDS, __ATOMIC_RELEASE);
    if (message_send(g->plan->control, &m, -1) < 0)
        _exit(1);
    __atomic_store_n(&slot->answered, child, __ATOMIC_RELEASE);
    if (!stays)
        _exit(0);
}

/** Once the program runs; returns if the guard waits for another command. */
static void watch_program(const struct guard *g, pid_t program)
{
    struct rusage sum = {0}, usage;
    for (;;) {
        int status;
        for (pid_t pid; (pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0;) {
            add_usage(&sum, &usage);
            if (pid != program)
                continue;
            program_ended(g, status, &sum);
            return;
        }
        struct signalfd_siginfo info;
        if (read(g->signals, &info, sizeof info) == (ssize_t)sizeof info &&
            info.ssi_signo != SIGCHLD)
            kill(program, (int)info.ssi_signo);
    }
}

/** The next command. None comes to one that has waited long enough, or whose init is gone. */
static void next_command(const struct guard *g, struct request *r)
{
    struct pollfd fd = {.fd = g->channel, .events = POLLIN};
    int waits = GUARD_WAITS;
    if (poll(&fd, 1, LINGER_MS) == 0 &&
        __atomic_compare_exchange_n(&g->slot->state, &waits, GUARD_ENDS, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        _exit(0);
    if (message_receive_fds(g->channel, &r->message, r->fds, SPAWN_MAX_FDS, &r->fd_count, 0) <= 0)
        _exit(1);
}

static int open_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    return signalfd(-1, &all, SFD_CLOEXEC);
}

/** cp: with the rights of the program's user (a file system uid that is not root loses what root
 * may do to files), below the sandbox's root, through no magic link. */
static _Noreturn void open_file(const struct plan *p, struct slot *slot,
                                const struct spawn_parsed *command)
{
    struct message failed = {0}, found = {.type = MESSAGE_FILE, .child = slot->child};
    const char *path = command->argv[0];
    struct stat st;
    bool write = command->head->open == OPEN_WRITE;
    const uint64_t flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    if (!p->idmap.deny_setgroups)
        syscall(SYS_setgroups, 0, NULL);
    syscall(SYS_setfsgid, command->head->gid);
    syscall(SYS_setfsuid, command->head->uid);
    /* asked back: an id that is not valid changes nothing, and says so to nobody */
    if ((uint32_t)syscall(SYS_setfsuid, -1) != command->head->uid ||
        (uint32_t)syscall(SYS_setfsgid, -1) != command->head->gid) {
        errno = EINVAL;
        step_failed(&failed, STEP_IDENTITY, NULL);
        give_up(p, slot, &failed);
    }
    umask(0022);
    int fd = sys_openat2(AT_FDCWD, path, flags | (write ? O_WRONLY | O_CREAT : O_RDONLY),
                         write ? command->head->mode : 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        close(fd);
        fd = -1;
    }
    /* emptied only now: what is no regular file was left alone */
    if (fd < 0 || (write && ftruncate(fd, 0) < 0)) {
        step_failed(&failed, STEP_OPEN, path);
        give_up(p, slot, &failed);
    }
    message_send(p->control, &found, fd);
    slot->exited = true;
    slot->end_ns = plan_now_ns();
    _exit(0);
}

/** 0 and a connection in *@ret, or -1: not yet. */
static int try_connect(const char *name, int *ret)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
    } a = {0};
    socklen_t size = sizeof a.un;
    if (strncmp(name, "tcp:", 4) == 0) {
        unsigned port = 0;
        for (const char *p = name + 4; *p >= '0' && *p <= '9' && port < 65536; p++)
            port = port * 10 + (unsigned)(*p - '0');
        a.in = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        size = sizeof a.in;
    } else {
        a.un.sun_family = AF_UNIX;
        memcpy(a.un.sun_path, name, strnlen(name, sizeof a.un.sun_path - 1));
    }
    /* a unix socket of datagrams or packets: that somebody has bound it, or listens, must do */
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    for (size_t i = 0; i < 3; i++) {
        _cleanup_close_ int fd = socket(a.any.sa_family, types[i] | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, &a.any, size) == 0) {
            *ret = TAKE_FD(fd);
            return 0;
        }
        if (errno != EPROTOTYPE)
            break;
    }
    return -1;
}

/** Readiness by socket: as the program's user, until somebody listens. */
static _Noreturn void wait_for_socket(const struct plan *p, struct slot *slot,
                                      const struct spawn_parsed *command)
{
    struct message failed = {0}, found = {.type = MESSAGE_FILE, .child = slot->child};
    const uint32_t uid = command->head->uid, gid = command->head->gid;
    if ((!p->idmap.deny_setgroups && syscall(SYS_setgroups, 0, NULL) < 0) ||
        syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0) {
        step_failed(&failed, STEP_IDENTITY, NULL);
        give_up(p, slot, &failed);
    }
    int fd;
    for (long pause_us = 1000; try_connect(command->argv[0], &fd) < 0;) {
        /* nothing inside tells of a socket that begins to listen */
        nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000}, NULL);
        pause_us = pause_us < 25000 ? 2 * pause_us : 50000;
    }
    message_send(p->control, &found, fd);
    slot->exited = true;
    slot->end_ns = plan_now_ns();
    _exit(0);
}

bool guard_may_stay(const struct plan *p, uint32_t uid)
{
    const struct spec *spec = p->spec;
    const struct spec_capabilities *c = &spec->capabilities;
    return (c->bounding | c->permitted | c->effective | c->inheritable | c->ambient) == 0 &&
           spec->no_new_privileges && !p->joins && spec->ns_new[NS_USER] &&
           spec->ns_new[NS_MOUNT] && spec->ns_new[NS_PID] && !spec->ns_new[NS_TIME] &&
           p->last_pid_fd >= 0 && uid != p->idmap.setup_uid;
}

/** A worker sleeps most of the time, and whoever wakes it waits for it. Turns shorter than those of
 * others, of the same share, let it run at once, where otherwise who rings goes on until it sleeps:
 * a third of the time of a small call. Not to have them is no failure. */
static void take_short_turns(void)
{
    struct sys_sched_attr a;
    if (sys_sched_getattr(0, &a) < 0 || a.policy != 0 || a.runtime == 0)
        return;
    a.runtime /= 2;
    sys_sched_setattr(0, &a);
}

/** The program's pid. Whatever fails ends the guard. */
static pid_t start_command(struct guard *g, struct request *r)
{
    struct plan p = *g->plan;
    struct spec spec = *g->plan->spec;
    struct slot *slot = g->slot;
    struct spawn_parsed command;
    struct message failed = {0};
    bool first = g->signals < 0;
    p.child = slot->child;
    p.spec = &spec;
    errno = EINVAL;
    if (r->fd_count < 1 || !read_command(g, r->fds[0], &command)) {
        step_failed(&failed, STEP_START_PROGRAM, NULL);
        give_up(&p, slot, &failed);
    }
    const struct spawn_command *head = command.head;
    if (head->open == OPEN_CONNECT)
        wait_for_socket(&p, slot, &command);
    if (head->open != OPEN_NOTHING)
        open_file(&p, slot, &command);
    if (first && mount_own_proc(&p, &failed) < 0)
        give_up(&p, slot, &failed);
    const unsigned streams = head->terminal ? 0 : 3;
    if (r->fd_count != 1 + streams + head->has_ready + head->has_program) {
        step_failed(&failed, STEP_STREAMS, NULL);
        give_up(&p, slot, &failed);
    }
    spec.args = (struct strings){command.argv, head->arg_count};
    spec.env = (struct strings){command.env, head->env_count};
    spec.cwd = command.cwd;
    spec.uid = head->uid;
    spec.gid = head->gid;
    spec.terminal = head->terminal;
    p.path_env = path_of(command.env);
    for (int i = 0; i < 3; i++)
        p.stdio[i] = head->terminal ? -1 : r->fds[1 + i];
    p.pass_fds = &r->fds[1 + streams];
    p.pass_fd_count = (size_t)head->has_ready + head->has_program;
    p.program = head->has_program ? 3 + head->has_ready : 0;

    int terminal = -1;
    if (first)
        g->signals = open_signals();
    if (g->signals < 0) {
        step_failed(&failed, STEP_START_PROGRAM, NULL);
        give_up(&p, slot, &failed);
    }
    if (head->terminal) {
        terminal = init_make_terminal(&p, &failed);
        if (terminal < 0)
            give_up(&p, slot, &failed);
        struct winsize size = {.ws_row = head->rows, .ws_col = head->columns};
        if (head->rows != 0 && head->columns != 0)
            ioctl(terminal, TIOCSWINSZ, &size);
    }
    /* a given program is a module's worker: nothing of a version that lost is left when that is
     * said */
    bool stays = g->channel >= 0 && !head->has_program && guard_may_stay(g->plan, head->uid);
    /* no command finds numbers of the last */
    if (pwrite(p.last_pid_fd, "1", 1, 0) != 1) {
        stays = false;
        if (!first) {
            step_failed(&failed, STEP_START_PROGRAM, NULL);
            give_up(&p, slot, &failed);
        }
    }
    if (head->has_program)
        take_short_turns();
    struct message started = {
        .type = MESSAGE_STARTED, .child = slot->child, .time_ns = plan_now_ns()};
    pid_t program = init_start_program(&p, terminal, NULL, &g->room, &failed);
    if (program < 0)
        give_up(&p, slot, &failed);
    int self = sys_pidfd_open(1, 0);
    if (message_send(p.control, &started, self) < 0)
        _exit(1);
    g->stays = stays;
    return program;
}

void guard_main(const struct plan *p, struct slots *slots, struct slot *slot, int channel,
                struct request *r)
{
    struct guard g = {.plan = p, .slots = slots, .slot = slot, .channel = channel, .signals = -1};
    for (;;) {
        pid_t program = start_command(&g, r);
        const int keep[] = {g.signals, p->control, g.stays ? channel : -1,
                            g.stays ? p->last_pid_fd : -1};
        /* the program dies with us */
        if (init_close_others(keep, sizeof keep / sizeof *keep) < 0 ||
            init_drop_capabilities(g.stays) < 0)
            _exit(1);
        watch_program(&g, program);
        next_command(&g, r);
        if (init_raise_capabilities() < 0)
            _exit(1);
    }
}
