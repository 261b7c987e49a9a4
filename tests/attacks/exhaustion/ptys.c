/* Pseudo terminals are a pool of the whole machine (kernel.pty.max): opens as many as it can, in
 * several processes; more than argv[1] is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 256), count = 0;

    only_inside();
    while (count < 8192) {
        int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

        if (fd < 0)
            break;
        count++;
    }
    return judge("pseudo terminals", count, allowed);
}
