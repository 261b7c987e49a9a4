/* With an inherited terminal (no -t): make it one's own, change its foreground group.
 * The runner then checks that it is still the caller's, with nothing in its queue. */
#include "tests/attacks/terminal/terminal.h"

int main(void)
{
    int fds[16], count = terminal_open(fds, 16);
    pid_t own = getpid();

    if (count == 0)
        skip("no terminal here");
    signal(SIGTTOU, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    setsid();
    for (int i = 0; i < count; i++) {
        if (terminal_ioctl(fds[i], TIOCSCTTY, (void *)1) == 0)
            breach("fd %d became my controlling terminal", fds[i]);
        if (terminal_ioctl(fds[i], TIOCSPGRP, &own) == 0)
            breach("fd %d has my foreground group", fds[i]);
        if (terminal_ioctl(fds[i], TIOCEXCL, NULL) == 0)
            note("fd %d is exclusive now", fds[i]); /* the kernel asks for nothing here */
        terminal_ioctl(fds[i], TIOCNXCL, NULL);
    }
    return verdict();
}
