/* epoll instances that watch each other, and many watches of one file: memory and wake-up chains of
 * the kernel. More than argv[1] watches is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

#include <sys/epoll.h>

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 2000000), watches = 0;
    int last = -1;

    only_inside();
    for (int i = 0; i < 4096; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        int fd = epoll_create1(EPOLL_CLOEXEC);

        if (fd < 0)
            break;
        if (last >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, last, &event) == 0)
            watches++;
        for (int other = 0; other < fd; other++)
            if (epoll_ctl(fd, EPOLL_CTL_ADD, other, &event) == 0)
                watches++;
        last = fd;
    }
    return judge("epoll watches", watches, allowed);
}
