/* The wire between keeper and worker: what a hostile end of it may cost. */
#include "runtime/worker/wire.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

Test(wire, an_empty_packet_leaves_no_file_open)
{
    int ends[2], fds[WIRE_MAX_FDS], count;
    unsigned char data[64];
    uint64_t number;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const int passed[] = {0, 0};
    int free_before = dup(0);
    close(free_before);
    cr_assert_eq(wire_send(ends[1], 1, "", 0, passed, 2, 0), 0);
    cr_assert_eq(wire_receive(ends[0], &number, data, sizeof data, fds, &count, 0), -1);
    cr_expect_eq(count, 0);
    int free_after = dup(0);
    cr_expect_eq(free_after, free_before, "a file that came with an empty packet is still open");
}
