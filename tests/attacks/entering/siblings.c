/* Another process of the same sandbox and user: it is fair game for signals, but not for taking
 * its descriptors, comparing its resources, or entering its namespaces. (Its memory: kernel/never.)
 */
#include "tests/attacks/attack.h"

static bool refused(long result)
{
    return result < 0 && (errno == EPERM || errno == ENOSYS || errno == EACCES);
}

int main(void)
{
    int fd, ends[2];
    pid_t pid;

    if (pipe(ends) < 0)
        skip("pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        char byte;

        close(ends[1]);
        _exit(read(ends[0], &byte, 1) < 0);
    }
    if (pid < 0)
        skip("fork: %s", strerror(errno));
    close(ends[0]);

    for (int i = 0; i < 2; i++) {
        pid_t target = i == 0 ? pid : 1;

        if (!refused(syscall(SYS_kcmp, target, getpid(), 0, 0, 0)))
            breach("kcmp with process %d", target);
        fd = (int)syscall(SYS_pidfd_open, target, 0U);
        if (fd >= 0) {
            if (!refused(syscall(SYS_pidfd_getfd, fd, 0, 0U)))
                breach("pidfd_getfd from process %d", target);
            if (!refused(syscall(SYS_setns, fd, 0x20000)))
                breach("setns into process %d", target);
            close(fd);
        }
    }
    close(ends[1]);
    waitpid(pid, NULL, 0);
    return verdict();
}
