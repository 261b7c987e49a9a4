/* Only the sandbox's own processes can be seen, and those of others not even guessed: /proc, kill,
 * pidfds, priorities, schedulers. argv[1] is the number of a process of the host. */
#include "tests/attacks/attack.h"

#include <sched.h>

int main(int argc, char **argv)
{
    pid_t outside = (pid_t)number(argc, argv, 1, 0);
    DIR *proc = opendir("/proc");
    struct dirent *e;
    int shown = 0;

    while (proc != NULL && (e = readdir(proc)) != NULL)
        if (strspn(e->d_name, "0123456789") == strlen(e->d_name) && ++shown > 2)
            breach("process %s can be seen", e->d_name);
    if (proc != NULL)
        closedir(proc);
    if (getpid() > 16)
        breach("my number is %d: this is not a namespace of my own", getpid());
    if (outside > 16) {
        cpu_set_t set;

        if (kill(outside, 0) == 0 || errno == EPERM)
            breach("process %d exists", outside);
        if (syscall(SYS_pidfd_open, outside, 0U) >= 0)
            breach("process %d can be opened", outside);
        errno = 0;
        if (getpriority(PRIO_PROCESS, (id_t)outside) != -1 || errno == 0)
            breach("process %d has a priority", outside);
        if (sched_getaffinity(outside, sizeof(set), &set) == 0)
            breach("process %d has an affinity", outside);
        if (getsid(outside) >= 0 || getpgid(outside) >= 0)
            breach("process %d has a session", outside);
    }
    return verdict();
}
