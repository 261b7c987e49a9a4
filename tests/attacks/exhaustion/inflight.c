/* Descriptors sent over unix sockets and never received, the sockets among them: they count against
 * no process once closed, and only the kernel's garbage collector finds them. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 20000), sent = 0;

    only_inside();
    for (int round = 0; round < 4000; round++) {
        int pair[2], many[64];
        char control[CMSG_SPACE(sizeof(many))], byte = 0;
        struct iovec data = {&byte, 1};
        struct msghdr message = {.msg_iov = &data,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        struct cmsghdr *head;

        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0)
            break;
        for (size_t i = 0; i < 64; i++)
            many[i] = pair[i % 2];
        memset(control, 0, sizeof(control));
        head = CMSG_FIRSTHDR(&message);
        if (head == NULL)
            break;
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(many));
        memcpy(CMSG_DATA(head), many, sizeof(many));
        for (int i = 0; i < 10; i++)
            if (sendmsg(pair[0], &message, MSG_DONTWAIT) == 1)
                sent += 64;
        close(pair[0]);
        close(pair[1]);
        if (sent > allowed)
            break;
    }
    return judge("descriptors in flight", sent, allowed);
}
