/* TIOCLINUX pastes the console's selection, TIOCSETD brings in old line disciplines of the kernel,
 * TIOCCONS steals the console's output: the filter must refuse the request itself, on any file, so
 * here anything but EPERM has reached the kernel. High bits as in terminal/tiocsti-high. */
#include "tests/attacks/terminal/terminal.h"

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

int main(void)
{
    static const struct {
        const char *name;
        unsigned long request;
    } requests[] = {{"TIOCSTI", TIOCSTI}, {"TIOCLINUX", TIOCLINUX}, {"TIOCSETD", TIOCSETD}};
    int argument[8] = {3};
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        fd = 0;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        for (int bit = 31; bit < 64; bit++) {
            unsigned long high = bit == 31 ? 0 : 1UL << bit;

            if (terminal_ioctl(fd, requests[i].request | high, argument) == 0 || errno != EPERM) {
                breach("%s with high bits %lx reached the kernel: %s", requests[i].name, high >> 32,
                       strerror(errno));
                break;
            }
        }
    return verdict();
}
