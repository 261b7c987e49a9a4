/* Both wires of a long-lived sandbox: frames between clients and keepers, the file in which a
 * command goes to init, and both as they come out of a socket, with more or fewer fds than asked
 * for. The first byte chooses. */
#include "isolation/spawn.h"
#include "runtime/protocol.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames(const uint8_t *data, size_t size)
{
    static struct frame f;
    struct error err = ERROR_INIT;
    if (size < sizeof f.head || size - sizeof f.head > sizeof f.body)
        return;
    memcpy(&f.head, data, sizeof f.head);
    memcpy(f.body, data + sizeof f.head, size - sizeof f.head);
    f.head.magic = PROTOCOL_MAGIC; /* not for the fuzzer to guess */
    f.head.version = PROTOCOL_VERSION;
    if (!frame_check(&f.head, f.body, size))
        return;
    size_t seen = 0;
    for (const char *v = NULL; (v = frame_next(&f, "arg", v)) != NULL;)
        seen += strlen(v);
    if (seen > f.head.size || frame_get_int(&f, "n", 1, 9, 1) < 1)
        abort();
    frame_error(&f, &err);
}

static void commands(const uint8_t *data, size_t size)
{
    static char *pointers[SPAWN_MAX_STRINGS + 2];
    struct spawn_command head;
    struct spawn_parsed p;
    if (size < sizeof head)
        return;
    char *file = malloc(size); /* exact, so that a byte too far is seen */
    memcpy(file, data, size);
    memcpy(&head, data, sizeof head);
    head.magic = SPAWN_MAGIC;
    memcpy(file, &head, sizeof head);
    if (spawn_parse(file, size, pointers, &p)) {
        size_t bytes = strlen(p.cwd) + 1;
        for (char **s = p.argv; *s != NULL; s++)
            bytes += strlen(*s) + 1;
        for (char **s = p.env; *s != NULL; s++)
            bytes += strlen(*s) + 1;
        if (bytes != p.head->bytes)
            abort();
    }
    free(file);
}

/** One packet of @size bytes with @count fds through a socket; the receiving end is returned. */
static int through_socket(const uint8_t *data, size_t size, unsigned count)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int) * 16)];
    } space = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    if (count > 0) {
        msg.msg_control = space.buf;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        for (unsigned i = 0; i < count; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &ends[0], sizeof(int));
    }
    if (sendmsg(ends[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && size <= PROTOCOL_MAX_BODY)
        abort();
    close(ends[0]);
    return ends[1];
}

/** What was received is in bounds, and no fd stays open. */
static void sockets(const uint8_t *data, size_t size, unsigned count, bool frame)
{
    static struct frame f;
    struct message m;
    int lowest = dup(0), fds[PACKET_MAX_FDS];
    unsigned got = 0;
    close(lowest);
    int socket = through_socket(data, size, count);
    if (frame && frame_receive(socket, &f, MSG_DONTWAIT) == 1) {
        if (f.fd_count > PROTOCOL_MAX_FDS || (unsigned)f.fd_count > count)
            abort();
        frame_get(&f, "op");
        frame_close_fds(&f);
    } else if (!frame && message_receive_fds(socket, &m, fds, 2, &got, MSG_DONTWAIT) == 1) {
        if (got > 2 || got > count || memchr(m.text, '\0', sizeof m.text) == NULL)
            abort();
        while (got > 0)
            close(fds[--got]);
    }
    close(socket);
    int now = dup(0);
    close(now);
    if (now != lowest)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] & 3) {
    case 0:
        commands(data + 1, size - 1);
        break;
    case 1:
        frames(data + 1, size - 1);
        break;
    default:
        sockets(data + 1, size - 1, (data[0] >> 2) % 12, (data[0] & 1) != 0);
        break;
    }
    return 0;
}
