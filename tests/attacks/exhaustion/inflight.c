/* Descriptors sent over unix sockets and never received: they are open files that no process has.
 * The kernel bounds those in flight by the sender's limit of open files (ETOOMANYREFS); more than
 * argv[1] at once, however many sockets and processes send, is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

/* A message of 64 descriptors. */
static bool post(int socket)
{
    int many[64];
    char control[CMSG_SPACE(sizeof(many))], byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    if (head == NULL)
        return false;
    for (size_t i = 0; i < 64; i++)
        many[i] = socket;
    memset(control, 0, sizeof(control));
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(many));
    memcpy(CMSG_DATA(head), many, sizeof(many));
    return sendmsg(socket, &message, MSG_DONTWAIT) == 1;
}

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 1024), sent = 0;
    int count[2];

    only_inside();
    if (pipe(count) < 0)
        skip("pipe: %s", strerror(errno));
    for (int process = 0; process < 8; process++) {
        if (fork() != 0)
            continue;
        int pair[2];
        char full = 0;

        while (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0) /* kept open: they stay in flight */
            while (post(pair[0]))
                if (write(count[1], &full, 1) != 1)
                    _exit(1);
        close(count[1]);
        for (;;)
            pause();
    }
    close(count[1]);
    for (char one; read(count[0], &one, 1) == 1;)
        sent += 64;
    kill(-1, SIGKILL);
    return judge("descriptors in flight", sent, allowed);
}
