/* From the fork to the exec: the process that becomes the untrusted program gives up everything, in
 * the order in which the kernel still lets it. It shares init's memory until the exec (see init.c):
 * system calls and stack only. */
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/** An ignored signal would stay ignored over the exec. By the raw call: libc keeps 32 to 34 for
 * itself, and whoever was started by posix_spawn(3), as make starts everything, has them ignored.
 */
int program_reset_signals(void)
{
    const struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } reset = {.handler = SIG_DFL};
    for (int sig = 1; sig <= 64; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP &&
            syscall(SYS_rt_sigaction, sig, &reset, NULL, sizeof reset.mask) < 0)
            return -1;
    }
    return 0;
}

/** Put the streams at 0, 1, 2 and passed fds behind them; the control socket and the root directory
 * of @gate (if there is one) move out of the way first, and stand behind those then. */
static int place_fds(const struct plan *p, int terminal, const struct gate *gate, int *ret_control,
                     int *ret_root)
{
    int above = 3 + (int)p->pass_fd_count, last = above + (gate != NULL);
    int control = fcntl(p->control, F_DUPFD_CLOEXEC, last + 1);
    int root = gate != NULL ? fcntl(gate->root, F_DUPFD_CLOEXEC, last + 1) : AT_FDCWD;
    if (control < 0 || (gate != NULL && root < 0))
        return -1;
    int moved[3];
    for (int i = 0; i < 3; i++) {
        int from = p->stdio[i] >= 0 ? p->stdio[i] : terminal;
        moved[i] = fcntl(from, F_DUPFD_CLOEXEC, above);
        if (moved[i] < 0)
            return -1;
    }
    /* two rounds, so that no target is a source that is still needed */
    int passed[16];
    if (p->pass_fd_count > sizeof passed / sizeof *passed) {
        errno = E2BIG;
        return -1;
    }
    for (size_t i = 0; i < p->pass_fd_count; i++) {
        passed[i] = fcntl(p->pass_fds[i], F_DUPFD_CLOEXEC, above);
        if (passed[i] < 0)
            return -1;
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(moved[i], i) < 0)
            return -1;
    }
    for (size_t i = 0; i < p->pass_fd_count; i++) {
        if (dup2(passed[i], 3 + (int)i) < 0)
            return -1;
    }
    /* the rest is closed, not only marked: a low RLIMIT_NOFILE must leave room for what follows */
    if (dup3(control, above, O_CLOEXEC) < 0 || (gate != NULL && dup3(root, last, O_CLOEXEC) < 0))
        return -1;
    *ret_control = above;
    *ret_root = gate != NULL ? last : AT_FDCWD;
    return sys_close_range((unsigned)last + 1, ~0U, 0);
}

#define DEFAULT_PENDING_SIGNALS 4096

static const char *rlimit_text(int resource)
{
    static const char *const names[] = {
        "RLIMIT_CPU",      "RLIMIT_FSIZE", "RLIMIT_DATA",   "RLIMIT_STACK",
        "RLIMIT_CORE",     "RLIMIT_RSS",   "RLIMIT_NPROC",  "RLIMIT_NOFILE",
        "RLIMIT_MEMLOCK",  "RLIMIT_AS",    "RLIMIT_LOCKS",  "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE", "RLIMIT_NICE",  "RLIMIT_RTPRIO", "RLIMIT_RTTIME"};
    return resource >= 0 && resource < (int)(sizeof names / sizeof *names) ? names[resource]
                                                                           : "an rlimit";
}

static int limit(int resource, uint64_t soft, uint64_t hard, struct message *failed)
{
    struct rlimit want = {.rlim_cur = soft, .rlim_max = hard};
    if (syscall(SYS_prlimit64, 0, resource, &want, NULL) == 0)
        return 0;
    return step_failed(failed, STEP_RLIMIT, rlimit_text(resource));
}

static int set_rlimits(const struct plan *p, struct message *failed)
{
    const struct spec *spec = p->spec;
    bool core = false, pending = false;
    for (size_t i = 0; i < spec->rlimit_count; i++) {
        const struct spec_rlimit *r = &spec->rlimits[i];
        core = core || r->resource == RLIMIT_CORE;
        pending = pending || r->resource == RLIMIT_SIGPENDING;
        if (limit(r->resource, r->soft, r->hard, failed) < 0)
            return -1;
    }
    /* 1 and not 0: that is what also keeps a core_pattern pipe of the host from being run (core(5),
     * fs/coredump.c) */
    struct message unused;
    if (!core && limit(RLIMIT_CORE, 1, 1, &unused) < 0 && !p->cores_end_at_0)
        return step_failed(failed, STEP_CORE, NULL);
    /* queued signals and timers: kernel memory that the kernel bounds by the machine's size */
    struct rlimit now;
    if (!pending && getrlimit(RLIMIT_SIGPENDING, &now) < 0)
        return step_failed(failed, STEP_RLIMIT, rlimit_text(RLIMIT_SIGPENDING));
    if (!pending && now.rlim_max > DEFAULT_PENDING_SIGNALS &&
        limit(RLIMIT_SIGPENDING, DEFAULT_PENDING_SIGNALS, DEFAULT_PENDING_SIGNALS, failed) < 0)
        return -1;
    if ((p->fallbacks & PLAN_FALLBACK_MEMORY) != 0 &&
        limit(RLIMIT_AS, spec->resources.memory_bytes, spec->resources.memory_bytes, failed) < 0)
        return -1;
    if ((p->fallbacks & PLAN_FALLBACK_PROCESSES) != 0 &&
        limit(RLIMIT_NPROC, spec->resources.processes, spec->resources.processes, failed) < 0)
        return -1;
    uint64_t seconds = (spec->cpu_time_ms + 999) / 1000;
    if ((p->fallbacks & PLAN_FALLBACK_CPU) != 0 &&
        limit(RLIMIT_CPU, seconds, seconds + 1, failed) < 0)
        return -1;
    return 0;
}

static int take_identity(const struct plan *p)
{
    const struct spec *spec = p->spec;
    if (!p->idmap.deny_setgroups &&
        syscall(SYS_setgroups, spec->additional_gid_count, spec->additional_gids) < 0)
        return -1;
    if (syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid);
}

/** A working directory outside the root shows as "(unreachable)": refused, wherever it came from.
 */
static int change_directory(const char *cwd)
{
    char seen[PATH_MAX];
    if (chdir(cwd) < 0)
        return -1;
    long n = syscall(SYS_getcwd, seen, sizeof seen);
    if (n > 0 && seen[0] == '/')
        return 0;
    errno = n > 0 ? ENOENT : errno;
    return -1;
}

/** execvp(3) without malloc, over the PATH of the sandbox. errno is the most telling of all tries.
 */
static void search_and_exec(const struct plan *p)
{
    char *const *argv = p->spec->args.items, *const *env = p->spec->env.items;
    const char *name = argv[0];
    if (p->program != 0) {
        if (fcntl(p->program, F_SETFD, FD_CLOEXEC) == 0)
            syscall(SYS_execveat, p->program, "", argv, env, AT_EMPTY_PATH);
        return;
    }
    if (strchr(name, '/') != NULL) {
        execve(name, argv, env);
        return;
    }
    char path[PATH_MAX];
    size_t name_len = strlen(name);
    int kept = ENOENT;
    for (const char *dir = p->path_env; *dir != '\0' && name_len != 0;) {
        size_t n = strcspn(dir, ":");
        if (n != 0 && n + 1 + name_len < sizeof path) {
            memcpy(path, dir, n);
            path[n] = '/';
            memcpy(path + n + 1, name, name_len + 1);
            execve(path, argv, env);
            if (errno != ENOENT && errno != ENOTDIR)
                kept = errno;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
                break;
        }
        dir += n + (dir[n] == ':');
    }
    errno = kept;
}

/** Wait for init, which enters the new root. */
static int pass(struct gate *gate)
{
    uint32_t seen;
    while ((seen = __atomic_load_n(&gate->state, __ATOMIC_ACQUIRE)) == GATE_SHUT)
        syscall(SYS_futex, &gate->state, FUTEX_WAIT, GATE_SHUT, NULL, NULL, 0);
    return seen == GATE_OPEN ? 0 : -1;
}

void program_exec(const struct plan *p, int terminal, struct gate *gate, struct message *failed)
{
    const struct spec *spec = p->spec;
    int control, root;
    if ((p->child == 0 && program_reset_signals() < 0) || setsid() < 0) {
        step_failed(failed, STEP_SESSION, NULL);
        return;
    }
    if (terminal >= 0 && ioctl(terminal, TIOCSCTTY, 0) < 0) {
        step_failed(failed, STEP_TERMINAL, NULL);
        return;
    }
    if (place_fds(p, terminal, gate, &control, &root) < 0) {
        step_failed(failed, STEP_STREAMS, NULL);
        return;
    }
    if (spec->personality != UINT32_MAX && personality(spec->personality) < 0) {
        step_failed(failed, STEP_PERSONALITY, NULL);
        return;
    }
    umask(spec->umask == (mode_t)-1 ? 0022 : spec->umask);
    if (spec->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        step_failed(failed, STEP_CAPS, NULL);
        return;
    }
    const char *rule = NULL;
    if (landlock_apply(&p->landlock, root, &rule) < 0) {
        step_failed(failed, STEP_LANDLOCK, rule != NULL ? rule : "(rule set)");
        return;
    }
    if (root >= 0)
        close(root);
    if (set_rlimits(p, failed) < 0) /* after Landlock, which opens files */
        return;
    /* in a serving sandbox init has emptied the bounding set */
    if ((p->child == 0 && caps_drop_bounding(&p->caps) < 0) || caps_keep_over_identity() < 0) {
        step_failed(failed, STEP_CAPS_BOUNDING, NULL);
        return;
    }
    if (take_identity(p) < 0) {
        step_failed(failed, STEP_IDENTITY, NULL);
        return;
    }
    if (gate != NULL && pass(gate) < 0)
        return; /* init says why */
    if (change_directory(spec->cwd) < 0) {
        step_failed(failed, STEP_CWD, spec->cwd);
        return;
    }
    if (caps_apply(&p->caps) < 0) {
        step_failed(failed, STEP_CAPS, NULL);
        return;
    }
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) {
        step_failed(failed, STEP_SESSION, NULL);
        return;
    }
    if (p->filter.instructions != NULL) {
        int listener = seccomp_filter_load(&p->filter);
        struct message m = {.type = MESSAGE_LISTENER, .child = p->child, .time_ns = plan_now_ns()};
        if (listener < 0 || (p->filter.notifies && message_send(control, &m, listener) < 0)) {
            step_failed(failed, STEP_FILTER, NULL);
            return;
        }
    }
    search_and_exec(p);
    step_failed(failed, STEP_EXEC, spec->args.items[0]);
}
