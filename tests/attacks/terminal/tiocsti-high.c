/* CVE-2019-7303, CVE-2019-10063: the kernel reads 32 bits of the request, a filter that compares
 * 64 lets the same request with a high bit pass. */
#include "tests/attacks/terminal/terminal.h"

int main(void)
{
    static char key[] = "x";
    int fds[16], count = terminal_open(fds, 16);

    if (count == 0)
        skip("no terminal here");
    for (int i = 0; i < count; i++)
        for (int bit = 32; bit < 64; bit++)
            if (terminal_ioctl(fds[i], TIOCSTI | 1UL << bit, key) == 0)
                breach("TIOCSTI + 2^%d on fd %d", bit, fds[i]);
    return verdict();
}
