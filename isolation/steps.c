#include "isolation/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* what could not be done; "%s" is the step's object (a path, mostly), and the fix where there is
 * one */
static const struct {
    const char *code, *what, *fix;
} steps[STEP_COUNT] = {
    [STEP_CGROUP_JOIN] = {"cgroup.join", "cannot enter the cgroup of the sandbox",
                          "cloche doctor shows what this user may do"},
    [STEP_JOIN] = {"sandbox.namespace", "cannot join the user namespace", ""},
    [STEP_CLONE] = {"sandbox.clone", "cannot make the namespaces of the sandbox",
                    "a limit of this machine may be reached: cloche doctor shows them"},
    [STEP_OOM_SCORE] = {"sandbox.oom_score", "cannot set oom_score_adj",
                        "a lower score than one's own needs CAP_SYS_RESOURCE"},
    [STEP_PARENT_DEATH] = {"sandbox.setup", "cannot tie the sandbox to its parent", ""},
    [STEP_SESSION] = {"sandbox.setup", "cannot start a session", ""},
    [STEP_SETUP_IDENTITY] = {"ids.identity", "cannot take the inner identity for building", ""},
    [STEP_HOSTNAME] = {"sandbox.hostname", "cannot set hostname \"%s\"", ""},
    [STEP_DOMAINNAME] = {"sandbox.hostname", "cannot set domain name \"%s\"", ""},
    [STEP_TIME_NAMESPACE] = {"sandbox.time", "cannot make a time namespace with these offsets", ""},
    [STEP_LOOPBACK] = {"network.loopback", "cannot bring up the loopback interface", ""},
    [STEP_PROPAGATION] = {"mount.propagation", "cannot part the mount tree from the host's", ""},
    [STEP_ROOT] = {"rootfs.make", "cannot make the root file system", ""},
    [STEP_ROOT_ATTACH] = {"rootfs.attach", "cannot attach the root file system", ""},
    [STEP_SOURCE] = {"mount.source", "cannot open mount source \"%s\"",
                     "check that this user can reach it"},
    [STEP_SOURCE_CHANGED] = {"mount.changed", "mount source \"%s\" changed while it was opened",
                             "nothing was started; run again"},
    [STEP_MOUNT_POINT] = {"mount.point", "cannot make mount point \"%s\"",
                          "make it in the rootfs, or choose another destination"},
    [STEP_MOUNT_MAKE] = {"mount.make", "cannot make the file system for \"%s\"",
                         "check its type and options"},
    [STEP_MOUNT_ATTRIBUTES] = {"mount.attributes", "cannot set mount attributes of \"%s\"", ""},
    [STEP_MOUNT_ATTACH] = {"mount.attach", "cannot mount at \"%s\"", ""},
    [STEP_COPY_UP] = {"mount.copy_up", "cannot copy up the content of \"%s\"", ""},
    [STEP_DEVICE] = {"device.make", "cannot make device \"%s\"", ""},
    [STEP_NOT_PROCFS] = {"mount.not_procfs", "what is mounted at \"%s\" is not procfs", ""},
    [STEP_SYSCTL] = {"sandbox.sysctl", "cannot set sysctl %s",
                     "only sysctls of the sandbox's own namespaces can be set"},
    [STEP_MASK] = {"mount.mask", "cannot mask \"%s\"", ""},
    [STEP_READONLY] = {"mount.readonly", "cannot make \"%s\" read-only", ""},
    [STEP_PIVOT] = {"rootfs.pivot", "cannot change to the root file system", ""},
    [STEP_UNTRACEABLE] = {"sandbox.setup", "cannot make init untraceable", ""},
    [STEP_TERMINAL] = {"sandbox.terminal", "cannot make a terminal for the program", ""},
    [STEP_START_PROGRAM] = {"sandbox.start", "cannot start the program's process", ""},
    [STEP_STREAMS] = {"sandbox.streams", "cannot set up standard streams", ""},
    [STEP_RLIMIT] = {"sandbox.rlimit", "cannot set %s",
                     "a hard limit cannot be raised without CAP_SYS_RESOURCE; ask for less"},
    [STEP_CORE] = {"sandbox.rlimit", "cannot keep core dumps from the host",
                   "its kernel.core_pattern runs a program for them, whom a hard limit of 0 does "
                   "not stop: raise that of RLIMIT_CORE to 1, or say --ulimit core=0"},
    [STEP_PERSONALITY] = {"sandbox.personality", "cannot set the personality", ""},
    [STEP_CAPS_BOUNDING] = {"caps.bounding", "cannot drop the capability bounding set", ""},
    [STEP_IDENTITY] = {"ids.identity", "cannot become the program's user and groups",
                       "the user and group ids must be mapped in the sandbox"},
    [STEP_CWD] = {"sandbox.cwd", "cannot change to working directory \"%s\"",
                  "it must exist inside the sandbox"},
    [STEP_CAPS] = {"caps.set", "cannot set capabilities", ""},
    [STEP_LANDLOCK] = {"landlock.apply", "cannot apply Landlock rule \"%s\"", ""},
    [STEP_FILTER] = {"seccomp.load", "cannot load the syscall filter", ""},
    [STEP_CLOSE] = {"sandbox.setup", "cannot close inherited file descriptors", ""},
    [STEP_OPEN] = {"sandbox.file", "cannot open \"%s\" in the sandbox",
                   "regular files only, which the program's user may open"},
    [STEP_EXEC] = {"sandbox.not_executable", "cannot execute \"%s\"", ""},
};

/* Where the reason is known by the error, this fix counts. */
static const struct {
    enum step step;
    int errnum;
    const char *fix;
} reasons[] = {
    {STEP_ROOT_ATTACH, EPERM,
     "Landlock rules around this process, as in another sandbox, forbid all mounts: run outside"},
    {STEP_MOUNT_POINT, ELOOP,
     "a symbolic link on its way leads nowhere in the rootfs: make its end there, or choose "
     "another destination"},
    {STEP_MOUNT_ATTACH, EINVAL,
     "a directory goes over a directory, a file over a file: choose another destination"},
    {STEP_MOUNT_ATTRIBUTES, EPERM,
     "what the host's mount has set (ro, nosuid, nodev, noexec, its way with atime) only root "
     "can take off: leave the option out"},
    {STEP_MOUNT_MAKE, EPERM,
     "procfs and sysfs take one here that nothing is mounted over (a container's masked paths are "
     "in the way): cloche doctor tries it"},
    {STEP_MOUNT_MAKE, EINVAL,
     "check its type and options; what is laid over (:O) must be a directory, on a file system "
     "that can be below an overlay"},
    {STEP_START_PROGRAM, EAGAIN,
     "a limit of processes is reached, of this user (ulimit -u) or of the sandbox (--pids-limit)"},
    {STEP_FILTER, EMFILE,
     "the listener of the calls that are never allowed is a file, too: --ulimit nofile=5 or more"},
    {STEP_EXEC, EACCES,
     "it must be a file that the program's user may execute (chmod +x), on no noexec mount"},
    {STEP_EXEC, ENOEXEC, "it must be a program for this machine, or begin with #!INTERPRETER"},
};

int step_failed(struct message *failed, enum step step, const char *text)
{
    failed->type = MESSAGE_FAILED;
    failed->errnum = errno;
    failed->step = (int32_t)step;
    size_t n = 0;
    for (; text != NULL && text[n] != '\0' && n < sizeof failed->text - 1; n++)
        failed->text[n] = text[n];
    failed->text[n] = '\0';
    return -1;
}

int step_error(const struct plan *p, const struct message *failed, struct error *err)
{
    int step = failed->step;
    if (step <= STEP_NONE || step >= STEP_COUNT || steps[step].what == NULL)
        return error_set(err, "sandbox.setup", failed->errnum, "setup of the sandbox failed");

    if (step == STEP_EXEC && (failed->errnum == ENOENT || failed->errnum == ENOTDIR)) {
        error_set(err, "sandbox.not_found", 0, "command \"%s\" not found in the sandbox",
                  failed->text);
        if (p->spec->rootfs == ROOTFS_EMPTY)
            return error_hint(err, "the root is empty: bring the program in with -v FILE:PATH");
        if (strchr(failed->text, '/') != NULL)
            return error_hint(err, "give a path inside the sandbox; the interpreter that a script "
                                   "or a dynamic program names must be there, too");
        return error_hint(err, "give a path inside the sandbox, or set PATH with -e");
    }
    char what[512];
    const char *hole = strstr(steps[step].what, "%s");
    if (hole == NULL)
        snprintf(what, sizeof what, "%s", steps[step].what);
    else
        snprintf(what, sizeof what, "%.*s%s%s", (int)(hole - steps[step].what), steps[step].what,
                 failed->text, hole + 2);
    error_set(err, steps[step].code, failed->errnum, "%s", what);
    const char *fix = steps[step].fix;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if ((int)reasons[i].step == step && reasons[i].errnum == failed->errnum) {
            fix = reasons[i].fix;
            err->hint[0] = '\0';
        }
    }
    if (fix[0] != '\0')
        error_hint(err, "%s", fix);
    return -1;
}

uint64_t plan_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

int message_send_fds(int socket, const struct message *m, const int *fds, unsigned count)
{
    const struct iovec part = {.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof *m};
    return packet_send(socket, &part, 1, fds, count, 0);
}

int message_send(int socket, const struct message *m, int fd_to_pass)
{
    return message_send_fds(socket, m, &fd_to_pass, fd_to_pass >= 0);
}

int message_receive_fds(int socket, struct message *ret, int *fds, unsigned max,
                        unsigned *ret_count, int flags)
{
    const struct iovec part = {.iov_base = ret, .iov_len = sizeof *ret};
    int came[PACKET_MAX_FDS];
    unsigned count;
    ssize_t n = packet_receive(socket, &part, 1, came, PACKET_MAX_FDS, &count, flags);
    *ret_count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (n == (ssize_t)sizeof *ret && i < max)
            fds[(*ret_count)++] = came[i];
        else
            close(came[i]);
    }
    if (n <= 0)
        return (int)n;
    if (n != (ssize_t)sizeof *ret) {
        errno = EPROTO;
        return -1;
    }
    ret->text[sizeof ret->text - 1] = '\0';
    return 1;
}

int message_receive(int socket, struct message *ret, int *ret_fd, int flags)
{
    int fd = -1;
    unsigned count;
    int rc = message_receive_fds(socket, ret, &fd, ret_fd != NULL, &count, flags);
    if (ret_fd != NULL)
        *ret_fd = count > 0 ? fd : -1;
    return rc;
}
