/** Every way to the caller's terminal that a program inside could find. */
#ifndef CLOCHE_ATTACK_TERMINAL_H
#define CLOCHE_ATTACK_TERMINAL_H

#include "tests/attacks/attack.h"

#include <termios.h>

static inline int terminal_open(int *fds, int max)
{
    static const char *const names[] = {"/dev/tty",        "/dev/console",    "/proc/self/fd/0",
                                        "/proc/self/fd/1", "/proc/self/fd/2", "/dev/pts/0",
                                        "/dev/pts/1"};
    int count = 0;

    for (int fd = 0; fd < 3 && count < max; fd++)
        if (isatty(fd))
            fds[count++] = fd;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && count < max; i++) {
        int fd = open(names[i], O_RDWR | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && isatty(fd))
            fds[count++] = fd;
    }
    return count;
}

/** The raw call: the wrapper would truncate the request to 32 bits itself. */
static inline long terminal_ioctl(int fd, unsigned long request, void *argument)
{
    return syscall(SYS_ioctl, fd, request, argument);
}

#endif
