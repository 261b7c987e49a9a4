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
 * Such a guard, alone in namespaces that are as they were, waits a moment for the next command,
 * which is spared their making: init hands it down over a socket. Only where the program could do
 * nothing to its guard, or to the guard's namespaces (guard_may_stay()), and only one at a time.
 *
 * All signals are blocked, so that even those with a default action reach a guard's signalfd: a
 * namespace's PID 1 ignores them otherwise (kill(2)). As in init.c: system calls and stack only. */
#include "isolation/guard.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void close_all(struct request *r)
{
    for (unsigned i = 0; i < r->fd_count; i++)
        close(r->fds[i]);
    r->fd_count = 0;
}

static struct slot *find(struct slots *slots, int32_t child)
{
    for (int i = 0; i < slots->used; i++) {
        if (slots->slot[i].child == child)
            return &slots->slot[i];
    }
    return NULL;
}

static struct slot *find_free(struct slots *slots)
{
    struct slot *slot = find(slots, 0);
    if (slot != NULL || slots->used == SPAWN_MAX_CHILDREN)
        return slot;
    return &slots->slot[__atomic_fetch_add(&slots->used, 1, __ATOMIC_RELAXED)];
}

/** Reap one; false when there was none. @options: WNOHANG, or 0 to wait for it. */
static bool reap(const struct plan *p, struct slots *slots, int options)
{
    int status;
    struct rusage usage;
    pid_t pid = wait4(-1, &status, options | __WALL, &usage);
    for (int i = 0; pid > 0 && i < slots->used; i++) {
        struct slot *slot = &slots->slot[i];
        if (slot->child == 0 || slot->guard != pid)
            continue;
        /* a guard that was killed took its program with it */
        const struct message m = guard_exited(slot->child, slot->exited ? slot->status : status,
                                              slot->exited ? slot->end_ns : plan_now_ns(), &usage);
        bool told = slot->failed || slot->answered == slot->child;
        cleanup_close(&slot->channel);
        slot->state = GUARD_BUSY;
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
static void reap_answered(const struct plan *p, struct slots *slots)
{
    for (int i = 0; i < slots->used; i++) {
        const struct slot *slot = &slots->slot[i];
        if (slot->child == 0 || __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == GUARD_BUSY)
            continue;
        kill(slot->guard, SIGKILL);
        while (slot->child != 0 && reap(p, slots, 0))
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

/** Give the command to a guard that waits for one; false: there is none. */
static bool hand_down(struct slots *slots, const struct request *r)
{
    for (int i = 0; i < slots->used; i++) {
        struct slot *slot = &slots->slot[i];
        int waits = GUARD_WAITS;
        /* one that is killed before it has told of its last command leaves that to us */
        if (slot->child == 0 || slot->signalled ||
            __atomic_load_n(&slot->answered, __ATOMIC_ACQUIRE) != slot->child ||
            !__atomic_compare_exchange_n(&slot->state, &waits, GUARD_BUSY, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        const int32_t before = slot->child;
        slot->exited = false;
        slot->child = r->message.child;
        if (message_send_fds(slot->channel, &r->message, r->fds, r->fd_count) == 0)
            return true;
        slot->child = before; /* it was killed, and that told already */
        __atomic_store_n(&slot->state, GUARD_ENDS, __ATOMIC_RELEASE);
    }
    return false;
}

static pid_t make_guard(const struct plan *p, struct slots *slots, struct slot *slot,
                        struct request *r)
{
    int ends[2] = {-1, -1};
    /* asked of any other user: of which one, the command says */
    if (guard_may_stay(p, p->idmap.setup_uid + 1) &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
    pid_t pid = sys_clone3(&args);
    if (pid == 0)
        guard_main(p, slots, slot, ends[1], r);
    cleanup_close(&ends[1]);
    if (pid < 0)
        cleanup_close(&ends[0]);
    else
        slot->channel = ends[0];
    return pid;
}

static void spawn(const struct plan *p, struct slots *slots, int oom_score, struct request *r)
{
    struct message failed = {0};
    int32_t child = r->message.child;
    bool fresh = child > 0 && find(slots, child) == NULL;
    bool taken = fresh && hand_down(slots, r);
    reap_answered(p, slots);
    if (taken)
        return;
    struct slot *slot = fresh ? find_free(slots) : NULL;
    pid_t pid = -1;
    errno = EAGAIN;
    if (slot != NULL && oom_score_write(p->oom_score_fd, higher_oom_score(oom_score)) == 0) {
        *slot = (struct slot){.child = child, .channel = -1};
        pid = make_guard(p, slots, slot, r);
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
    struct slots *slots =
        mmap(NULL, sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const int keep[] = {p->control, child_events, p->oom_score_fd, p->last_pid_fd};
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
            struct slot *slot = find(slots, r.message.child);
            if (slot != NULL && slot->guard > 0) {
                slot->signalled = true;
                kill(slot->guard, r.message.value);
            }
        }
        close_all(&r);
    }
}
