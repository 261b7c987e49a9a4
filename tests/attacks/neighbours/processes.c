/* Reaches for a neighbour's process by number: signals, /proc, pidfds. The leaving side is easy to
 * recognise: it has named itself. */
#include "tests/attacks/neighbours/neighbour.h"

int main(int argc, char **argv)
{
    if (leaving(argc, argv)) {
        prctl(PR_SET_NAME, TRACE, 0, 0, 0);
        return hold(NULL);
    }
    for (pid_t pid = 2; pid < 100000; pid++) {
        char path[64], name[64] = "";
        int fd;

        if (pid == getpid() || (kill(pid, 0) < 0 && errno == ESRCH))
            continue;
        breach("process %d is there", pid);
        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && strstr(name, TRACE) != NULL)
            breach("and it is my neighbour");
        if (fd >= 0)
            close(fd);
    }
    return verdict();
}
