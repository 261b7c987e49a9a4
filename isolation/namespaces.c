/* Which namespaces a sandbox gets: new ones by the clone, and those of the spec's paths by joining.
 *
 * Joining is done by a doorstep, a fork of the caller that lives for this moment: it enters the
 * namespaces one after the other and then clones init as its sibling (CLONE_PARENT), so that init
 * is the caller's child as ever. The caller itself never changes its place, may have threads, and
 * has nothing to undo when a step fails.
 *
 *   caller --fork--> doorstep: setns(...), clone3(CLONE_PARENT) --> init
 *     ^                 |  CLONED with the pidfd, or FAILED
 *     +-----------------+
 *
 * setns(2) wants capabilities in the namespace's owner and in one's own user namespace. Who has
 * them everywhere joins the user namespace last; an ordinary user gets them by joining it first. A
 * joined PID namespace mostly belongs to another user namespace than the new one, and then nobody
 * inside may mount its procfs: init is cloned bare, makes procfs detached while it still is
 * privileged, and only then enters or makes its user namespace and the others ("late").
 *
 * The doorstep cannot be traced: where it goes, somebody else may be root (CVE-2016-9962). */
#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define AHEAD_STACK 32768
#define AHEAD_LOOKS 10000 /* up to a millisecond */

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const struct {
    const char *file, *name;
    int flag;
    bool never_shared; /* a sandbox has its own, or joins one that is not the caller's */
} namespaces[NS_COUNT] = {
    [NS_USER] = {"user", "user", CLONE_NEWUSER, true},
    [NS_PID] = {"pid", "pid", CLONE_NEWPID, true},
    [NS_MOUNT] = {"mnt", "mount", CLONE_NEWNS, true},
    [NS_IPC] = {"ipc", "ipc", CLONE_NEWIPC, false},
    [NS_UTS] = {"uts", "uts", CLONE_NEWUTS, false},
    [NS_NETWORK] = {"net", "network", CLONE_NEWNET, false},
    [NS_CGROUP] = {"cgroup", "cgroup", CLONE_NEWCGROUP, false},
    [NS_TIME] = {"time", "time", CLONE_NEWTIME, false},
};

static int refuse(const struct plan *p, int ns, const char *why, struct error *err)
{
    error_set(err, "sandbox.namespace", 0, "cannot join %s namespace \"%s\": %s",
              namespaces[ns].name, p->spec->ns_path[ns], why);
    return error_path(err, p->spec->ns_path[ns]);
}

static const char *name_of_type(int type)
{
    for (int i = 0; i < NS_COUNT; i++) {
        if (namespaces[i].flag == type)
            return namespaces[i].name;
    }
    return "unknown";
}

static bool is_own(int fd, int ns)
{
    char path[48];
    struct stat there, own;
    snprintf(path, sizeof path, "/proc/thread-self/ns/%s", namespaces[ns].file);
    return fstat(fd, &there) < 0 || stat(path, &own) < 0 ||
           (there.st_dev == own.st_dev && there.st_ino == own.st_ino);
}

/** By O_PATH first: what is no namespace is looked at, never opened. */
static int open_namespace(const struct plan *p, int ns, struct error *err)
{
    const char *path = p->spec->ns_path[ns];
    char again[48], why[96];
    struct statfs fs;
    _cleanup_close_ int found = open(path, O_PATH | O_CLOEXEC);
    if (found < 0) {
        error_set(err, "sandbox.namespace", errno, "cannot open %s namespace \"%s\"",
                  namespaces[ns].name, path);
        error_hint(err, "give /proc/PID/ns/%s of a living process in it, or a file it is bound to",
                   namespaces[ns].file);
        return error_path(err, path);
    }
    if (fstatfs(found, &fs) < 0 || fs.f_type != NSFS_MAGIC) {
        refuse(p, ns, "it is not a namespace", err);
        return error_hint(err, "give /proc/PID/ns/%s of a process in it, or a file it is bound to",
                          namespaces[ns].file);
    }
    snprintf(again, sizeof again, "/proc/thread-self/fd/%d", found);
    _cleanup_close_ int fd = open(again, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set(err, "sandbox.namespace", errno, "cannot open %s namespace \"%s\"",
                  namespaces[ns].name, path);
        return error_path(err, path);
    }
    int type = ioctl(fd, NS_GET_NSTYPE);
    if (type < 0)
        return error_set(err, "sandbox.namespace", errno, "cannot examine %s namespace \"%s\"",
                         namespaces[ns].name, path);
    if (type != namespaces[ns].flag) {
        snprintf(why, sizeof why, "it is a %s namespace", name_of_type(type));
        refuse(p, ns, why, err);
        return error_hint(err, "give /proc/PID/ns/%s", namespaces[ns].file);
    }
    if (namespaces[ns].never_shared && is_own(fd, ns)) {
        refuse(p, ns, "it is the caller's own", err);
        return error_hint(err, "leave the path out for a new one, or name that of another sandbox");
    }
    return TAKE_FD(fd);
}

/** A network namespace that the sandbox did not make is the host's: nobody inside is root over it,
 * so nobody inside, and nothing that init does, may have to be. */
static bool needs_no_rights(const struct spec *s)
{
    if (!s->ns_new[NS_NETWORK] || s->network != NETWORK_NONE || s->sysctl_count > 0 ||
        !caps_none(&s->capabilities))
        return false;
    for (size_t i = 0; i < s->mount_count; i++) {
        if (s->mounts[i].kind == MOUNT_FS && strcmp(s->mounts[i].type, "sysfs") == 0)
            return false;
    }
    return true;
}

/** The network namespace of a socket, which knows it; in /proc it takes ten times as long. */
static int network_of(int fd)
{
    int network = ioctl(fd, SIOCGSKNS);
    return network >= 0 ? network : open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/** This thread's. */
static int open_network(void)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return network_of(fd);
}

int sandbox_make_network(const struct spec *s)
{
    _cleanup_close_ int own = needs_no_rights(s) ? open_network() : -1;
    if (own < 0 || unshare(CLONE_NEWNET) < 0)
        return -1;
    int made = open_network();
    namespaces_return(own);
    return made;
}

/* --- beside: a closed network namespace takes an eighth of a start, and the end of its mounts, for
 * which the kernel waits a grace period, 3 %. Another processor may be idle meanwhile. Where a
 * network cannot be had this way the clone makes one, or says why not; mounts that cannot be held
 * go with init. */

static void *work_beside(void *context)
{
    struct ahead *a = context;
    /* who shared a root directory with this thread could not change it (bare.c) */
    if (__atomic_exchange_n(&a->taken, true, __ATOMIC_ACQ_REL) == false &&
        unshare(CLONE_NEWNET | CLONE_FS) == 0)
        a->network = open_network();
    __atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
    sched_setaffinity(0, sizeof a->processors, &a->processors);
    while (__atomic_load_n(&a->leave, __ATOMIC_ACQUIRE) == 0) {
        if (syscall(SYS_futex, &a->leave, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) < 0 &&
            errno != EAGAIN && errno != EINTR)
            return NULL;
    }
    cleanup_close(&a->mounts);
    a->mounts = -1;
    return NULL;
}

void namespaces_hold(struct plan *p, pid_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    cleanup_close(&p->ahead.network);
    p->ahead.network = -1;
    if (p->ahead.begun)
        p->ahead.mounts = open(path, O_RDONLY | O_CLOEXEC);
}

void namespaces_release(struct plan *p)
{
    if (!p->ahead.begun)
        return;
    __atomic_store_n(&p->ahead.leave, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &p->ahead.leave, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/** How many run or want to is the kernel's figure of this moment; our starter is about to wait. */
static bool is_any_idle(int processors)
{
    char text[64];
    if (io_read_file_at(AT_FDCWD, "/proc/loadavg", text, sizeof text) < 0)
        return false;
    const char *at = strchr(text, '/');
    while (at != NULL && at > text && at[-1] != ' ')
        at--;
    return at != NULL && strtol(at, NULL, 10) <= processors;
}

void namespaces_begin(struct plan *p)
{
    struct ahead *a = &p->ahead;
    if (geteuid() != 0 || p->slot != NULL || p->serve != NULL || !needs_no_rights(p->spec))
        return;
    for (int i = 0; i < NS_COUNT; i++) {
        if (p->spec->ns_path[i] != NULL)
            return;
    }
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof a->processors, &a->processors) < 0 ||
        CPU_COUNT(&a->processors) < 2 || !is_any_idle(CPU_COUNT(&a->processors)) ||
        beside_thread(&a->thread, AHEAD_STACK, work_beside, a) != 0)
        return;
    a->begun = true;
    /* a new thread stands behind its maker, and would wait for it */
    cpu_set_t others = a->processors;
    CPU_CLR(here, &others);
    pthread_setaffinity_np(a->thread, sizeof others, &others);
}

static void end_thread(struct plan *p)
{
    struct ahead *a = &p->ahead;
    namespaces_release(p);
    /* somebody may keep it from the others for as long as he likes */
    if (!__atomic_load_n(&a->done, __ATOMIC_ACQUIRE))
        pthread_setaffinity_np(a->thread, sizeof a->processors, &a->processors);
    pthread_join(a->thread, NULL);
    a->begun = false;
}

void namespaces_close(struct plan *p)
{
    if (p->ahead.begun)
        end_thread(p);
    cleanup_close(&p->ahead.network);
    cleanup_close(&p->ahead.mounts);
    p->ahead.network = p->ahead.mounts = -1;
}

bool namespaces_pending(const struct plan *p)
{
    return p->ahead.begun && !__atomic_load_n(&p->ahead.done, __ATOMIC_ACQUIRE);
}

/** It is there, or nobody makes it any more. Another processor is at it, and to be woken by that
 * would take as long as it mostly is. */
static void await_network(struct plan *p)
{
    struct ahead *a = &p->ahead;
    if (!a->begun || !__atomic_exchange_n(&a->taken, true, __ATOMIC_ACQ_REL))
        return;
    for (int i = 0; i < AHEAD_LOOKS && !__atomic_load_n(&a->done, __ATOMIC_ACQUIRE); i++) {
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
    if (!__atomic_load_n(&a->done, __ATOMIC_ACQUIRE))
        end_thread(p);
}

bool namespaces_is_other_network(int fd)
{
    return fd >= 0 && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET && !is_own(fd, NS_NETWORK);
}

int namespaces_plan(struct plan *p, struct error *err)
{
    const struct spec *spec = p->spec;
    for (int i = 0; i < NS_COUNT; i++) {
        if (namespaces[i].never_shared && !spec->ns_new[i] && spec->ns_path[i] == NULL) {
            error_set(err, "sandbox.namespace", 0,
                      "a sandbox cannot share the caller's %s namespace", namespaces[i].name);
            return error_hint(err, "list {\"type\":\"%s\"} in linux.namespaces",
                              namespaces[i].name);
        }
        if (spec->ns_path[i] != NULL) {
            p->ns_fds[i] = open_namespace(p, i, err);
            if (p->ns_fds[i] < 0)
                return -1;
            p->joins = true;
            continue;
        }
        /* init makes the time namespace itself, for its children. A cgroup namespace is new
         * even where a spec shares it (runc writes such specs on v1 hosts): the host's groups
         * concern nobody inside, and a cgroup mount is only to be had in one's own. */
        if ((spec->ns_new[i] || i == NS_CGROUP) && i != NS_TIME)
            p->clone_flags |= (uint64_t)namespaces[i].flag;
    }
    if (!p->privileged || p->joins || !needs_no_rights(spec))
        p->slot = NULL;
    if (p->ns_fds[NS_PID] < 0)
        return 0;
    if (p->serve != NULL) {
        refuse(p, NS_PID, "each command of a long-lived sandbox gets a PID namespace of its own",
               err);
        return error_hint(err, "leave the path out, or use cloche run");
    }
    p->late = p->privileged;
    if (p->late) {
        p->late_flags = p->clone_flags;
        p->clone_flags = 0;
    }
    return 0;
}

int namespaces_bind_tree(struct plan *p, int group, struct error *err)
{
    if (p->ns_fds[NS_PID] < 0)
        return 0;
    /* the end of a PID namespace's first process ends all others; here it is somebody else's */
    p->kill_fd = group >= 0 ? openat(group, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;
    if (p->kill_fd >= 0)
        return 0;
    refuse(p, NS_PID, "there is no control group by which the sandbox could be ended as a whole",
           err);
    return error_hint(err, "it takes cgroup v2 and Linux 5.14, as root or delegated: cloche doctor "
                           "shows them");
}

void namespaces_end_tree(const struct plan *p)
{
    if (p->kill_fd >= 0 && write(p->kill_fd, "1", 1) < 0)
        return; /* the removal of the group kills again, and says what stays */
}

/* --- the doorstep: system calls and stack only ---------------------------------------------- */

static _Noreturn void tell(const struct plan *p, int step, int ns)
{
    struct message failed = {.value = ns};
    step_failed(&failed, (enum step)step, NULL);
    message_send(p->control, &failed, -1);
    _exit(1);
}

/** Returns the bits of those that must wait for the user namespace. */
static unsigned join_all(const struct plan *p, unsigned wanted, bool may_wait)
{
    unsigned waiting = 0;
    for (int i = 0; i < NS_COUNT; i++) {
        if ((wanted & 1U << i) == 0 || setns(p->ns_fds[i], namespaces[i].flag) == 0)
            continue;
        if (!may_wait || errno != EPERM)
            tell(p, STEP_JOIN, i);
        waiting |= 1U << i;
    }
    return waiting;
}

int oom_score_write(int fd, int score)
{
    char text[12], digits[12];
    int n = 0, k = 0;
    unsigned rest = score < 0 ? 0U - (unsigned)score : (unsigned)score;
    if (score < 0)
        text[n++] = '-';
    do
        digits[k++] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    while (k > 0)
        text[n++] = digits[--k];
    return write(fd, text, (size_t)n) < 0 ? -1 : 0;
}

static void set_oom_score(const struct plan *p)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || oom_score_write(fd, p->spec->oom_score_adj) < 0)
        tell(p, STEP_OOM_SCORE, 0);
    close(fd);
}

static void doorstep(struct plan *p, struct clone_args *args)
{
    int pidfd = -1;
    unsigned wanted = 0;
    if (p->spec->oom_score_adj_set) /* later /proc belongs to root */
        set_oom_score(p);
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        tell(p, STEP_UNTRACEABLE, 0);
    for (int i = 0; i < NS_COUNT; i++)
        wanted |= i != NS_USER && p->ns_fds[i] >= 0 ? 1U << i : 0;
    wanted = join_all(p, wanted, p->ns_fds[NS_USER] >= 0 && !p->late);
    if (p->privileged)
        mount_prepare(p, "mqueue");
    if (p->ns_fds[NS_USER] >= 0 && !p->late)
        join_all(p, 1U << NS_USER, false);
    join_all(p, wanted, false);

    args->flags = (args->flags & ~(uint64_t)CLONE_INTO_CGROUP) | CLONE_PARENT;
    /* cppcheck-suppress autoVariables ; @args is not used again */
    args->pidfd = (uint64_t)(uintptr_t)&pidfd;
    args->exit_signal = 0; /* a sibling's is that of the doorstep */
    pid_t pid = sys_clone3(args);
    if (pid == 0)
        return;
    if (pid < 0)
        tell(p, STEP_CLONE, 0);
    const struct message cloned = {.type = MESSAGE_CLONED, .value = pid};
    if (message_send(p->control, &cloned, pidfd) == 0)
        _exit(0);
    sys_pidfd_send_signal(pidfd, SIGKILL); /* its end of the socket tells the caller */
    _exit(1);
}

void namespaces_return(int own)
{
    if (setns(own, CLONE_NEWNET) == 0)
        return;
    /* every later socket of the caller would be one of the sandbox: worse than any error */
    perror("cloche: cannot return to the own network namespace");
    abort();
}

static pid_t clone_bare(struct plan *p, struct clone_args *args)
{
    struct bare bare;
    bare_enter(p, &bare);
    pid_t pid = sys_clone3(args);
    int saved = errno;
    if (pid != 0)
        bare_leave(&bare);
    errno = saved;
    return pid;
}

/** The caller's thread makes or enters a network namespace for this moment, in which no signal
 * reaches it. */
static pid_t clone_in_network(struct plan *p, struct clone_args *args, int *network)
{
    _cleanup_close_ int own = network_of(p->control);
    if (own < 0)
        return clone_bare(p, args);
    if ((*network < 0 ? unshare(CLONE_NEWNET) : setns(*network, CLONE_NEWNET)) < 0)
        return -1;
    if (*network < 0)
        *network = open_network();
    args->flags &= ~(uint64_t)CLONE_NEWNET;
    pid_t pid = clone_bare(p, args);
    int saved = errno;
    if (pid == 0)
        cleanup_close(network);
    else
        namespaces_return(own);
    errno = saved;
    return pid;
}

pid_t namespaces_clone(struct plan *p, struct clone_args *args)
{
    await_network(p);
    if (p->ahead.network >= 0)
        return clone_in_network(p, args, &p->ahead.network);
    if (p->slot != NULL)
        return clone_in_network(p, args, &p->slot->network);
    if (!p->joins)
        return clone_bare(p, args);
    /* into the group while the caller's cgroup namespace is still its own: from another one the
     * group may not be seen (nsdelegate) */
    struct clone_args door = {.flags = args->flags & CLONE_INTO_CGROUP, .cgroup = args->cgroup};
    pid_t pid = sys_clone3(&door);
    if (pid == 0)
        doorstep(p, args);
    return pid;
}

int namespaces_clone_failed(const struct plan *p, int errnum, struct error *err)
{
    error_set(err, "sandbox.clone", errnum, "cannot make the namespaces of the sandbox");
    if (errnum == ENOMEM && p->ns_fds[NS_PID] >= 0)
        return error_hint(err, "the first process of a joined PID namespace must be alive");
    return error_hint(
        err, errnum == EPERM || errnum == EACCES
                 ? "user namespaces may be switched off here, and a chroot has none: cloche "
                   "doctor names the setting"
                 : "a limit of this machine may be reached: cloche doctor shows them");
}

static int join_failed(const struct plan *p, const struct message *m, struct error *err)
{
    int ns = m->value;
    if (m->step == STEP_CLONE)
        return namespaces_clone_failed(p, m->errnum, err);
    if (m->step != STEP_JOIN || ns < 0 || ns >= NS_COUNT || p->spec->ns_path[ns] == NULL)
        return step_error(p, m, err);
    error_set(err, "sandbox.namespace", m->errnum, "cannot join %s namespace \"%s\"",
              namespaces[ns].name, p->spec->ns_path[ns]);
    error_path(err, p->spec->ns_path[ns]);
    if (m->errnum == EINVAL && ns == NS_PID)
        return error_hint(err, "only a PID namespace below the caller's own can be joined");
    return error_hint(err, "joining needs root, or a user namespace of one's own that owns it and "
                           "is joined, too");
}

int namespaces_cloned(const struct plan *p, int control, pid_t door, pid_t *ret_pid, int *ret_pidfd,
                      struct error *err)
{
    struct message m = {0};
    int fd = -1, rc = message_receive(control, &m, &fd, 0), saved = errno;
    waitpid(door, NULL, __WALL);
    if (rc == 1 && m.type == MESSAGE_CLONED && fd >= 0) {
        *ret_pid = m.value;
        *ret_pidfd = fd;
        return 0;
    }
    cleanup_close(&fd);
    if (rc == 1 && m.type == MESSAGE_FAILED)
        return join_failed(p, &m, err);
    return error_set(err, "sandbox.control", rc < 0 ? saved : 0,
                     "cannot hear the process that joins namespaces");
}

int namespaces_enter_late(struct plan *p, struct message *failed)
{
    if (!p->late)
        return 0;
    mount_prepare(p, "proc");
    failed->value = NS_USER;
    if (p->ns_fds[NS_USER] >= 0 && setns(p->ns_fds[NS_USER], CLONE_NEWUSER) < 0)
        return step_failed(failed, STEP_JOIN, NULL);
    if (unshare((int)p->late_flags) < 0)
        return step_failed(failed, STEP_CLONE, NULL);
    return 0;
}
