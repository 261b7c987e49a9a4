/* Writes for ever: to stdout, to stderr (argv[1] "error"), to both in turns ("both"). */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    static char block[65536];
    const char *where = argc > 1 ? argv[1] : "output";

    only_inside();
    memset(block, 'x', sizeof(block));
    signal(SIGPIPE, SIG_IGN);
    long i = 0;

    for (; i < 1000000; i++) {
        int fd = strcmp(where, "error") == 0 || (strcmp(where, "both") == 0 && i % 2) ? 2 : 1;

        if (write(fd, block, sizeof(block)) < 0 && errno != EINTR)
            break;
    }
    if (i == 1000000)
        breach("61 GiB were taken");
    return 3; /* nobody is there to be told that it was contained */
}
