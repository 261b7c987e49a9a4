/* CVE-2017-5226: push keystrokes into the caller's terminal, which its shell then reads. The runner
 * has made that terminal and looks into its input queue afterwards. */
#include "tests/attacks/terminal/terminal.h"

int main(void)
{
    static char keys[] = "id\n";
    int fds[16], count = terminal_open(fds, 16);

    if (count == 0)
        skip("no terminal here");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < count; i++)
            for (char *k = keys; *k != '\0'; k++)
                if (terminal_ioctl(fds[i], TIOCSTI, k) == 0)
                    breach("TIOCSTI on fd %d", fds[i]);
        /* The kernel lets a process push into its controlling terminal only: take it. */
        setsid();
        for (int i = 0; i < count; i++)
            if (terminal_ioctl(fds[i], TIOCSCTTY, (void *)1) == 0)
                note("fd %d is my controlling terminal now", fds[i]);
    }
    return verdict();
}
