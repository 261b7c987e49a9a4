#include "runtime/worker/wire.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/packet.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

void wire_begin(struct wire_packet *p, const struct mailbox *m)
{
    unsigned char *room = m != NULL ? mailbox_room(m) : NULL;
    p->data = room != NULL ? room : p->own;
    p->used = 0;
}

bool wire_fits(const struct wire_packet *p, size_t size)
{
    return size <= WIRE_PACKET_MAX &&
           sizeof(struct wire_record) + padded(size) <= WIRE_PACKET_MAX - p->used;
}

void *wire_add(struct wire_packet *p, const struct wire_record *r, const void *data)
{
    if (!wire_fits(p, r->size))
        return NULL;
    unsigned char *at = p->data + p->used;
    memcpy(at, r, sizeof *r);
    at += sizeof *r;
    if (data != NULL && r->size > 0)
        memcpy(at, data, r->size);
    p->used += sizeof *r + padded(r->size);
    return at;
}

int wire_next(const void *packet, size_t size, size_t *at, struct wire_record *ret,
              const void **ret_payload)
{
    if (*at == size)
        return 0;
    if (*at > size || size - *at < sizeof *ret)
        return -1;
    const unsigned char *from = (const unsigned char *)packet + *at;
    mailbox_copy(ret, from, sizeof *ret);
    size_t left = size - *at - sizeof *ret;
    if (ret->size > left || padded(ret->size) > left)
        return -1;
    *ret_payload = from + sizeof *ret;
    *at += sizeof *ret + padded(ret->size);
    return 1;
}

int wire_send(int socket, uint64_t number, const void *data, size_t size, const int *fds,
              int fd_count, int flags)
{
    const struct iovec parts[] = {{&number, sizeof number}, {(void *)(uintptr_t)data, size}};
    return packet_send(socket, parts, 2, fds, (unsigned)fd_count, flags);
}

long wire_receive(int socket, uint64_t *ret_number, void *data, size_t room, int *ret_fds,
                  int *ret_count, int flags)
{
    const struct iovec parts[] = {{ret_number, sizeof *ret_number}, {data, room}};
    unsigned count;
    ssize_t n = packet_receive(socket, parts, 2, ret_fds, WIRE_MAX_FDS, &count, flags);
    *ret_count = (int)count;
    if (n <= 0 || n > (ssize_t)sizeof *ret_number)
        return n <= 0 ? n : n - (ssize_t)sizeof *ret_number;
    for (unsigned i = 0; i < count; i++) /* a number of nothing, or not even that */
        close(ret_fds[i]);
    *ret_count = 0;
    errno = EPROTO;
    return -1;
}

int wire_new_memfd(void)
{
    return memfd_create("cloche-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int wire_seal_memfd(int fd)
{
    return io_seal(fd, SEALS | F_SEAL_SEAL);
}

int wire_make_memfd(const void *data, size_t size)
{
    _cleanup_close_ int fd = wire_new_memfd();
    if (fd < 0 || io_write_all(fd, data, size) < 0 || wire_seal_memfd(fd) < 0)
        return -1;
    return TAKE_FD(fd);
}

int64_t wire_memfd_size(int fd, uint64_t cap)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size < 0 ||
        (uint64_t)st.st_size > cap)
        return -1;
    return st.st_size;
}
