/* Packets through memory beside a socket: the order, the bell, and an end that lies. */
#include "runtime/mailbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct mailbox_shared shared;
static struct mailbox keeper, other;
static int sockets[2], bells[2], rings[2];

static void open_both(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    cr_assert_eq(pipe(bells), 0);
    cr_assert_eq(pipe(rings), 0);
    mailbox_open(&keeper, &shared.down, &shared.up, bells[1], -1);
    mailbox_open(&other, &shared.up, &shared.down, rings[1], bells[0]);
}

TestSuite(mailbox, .init = open_both);

static void give(unsigned n)
{
    if (n % 7 != 3 && mailbox_put(&keeper, &n, sizeof n))
        return;
    cr_assert_eq(send(sockets[0], &n, sizeof n, MSG_DONTWAIT), (ssize_t)sizeof n);
    mailbox_sent(&keeper);
}

static unsigned take(void)
{
    unsigned n = 0;
    cr_assert(mailbox_waiting(&other));
    if (mailbox_full(&other)) {
        static unsigned char data[MAILBOX_ROOM];
        cr_assert_eq(mailbox_take(&other, data), (long)sizeof n);
        memcpy(&n, data, sizeof n);
        return n;
    }
    cr_assert_eq(recv(sockets[1], &n, sizeof n, MSG_DONTWAIT), (ssize_t)sizeof n);
    mailbox_taken(&other);
    return n;
}

static bool rung(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

Test(mailbox, the_order_holds_whichever_way_they_go)
{
    unsigned given = 0, taken = 0, turn = 1;
    while (taken < 20000) {
        turn = turn * 1664525 + 1013904223;
        if (given - taken < 100 && turn >> 31 == 0)
            give(given++);
        else if (taken < given)
            cr_assert_eq(take(), taken++);
    }
    while (taken < given)
        cr_assert_eq(take(), taken++);
    cr_expect_not(mailbox_waiting(&other));
}

Test(mailbox, the_bell_rings_once_for_one_that_sleeps)
{
    give(0);
    cr_expect_not(rung(bells[0]), "nobody slept");
    take();
    mailbox_rest(&other);
    give(1);
    give(2);
    give(3); /* by the socket */
    cr_expect(rung(bells[0]));
    cr_expect_eq(mailbox_wait(&other, -1), 1);
    cr_expect_not(rung(bells[0]), "it rang twice");
    take();
    take();
    take();
    errno = 0;
    cr_expect_eq(mailbox_wait(&other, 0), -1);
    cr_expect_eq(errno, EAGAIN);
    give(4);
    cr_expect_eq(mailbox_wait(&other, 0), 1);
    cr_expect_not(rung(bells[0]), "a ring was left");
}

Test(mailbox, one_whose_keeper_is_gone_wakes_up)
{
    close(bells[1]);
    cr_expect_eq(mailbox_wait(&other, -1), 0);
}

Test(mailbox, a_full_box_and_a_large_packet_go_by_the_socket)
{
    static unsigned char large[MAILBOX_ROOM + 1];
    cr_expect(mailbox_put(&keeper, large, MAILBOX_ROOM));
    cr_expect_not(mailbox_put(&keeper, large, 1));
    cr_expect_eq(mailbox_take(&other, large), (long)MAILBOX_ROOM);
    cr_expect_not(mailbox_put(&keeper, large, MAILBOX_ROOM + 1));
    cr_expect(mailbox_put(&keeper, large, 1));
}

Test(mailbox, a_packet_is_written_and_read_in_place)
{
    const void *seen;
    char *room = mailbox_room(&keeper);
    cr_assert_not_null(room);
    memcpy(room, "first", 5);
    cr_expect_not(mailbox_full(&other), "it is not sent before it is put");
    cr_expect(mailbox_put(&keeper, room, 5));
    cr_expect_null(mailbox_room(&keeper), "the box is full");
    cr_assert(mailbox_full(&other));
    cr_expect_eq(mailbox_look(&other, &seen), 5);
    cr_expect_eq(mailbox_look(&other, &seen), 5, "looking takes nothing out");
    cr_expect_arr_eq(seen, "first", 5);
    cr_expect_null(mailbox_room(&keeper));
    mailbox_taken(&other);
    cr_expect_not(mailbox_full(&other));
    cr_expect_eq(mailbox_room(&keeper), room);
    cr_expect(mailbox_put(&keeper, "second", 6), "what is elsewhere is copied");
    cr_expect_eq(mailbox_look(&other, &seen), 6);
    cr_expect_arr_eq(seen, "second", 6);
}

Test(mailbox, one_watches_for_another_processor_and_not_in_vain_for_long)
{
    const uint32_t here = (uint32_t)sched_getcpu(), elsewhere = here + 1;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((int)here, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_expect(mailbox_put(&keeper, "x", 1));
    cr_expect_eq(shared.down.processor, here);
    cr_expect_not(mailbox_spin(&other), "the sender is on this one");
    shared.down.processor = elsewhere;
    cr_expect(mailbox_spin(&other));
    cr_expect(mailbox_spin(&other), "it was lucky");
    mailbox_taken(&other);
    cr_expect_not(mailbox_spin(&other), "there is none");
    cr_expect(mailbox_put(&keeper, "y", 1));
    shared.down.processor = elsewhere;
    int skipped = 0;
    while (skipped < 1000 && !mailbox_spin(&other))
        skipped++;
    cr_expect(skipped > 0 && skipped < 1000, "%d", skipped);
    mailbox_taken(&other);
    mailbox_sent(&keeper); /* by the socket */
    shared.down.processor = elsewhere;
    cr_expect(mailbox_spin(&other));
}

Test(mailbox, one_that_lies_spoils_its_own_packets)
{
    static unsigned char data[MAILBOX_ROOM + 1];
    data[MAILBOX_ROOM] = 0x5a;
    shared.up.number = UINT64_MAX;
    shared.up.sent = UINT64_MAX;
    cr_expect_not(mailbox_full(&keeper), "a number of the future is not its turn");
    shared.up.number = 1;
    shared.up.size = UINT32_MAX;
    cr_assert(mailbox_full(&keeper));
    cr_expect_eq(mailbox_take(&keeper, data), -1);
    shared.up.size = MAILBOX_ROOM;
    cr_expect_eq(mailbox_take(&keeper, data), (long)MAILBOX_ROOM);
    cr_expect_eq(data[MAILBOX_ROOM], 0x5a);
    cr_expect_not(mailbox_full(&keeper), "the same packet twice");
    shared.down.taken = UINT64_MAX; /* everything is read already */
    for (int i = 0; i < 3; i++)
        cr_expect(mailbox_put(&keeper, data, MAILBOX_ROOM));
}
