/* New namespaces by every door: clone, clone3, unshare; one flag at a time and all at once. A new
 * user namespace would give all capabilities in it, and with them most of the kernel. */
#include "tests/attacks/attack.h"

#include <linux/sched.h>

static const struct {
    const char *name;
    unsigned long flag;
} flags[] = {
    {"user", CLONE_NEWUSER},
    {"mount", CLONE_NEWNS},
    {"pid", CLONE_NEWPID},
    {"net", CLONE_NEWNET},
    {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS},
    {"cgroup", CLONE_NEWCGROUP},
    {"user and mount", CLONE_NEWUSER | CLONE_NEWNS},
    {"user, with a high bit", CLONE_NEWUSER | 1UL << 40},
    {"everything", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                       CLONE_NEWUTS | CLONE_NEWCGROUP},
};

static void after(const char *call, const char *name, long pid)
{
    if (pid == 0)
        _exit(0);
    if (pid > 0) {
        waitpid((pid_t)pid, NULL, 0);
        breach("%s: new namespaces (%s)", call, name);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct clone_args args = {.flags = flags[i].flag, .exit_signal = SIGCHLD};

        after("clone", flags[i].name,
              syscall(SYS_clone, flags[i].flag | SIGCHLD, 0UL, 0UL, 0UL, 0UL));
        after("clone3", flags[i].name, syscall(SYS_clone3, &args, sizeof(args)));
        if (errno != ENOSYS)
            breach("clone3 (%s) says %s: a libc would not fall back", flags[i].name,
                   strerror(errno));
    }
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (syscall(SYS_unshare, flags[i].flag) == 0)
            breach("unshare: new namespaces (%s)", flags[i].name);
    return verdict();
}
