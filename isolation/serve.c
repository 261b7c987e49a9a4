/* Init of a serving sandbox: makes children on demand, each in a PID namespace of its own, so that
 * whatever a child forks dies with it.
 *
 *   init (PID 1)      this loop: SPAWN and CHILD_SIGNAL from above, reaping below; keeps its
 *     |               capabilities in the sandbox's user namespace, for the children's sake
 *     +- guard        a fork of init; PID 1 of the child's namespace: makes a /proc for it, reads
 *          |          the command, starts the program (init.c, program.c), gives up everything but
 *          |          CAP_KILL, forwards signals, reaps orphans; ends when the program ends
 *          +- program drops everything, filters itself, execs
 *
 * EXITED goes up when nothing of a child is left. A program that ended alone is told by its guard,
 * which knows that it has no children any more and need not be waited for: its own end, with that
 * of its namespaces, takes as long as a short program. Else the guard leaves the status in a page
 * that it shares with init, and when init has reaped the guard, the kernel has ended the others.
 *
 * All signals are blocked, so that even those with a default action reach a guard's signalfd: a
 * namespace's PID 1 ignores them otherwise (kill(2)). As in init.c: system calls and stack only. */
#include "isolation/spawn.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

struct slot {      /* in memory shared with the guard */
    int32_t child; /* 0: free */
    pid_t guard;
    int32_t status;
    uint64_t end_ns;
    bool exited, failed;
    bool alone;    /* the guard has no children any more, and answers */
    bool answered; /* it has; unset if it was killed before */
};

struct request {
    struct message message;
    int fds[SPAWN_MAX_FDS];
    unsigned fd_count;
};

static void close_all(struct request *r)
{
    for (unsigned i = 0; i < r->fd_count; i++)
        close(r->fds[i]);
    r->fd_count = 0;
}

bool spawn_parse(const void *file, size_t size, char **pointers, struct spawn_parsed *ret)
{
    const struct spawn_command *head = file;
    if (size < sizeof *head || head->magic != SPAWN_MAGIC || head->bytes != size - sizeof *head ||
        head->arg_count == 0 || head->arg_count > SPAWN_MAX_STRINGS ||
        head->env_count > SPAWN_MAX_STRINGS - head->arg_count || head->terminal > 1 ||
        head->has_ready > 1 || head->has_program > 1 || head->open > OPEN_CONNECT)
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

static bool read_command(int fd, struct spawn_parsed *ret)
{
    struct stat st;
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed || fstat(fd, &st) < 0 || st.st_size < 0 ||
        st.st_size > SPAWN_MAX_BYTES)
        return false;
    size_t room = (SPAWN_MAX_STRINGS + 2) * sizeof(char *);
    void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    char **pointers = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return file != MAP_FAILED && pointers != MAP_FAILED &&
           spawn_parse(file, (size_t)st.st_size, pointers, ret);
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

static struct message exited(int32_t child, int status, uint64_t end_ns, const struct rusage *usage)
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

/** The program has ended. Whatever it left has PID 1, the guard, for its parent by now, or for one
 * of its forefathers: no child, nobody. */
static _Noreturn void program_ended(const struct plan *p, struct slot *slot, int status)
{
    struct rusage usage;
    pid_t other;
    slot->end_ns = plan_now_ns();
    slot->status = status;
    slot->exited = true;
    do
        other = waitpid(-1, NULL, WNOHANG | __WALL);
    while (other > 0);
    if (other < 0 && errno == ECHILD && getrusage(RUSAGE_CHILDREN, &usage) == 0) {
        const struct message m = exited(slot->child, status, slot->end_ns, &usage);
        slot->alone = true; /* before the answer, upon which the next command may come at once */
        slot->answered = message_send(p->control, &m, -1) == 0;
    }
    _exit(0);
}

/** PID 1 of the child's namespace, once the program runs. */
static _Noreturn void watch_program(const struct plan *p, struct slot *slot, pid_t program,
                                    int signals)
{
    for (;;) {
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
            if (pid == program)
                program_ended(p, slot, status);
        }
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof info) == (ssize_t)sizeof info && info.ssi_signo != SIGCHLD)
            kill(program, (int)info.ssi_signo);
    }
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
                         write ? 0644 : 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
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

static _Noreturn void guard_main(const struct plan *own, struct slot *slot, struct request *r)
{
    struct plan p = *own;
    struct spec spec = *own->spec;
    struct spawn_parsed command;
    struct message failed = {0};
    p.child = slot->child;
    p.spec = &spec;
    errno = EINVAL;
    if (r->fd_count < 1 || !read_command(r->fds[0], &command)) {
        step_failed(&failed, STEP_START_PROGRAM, NULL);
        give_up(&p, slot, &failed);
    }
    const struct spawn_command *head = command.head;
    if (head->open == OPEN_CONNECT)
        wait_for_socket(&p, slot, &command);
    if (head->open != OPEN_NOTHING)
        open_file(&p, slot, &command);
    if (mount_own_proc(&p, &failed) < 0)
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

    int terminal = -1, signals = open_signals();
    if (signals < 0) {
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
    struct message started = {
        .type = MESSAGE_STARTED, .child = slot->child, .time_ns = plan_now_ns()};
    pid_t program = init_start_program(&p, terminal, NULL, &failed);
    if (program < 0)
        give_up(&p, slot, &failed);
    int self = sys_pidfd_open(1, 0);
    if (message_send(p.control, &started, self) < 0)
        _exit(1);
    const int keep[] = {signals, p.control};
    if (init_close_others(keep, sizeof keep / sizeof *keep) < 0 || init_drop_capabilities() < 0)
        _exit(1); /* the program dies with us */
    watch_program(&p, slot, program, signals);
}

static struct slot *find(struct slot *slots, int32_t child)
{
    for (int i = 0; i < SPAWN_MAX_CHILDREN; i++) {
        if (slots[i].child == child)
            return &slots[i];
    }
    return NULL;
}

/** Reap one; false when there was none. @options: WNOHANG, or 0 to wait for it. */
static bool reap(const struct plan *p, struct slot *slots, int options)
{
    int status;
    struct rusage usage;
    pid_t pid = wait4(-1, &status, options | __WALL, &usage);
    for (int i = 0; pid > 0 && i < SPAWN_MAX_CHILDREN; i++) {
        struct slot *slot = &slots[i];
        if (slot->child == 0 || slot->guard != pid)
            continue;
        /* a guard that was killed took its program with it */
        const struct message m = exited(slot->child, slot->exited ? slot->status : status,
                                        slot->exited ? slot->end_ns : plan_now_ns(), &usage);
        bool told = slot->failed || slot->answered;
        slot->child = 0;
        if (!told && message_send(p->control, &m, -1) < 0)
            _exit(1);
        break;
    }
    return pid > 0;
}

/** A guard that has answered is still a process of the sandbox, and has a slot. None is left when
 * the next command begins, which may need the last process that the limit allows. Killed, because
 * it may have been stopped. */
static void reap_answered(const struct plan *p, struct slot *slots)
{
    for (int i = 0; i < SPAWN_MAX_CHILDREN; i++) {
        if (slots[i].child == 0 || !slots[i].alone)
            continue;
        kill(slots[i].guard, SIGKILL);
        while (slots[i].child != 0 && reap(p, slots, 0))
            ;
    }
}

/* When memory ends, what runs in the sandbox goes before its init, with which all of it would go: a
 * child inherits a higher score, and init may lower its own again to what it was. 10 % of the limit
 * is more than init ever has. */
#define OOM_SCORE_STEP 100
#define OOM_SCORE_MAX  1000

static int higher_oom_score(int score)
{
    return score < OOM_SCORE_MAX - OOM_SCORE_STEP ? score + OOM_SCORE_STEP : OOM_SCORE_MAX;
}

static int read_oom_score(int fd)
{
    char text[12];
    ssize_t n = pread(fd, text, sizeof text, 0);
    int score = 0;
    for (ssize_t i = 0; i < n && text[i] != '\n'; i++)
        score = text[i] == '-' ? score : score * 10 + (text[i] - '0');
    return n > 0 && text[0] == '-' ? -score : score;
}

static void spawn(const struct plan *p, struct slot *slots, int oom_score, struct request *r)
{
    struct message failed = {0};
    int32_t child = r->message.child;
    reap_answered(p, slots);
    struct slot *slot = child > 0 && find(slots, child) == NULL ? find(slots, 0) : NULL;
    pid_t pid = -1;
    errno = EAGAIN;
    if (slot != NULL && oom_score_write(p->oom_score_fd, higher_oom_score(oom_score)) == 0) {
        *slot = (struct slot){.child = child};
        struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
        pid = sys_clone3(&args);
        if (pid == 0)
            guard_main(p, slot, r);
        oom_score_write(p->oom_score_fd, oom_score);
    }
    if (pid > 0) {
        slot->guard = pid;
        return;
    }
    step_failed(&failed, STEP_START_PROGRAM, NULL);
    failed.child = child;
    if (slot != NULL)
        slot->child = 0;
    message_send(p->control, &failed, -1);
}

void serve_main(const struct plan *p, int child_events)
{
    const struct message started = {.type = MESSAGE_STARTED, .time_ns = plan_now_ns()};
    const size_t room = SPAWN_MAX_CHILDREN * sizeof(struct slot);
    struct slot *slots =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const int keep[] = {p->control, child_events, p->oom_score_fd};
    const int oom_score = read_oom_score(p->oom_score_fd);
    /* signals and the bounding set: what every child would else do for itself */
    if (slots == MAP_FAILED || program_reset_signals() < 0 || caps_drop_bounding(&p->caps) < 0 ||
        init_close_others(keep, sizeof keep / sizeof *keep) < 0 ||
        message_send(p->control, &started, -1) < 0)
        _exit(1);
    struct pollfd fds[2] = {{.fd = p->control, .events = POLLIN},
                            {.fd = child_events, .events = POLLIN}};
    for (;;) {
        while (reap(p, slots, WNOHANG))
            ;
        if (poll(fds, 2, -1) < 0)
            continue;
        struct signalfd_siginfo info;
        if ((fds[1].revents & POLLIN) != 0 && read(child_events, &info, sizeof info) < 0)
            continue;
        if (fds[0].revents == 0)
            continue;
        struct request r;
        int rc = message_receive_fds(p->control, &r.message, r.fds, SPAWN_MAX_FDS, &r.fd_count, 0);
        if (rc == 0)
            _exit(1); /* nobody is left to serve: the kernel ends the rest */
        if (rc < 0)
            continue;
        if (r.message.type == MESSAGE_SPAWN) {
            spawn(p, slots, oom_score, &r);
        } else if (r.message.type == MESSAGE_CHILD_SIGNAL && r.message.child > 0) {
            const struct slot *slot = find(slots, r.message.child);
            if (slot != NULL && slot->guard > 0)
                kill(slot->guard, r.message.value);
        }
        close_all(&r);
    }
}
