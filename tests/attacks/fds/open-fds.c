/* CVE-2024-21626: a descriptor of the host that stayed open is a way out. Only 0, 1 and 2 may be
 * open, none of them a directory, and the working directory must be inside. */
#include "tests/attacks/attack.h"

int main(void)
{
    char path[64], target[PATH_MAX];
    struct stat st;

    for (int fd = 0; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
            breach("fd %d is a directory", fd);
        if (fd <= 2)
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        memset(target, 0, sizeof(target));
        if (readlink(path, target, sizeof(target) - 1) < 0)
            snprintf(target, sizeof(target), "?");
        breach("fd %d is open: %s", fd, target);
    }
    /* The system call, not the wrapper, says "(unreachable)" for a directory outside the root. */
    if (syscall(SYS_getcwd, target, sizeof(target)) < 0)
        note("getcwd: %s", strerror(errno));
    else if (target[0] != '/')
        breach("the working directory is outside: %s", target);
    return verdict();
}
