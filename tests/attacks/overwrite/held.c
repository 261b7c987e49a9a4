/* Second half of overwrite/interpreter: fd 3 holds the runtime's executable. A write that works
 * appends one byte, so that the runner's digest sees it, too. */
#include "tests/attacks/attack.h"

int main(void)
{
    char target[PATH_MAX] = "";

    if (fcntl(3, F_GETFD) < 0)
        skip("the runtime's executable was not handed over");
    if (readlink("/proc/self/fd/3", target, sizeof(target) - 1) < 0)
        note("fd 3 has no name: %s", strerror(errno));
    note("holding %s", target);

    for (int i = 0; i < 50; i++) {
        int fd = open("/proc/self/fd/3", O_WRONLY | O_APPEND);

        if (fd >= 0) {
            breach("the runtime's executable opened for writing");
            if (write(fd, "\0", 1) == 1)
                breach("and written to");
            return verdict();
        }
        if (errno != ETXTBSY)
            break;
        usleep(1000); /* busy while another sandbox starts: the next try may meet a gap */
    }
    return verdict();
}
