#include "base/packet.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * PACKET_MAX_FDS)];
};

int packet_send(int socket, const struct iovec *parts, size_t part_count, const int *fds,
                unsigned count, int flags)
{
    union control control;
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = part_count};
    if (count > PACKET_MAX_FDS) {
        errno = E2BIG;
        return -1;
    }
    if (count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(socket, &msg, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

ssize_t packet_receive(int socket, const struct iovec *parts, size_t part_count, int *fds,
                       unsigned max, unsigned *ret_count, int flags)
{
    union control control;
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                         .msg_iovlen = part_count,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof control.buf};
    ssize_t n;
    *ret_count = 0;
    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | flags);
    /* an end that closed with unread packets says so once, before what it sent last */
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return -1;

    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    unsigned came = 0;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        came = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (n > 0 && came <= max && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) {
        if (came > 0)
            memcpy(fds, CMSG_DATA(c), came * sizeof(int));
        *ret_count = came;
        return n;
    }
    for (unsigned i = 0; i < came; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        close(fd);
    }
    errno = EPROTO;
    return n == 0 ? 0 : -1;
}
