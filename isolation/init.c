/* PID 1 inside: a forked copy of the parent that builds the sandbox, starts the program and then
 * only reaps, forwards signals and watches its parent. Its end is the end of the tree.
 *
 * Everything here runs between a clone and an exec of a possibly threaded caller: system calls and
 * stack memory only. All signals are blocked from before the clone; SIGCHLD is read from a
 * signalfd. */
#include "base/cleanup.h"
#include "base/syscalls.h"
#include "isolation/net.h"
#include "isolation/plan.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define PROGRAM_STACK 131072

/** What init and the program's process both see. */
struct start_shared {
    struct message failed;
    struct gate gate;
    int32_t alive; /* the kernel clears it and wakes init when the process lets go of the memory */
};

struct start {
    const struct plan *plan;
    int terminal;
    bool gated;
    struct start_shared *shared;
};

static int report(const struct plan *p, int type, int value, int fd)
{
    struct message m = {.type = type, .value = value, .child = p->child};
    return message_send(p->control, &m, fd);
}

static _Noreturn void give_up(const struct plan *p, const struct message *failed)
{
    message_send(p->control, failed, -1);
    _exit(1);
}

static int take_identity(const struct idmap *m)
{
    if (!m->deny_setgroups && syscall(SYS_setgroups, 0, NULL) < 0)
        return -1;
    /* the raw calls: libc's would also tell other threads, and there are none here */
    if (syscall(SYS_setresgid, m->setup_gid, m->setup_gid, m->setup_gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, m->setup_uid, m->setup_uid, m->setup_uid);
}

/** Into v1 groups: by oneself and while there is one thread, which spares the kernel its big lock.
 */
static int join(const int *tasks, unsigned count)
{
    int failures = 0;
    for (unsigned i = 0; i < count; i++) {
        failures += write(tasks[i], "0", 1) != 1;
        close(tasks[i]);
    }
    return failures == 0 ? 0 : -1;
}

/** Wait for the parent's next word, and enter the groups that come with it. Returns its value. */
static int wait_for(const struct plan *p, int type)
{
    struct message m, failed = {0};
    for (;;) {
        int groups[PACKET_MAX_FDS];
        unsigned count;
        if (message_receive_fds(p->control, &m, groups, PACKET_MAX_FDS, &count, 0) <= 0)
            _exit(1); /* nobody is left to build for */
        if (join(groups, count) < 0) {
            step_failed(&failed, STEP_CGROUP_JOIN, NULL);
            give_up(p, &failed);
        }
        if (m.type == type)
            return m.value;
    }
}

static int build(struct plan *p, struct mount_built *ret, struct message *failed)
{
    const struct spec *spec = p->spec;
    if (setsid() < 0)
        return step_failed(failed, STEP_SESSION, NULL);
    if (p->serve != NULL) { /* now: with the change of ids this file becomes root's */
        p->oom_score_fd = openat(p->host_proc, "self/oom_score_adj", O_RDWR | O_CLOEXEC);
        if (p->oom_score_fd < 0)
            return step_failed(failed, STEP_OOM_SCORE, NULL);
        /* it is that of the PID namespace of whoever writes; a kernel need not have it */
        p->last_pid_fd = openat(p->host_proc, "sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    }
    wait_for(p, MESSAGE_GO);
    if (p->late) {
        if (namespaces_enter_late(p, failed) < 0)
            return -1;
        if (report(p, MESSAGE_LATE, 0, -1) < 0)
            _exit(1);
        wait_for(p, MESSAGE_GO);
    }
    if (take_identity(&p->idmap) < 0)
        return step_failed(failed, STEP_SETUP_IDENTITY, NULL);
    /* after the last change of ids, which clears it; a parent that died before shows as the
     * socket's end */
    int tied = p->kill_fd < 0 ? prctl(PR_SET_PDEATHSIG, SIGKILL)
                              /* it must live on, to end the others */
                              : prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (tied < 0)
        return step_failed(failed, STEP_PARENT_DEATH, NULL);
    if (spec->ns_new[NS_UTS] && spec->hostname != NULL &&
        sethostname(spec->hostname, strlen(spec->hostname)) < 0)
        return step_failed(failed, STEP_HOSTNAME, spec->hostname);
    if (spec->ns_new[NS_UTS] && spec->domainname != NULL &&
        setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
        return step_failed(failed, STEP_DOMAINNAME, spec->domainname);
    if (spec->ns_new[NS_TIME]) {
        if (unshare(CLONE_NEWTIME) < 0 || report(p, MESSAGE_SYNC_TIME, 0, -1) < 0)
            return step_failed(failed, STEP_TIME_NAMESPACE, NULL);
        wait_for(p, MESSAGE_GO);
    }
    if (spec->network == NETWORK_LOOPBACK && spec->ns_new[NS_NETWORK] && net_loopback_up() < 0)
        return step_failed(failed, STEP_LOOPBACK, NULL);
    if (mount_build(p, ret, failed) < 0)
        return -1;
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return step_failed(failed, STEP_UNTRACEABLE, NULL);
    return 0;
}

int init_make_terminal(const struct plan *p, struct message *failed)
{
    _cleanup_close_ int outer =
        sys_openat2(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, RESOLVE_NO_SYMLINKS);
    int unlock = 0;
    if (outer < 0 || ioctl(outer, TIOCSPTLCK, &unlock) < 0)
        return step_failed(failed, STEP_TERMINAL, NULL);
    _cleanup_close_ int inner = ioctl(outer, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (inner < 0 || fchown(inner, p->spec->uid, (gid_t)-1) < 0 ||
        report(p, MESSAGE_TERMINAL, 0, outer) < 0)
        return step_failed(failed, STEP_TERMINAL, NULL);
    return TAKE_FD(inner);
}

static int program_main(void *arg)
{
    const struct start *s = arg;
    program_exec(s->plan, s->terminal, s->gated ? &s->shared->gate : NULL, &s->shared->failed);
    return 127;
}

/** Enter the new root while the program's process prepares; then wait until that has exec'd or
 * given up. An unmount waits for RCU, so the two hardly cost more than one. They share errno: only
 * a call that fails writes it, and a failure on either side ends the launch. */
static int enter_beside(const struct mount_built *built, struct start_shared *shared,
                        struct message *failed)
{
    int rc = mount_enter(built, failed), alive;
    __atomic_store_n(&shared->gate.state, rc < 0 ? GATE_FAILED : GATE_OPEN, __ATOMIC_RELEASE);
    syscall(SYS_futex, &shared->gate.state, FUTEX_WAKE, 1, NULL, NULL, 0);
    while ((alive = __atomic_load_n(&shared->alive, __ATOMIC_ACQUIRE)) != 0)
        syscall(SYS_futex, &shared->alive, FUTEX_WAIT, alive, NULL, NULL, 0);
    return rc;
}

/** The program's process shares init's memory until it execs, as after vfork: init resumes when
 * that has happened or failed. A time namespace is entered by a fork only, so then the memory is
 * copied. */
pid_t init_start_program(const struct plan *p, int terminal, const struct mount_built *built,
                         struct start_room *room, struct message *failed)
{
    bool copy = p->spec->ns_new[NS_TIME];
    if (copy && built != NULL && mount_enter(built, failed) < 0)
        return -1;
    if (room->stack == NULL) {
        void *shared = mmap(NULL, sizeof *room->shared, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        void *memory = mmap(NULL, PROGRAM_STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (shared == MAP_FAILED || memory == MAP_FAILED)
            return step_failed(failed, STEP_START_PROGRAM, NULL);
        *room = (struct start_room){shared, memory};
    }
    struct start_shared *shared = room->shared;
    char *stack = room->stack;
    *shared = (struct start_shared){.alive = 1};
#ifdef __SANITIZE_ADDRESS__
    /* an exec returns from no frame: those of the program before, in the same place, are still
     * marked */
    __asan_unpoison_memory_region(stack, PROGRAM_STACK);
#endif
    struct start s = {
        .plan = p, .terminal = terminal, .gated = built != NULL && !copy, .shared = shared};
    int flags = SIGCHLD | (copy ? 0 : CLONE_VM);
    shared->gate.root = s.gated ? built->root : -1;
    pid_t pid = clone(program_main, stack + PROGRAM_STACK,
                      flags | (s.gated ? CLONE_CHILD_CLEARTID : CLONE_VFORK), &s, NULL, NULL,
                      &shared->alive);
    if (pid < 0)
        return step_failed(failed, STEP_START_PROGRAM, NULL);
    if (s.gated && enter_beside(built, shared, failed) < 0)
        return -1;
    if (shared->failed.type == MESSAGE_FAILED) {
        *failed = shared->failed;
        return -1;
    }
    return pid;
}

int init_close_others(const int *keep, size_t count)
{
    for (int from = 0;;) {
        int next = -1;
        for (size_t i = 0; i < count; i++) {
            if (keep[i] >= from && (next < 0 || keep[i] < next))
                next = keep[i];
        }
        if (next < 0)
            return sys_close_range((unsigned)from, ~0U, 0);
        if (next > from && sys_close_range((unsigned)from, (unsigned)next - 1, 0) < 0)
            return -1;
        from = next + 1;
    }
}

static int set_capabilities(bool effective, bool permitted)
{
    const uint32_t kept[2] = {1U << CAP_KILL, 0};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        const uint32_t all = data[i].permitted;
        data[i] = (struct __user_cap_data_struct){
            .effective = effective ? all : all & kept[i],
            .permitted = permitted ? all : all & kept[i],
        };
    }
    return (int)syscall(SYS_capset, &header, data);
}

int init_drop_capabilities(bool for_now)
{
    return set_capabilities(false, for_now);
}

int init_raise_capabilities(void)
{
    return set_capabilities(true, true);
}

/** The end of PID 1 ends the rest, by the kernel; of another init, by the control group. */
static _Noreturn void end(const struct plan *p, int status)
{
    namespaces_end_tree(p);
    _exit(status);
}

static _Noreturn void serve(const struct plan *p, pid_t program, int child_events)
{
    struct pollfd fds[2] = {{.fd = p->control, .events = POLLIN},
                            {.fd = child_events, .events = POLLIN}};
    for (;;) {
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
            if (pid == program) {
                /* the time is taken here: the parent may look much later */
                struct message m = {
                    .type = MESSAGE_EXITED, .value = status, .time_ns = plan_now_ns()};
                message_send(p->control, &m, -1);
                end(p, 0);
            }
        }
        if (poll(fds, 2, -1) < 0)
            continue;
        struct signalfd_siginfo info;
        if ((fds[1].revents & POLLIN) != 0 && read(child_events, &info, sizeof info) < 0)
            continue;
        if (fds[0].revents != 0) {
            struct message m;
            if (message_receive(p->control, &m, NULL, 0) <= 0)
                end(p, 1);
            if (m.type == MESSAGE_SIGNAL)
                kill(program, m.value);
        }
    }
}

/** The command line that init was copied with names files of the host. */
static void rename_self(const struct plan *p)
{
    static const char name[] = "cloche-init";
    if (p->arguments == NULL || p->arguments_bytes < sizeof name)
        return;
    memset(p->arguments, 0, p->arguments_bytes);
    memcpy(p->arguments, name, sizeof name);
}

_Noreturn void init_main(struct plan *p)
{
    struct message failed = {0};
    struct mount_built built = {.root = -1};
    rename_self(p);
    /* where SIGCHLD is ignored there is nobody to reap */
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR) {
        step_failed(&failed, STEP_START_PROGRAM, NULL);
        give_up(p, &failed);
    }
    const bool beside =
        p->quiet && p->serve == NULL; /* the root is entered as the program starts */
    if (build(p, &built, &failed) < 0 || (!beside && mount_enter(&built, &failed) < 0))
        give_up(p, &failed);
    int terminal = p->spec->terminal ? init_make_terminal(p, &failed) : -1;
    if (p->spec->terminal && terminal < 0)
        give_up(p, &failed);

    sigset_t child_only;
    sigemptyset(&child_only);
    sigaddset(&child_only, SIGCHLD);
    int child_events = signalfd(-1, &child_only, SFD_CLOEXEC);
    if (child_events < 0) {
        step_failed(&failed, STEP_START_PROGRAM, NULL);
        give_up(p, &failed);
    }
    if (!p->quiet && report(p, MESSAGE_READY, 0, -1) < 0)
        _exit(1);
    p->fallbacks = (unsigned)wait_for(p, MESSAGE_START);
    /* a cgroup namespace shows the groups that its maker was in: made again after joining v1's */
    if (((p->clone_flags | p->late_flags) & CLONE_NEWCGROUP) != 0 && unshare(CLONE_NEWCGROUP) < 0) {
        step_failed(&failed, STEP_CGROUP_JOIN, NULL);
        give_up(p, &failed);
    }

    if (p->serve != NULL) {
        p->serve(p, child_events);
        _exit(1);
    }

    uint64_t start_ns = plan_now_ns();
    struct start_room room = {NULL, NULL};
    pid_t program =
        init_start_program(p, terminal, beside && built.root >= 0 ? &built : NULL, &room, &failed);
    if (program < 0)
        give_up(p, &failed);
    /* nothing of the host stays open here but the way up */
    if (terminal >= 0)
        close(terminal);
    const int keep[] = {p->control, child_events, p->kill_fd};
    if (init_close_others(keep, sizeof keep / sizeof *keep) < 0 ||
        init_drop_capabilities(false) < 0) {
        step_failed(&failed, STEP_CLOSE, NULL);
        give_up(p, &failed);
    }
    const struct message started = {
        .type = MESSAGE_STARTED, .value = (int)program, .time_ns = start_ns};
    if (!(p->quiet && p->filter.notifies) && message_send(p->control, &started, -1) < 0)
        _exit(1);
    serve(p, program, child_events);
}
