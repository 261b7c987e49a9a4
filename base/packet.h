/**
 * One packet of a unix SEQPACKET socket with the fds that travel along (unix(7), SCM_RIGHTS).
 * Async-signal-safe.
 */
#ifndef CLOCHE_BASE_PACKET_H
#define CLOCHE_BASE_PACKET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define PACKET_MAX_FDS 8

/** Sends all of @parts with @count fds; 0, or -1 with errno (E2BIG: too many fds). @flags:
 * MSG_DONTWAIT or 0. */
int packet_send(int socket, const struct iovec *parts, size_t part_count, const int *fds,
                unsigned count, int flags);

/** Bytes received; 0: the other end is gone, or sent nothing; -1 with errno, EPROTO when data was
 * cut or more than @max fds came. The *@ret_count fds in @fds are the caller's; whenever the answer
 * is not above 0, none is left open. */
ssize_t packet_receive(int socket, const struct iovec *parts, size_t part_count, int *fds,
                       unsigned max, unsigned *ret_count, int flags);

#endif
