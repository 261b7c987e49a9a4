/* Kernel memory in pipes and sockets, as full as they get, in as many processes as there may be. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    static char block[65536];
    long allowed = number(argc, argv, 1, 1024), held = 0;

    only_inside();
    for (int i = 0; i < 2000 && held >> 10 <= allowed; i++) {
        int pair[2];
        ssize_t n;
        bool ok = i % 2 ? pipe2(pair, O_NONBLOCK) == 0
                        : socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0;

        if (!ok)
            break;
        if (i % 2)
            fcntl(pair[1], F_SETPIPE_SZ, 1 << 20);
        else
            setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int){1 << 24}, sizeof(int));
        while ((n = write(pair[1], block, sizeof(block))) > 0)
            held += n >> 10;
    }
    return judge("MiB in pipes and sockets", held >> 10, allowed);
}
