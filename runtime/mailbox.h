/**
 * One packet at a time from a process to another through memory, beside the socket they have.
 *
 * Theory of operation. A packet through a unix socket costs its buffer, its locks and its checks of
 * credentials; with the process switch that follows, most of what a small call takes. Two processes
 * that have a SEQPACKET socket share, beside it, a sealed memfd with a box for each direction. Both
 * count the packets of a direction, whichever way they go. The sender puts one into the box when
 * the box is empty, the packet fits and has no fds; everything else goes by the socket. The
 * receiver takes what has the next number: the box's when it has that, else the socket's. So the
 * order holds, a full box delays nobody, and there is nothing to wrap around.
 *
 * Who receives sleeps on a bell: says so, looks once more, and reads the bell. Who sends rings when
 * it finds a sleeper, and wakes it so: there is exactly one ring for each time that `asleep` goes
 * from 1 to 0, and none for a receiver that is awake. A client and a worker have a pipe, which ends
 * when the keeper does; the keeper has an eventfd in its loop, edge-triggered and never read.
 *
 * Before they sleep, a client that waits, and the keeper when nothing else is asked of it, watch
 * for SPIN_NS, if the other end was on another processor when it sent last: to wake one that idles
 * takes as long, and calls that follow each other mostly take 4 us instead of 60. On one processor
 * the other could not run meanwhile. Who watched in vain does not for the next UNLUCKY times, so
 * what is slower than that costs nothing. A worker does not watch: it would keep a client that
 * wakes up there from its processor. Nobody yields: the scheduler takes that for the end of a turn.
 *
 * A packet is written where it will be read when the box is empty at that time, and what is large
 * is read there: of 4 KiB that goes through two boxes and back, each copy less is 2 % of the call.
 *
 * Trust. The keeper makes the memory, and its size cannot change. Its own counts are in its own
 * memory. Of the other end it reads a number, compared for equality; a size, read once and checked;
 * whether the box is empty and whether to ring; and the packet, which can change under its eyes: a
 * head is copied before it is looked at, and a payload that is not copied is passed on unread.
 * Whoever lies there spoils its own packets, which are checked like any that came by the socket.
 */
#ifndef CLOCHE_RUNTIME_MAILBOX_H
#define CLOCHE_RUNTIME_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAILBOX_HALF 65536u
#define MAILBOX_ROOM (MAILBOX_HALF - 128u)
/* Up to here it is cheaper to copy a packet, and have the box empty for the next, than to read it
 * there */
#define MAILBOX_SMALL 1024u

/** Shared: one direction. */
struct mailbox_half {
    /* written by the sender, but for asleep */
    _Alignas(64) uint64_t sent; /* packets up to now, whichever way */
    uint64_t number;            /* of the packet in the box, from 1 */
    uint32_t size, processor;   /* that the sender was on: a hint */
    /* written by the receiver, and asleep by both */
    _Alignas(64) uint64_t taken; /* packets up to now, whichever way */
    uint32_t asleep;
    _Alignas(64) unsigned char data[MAILBOX_ROOM];
};

/** Both: from the keeper and to the keeper. */
struct mailbox_shared {
    struct mailbox_half down, up;
};

/** One end of it, in private memory. Zeroed it has no box, and counts. */
struct mailbox {
    struct mailbox_half *out, *in;
    int ring, bell; /* the other's, and ours: -1 when it is in a loop */
    uint64_t sent, boxed, taken;
    unsigned unlucky; /* so many waits go without a spin */
    bool patient;     /* it may watch before it sleeps */
    bool resting;     /* asleep, or about to */
    bool rang;        /* the other end was, at what was sent last */
};

/** From now on there is memory; what was counted before counts. */
void mailbox_open(struct mailbox *m, struct mailbox_half *out, struct mailbox_half *in, int ring,
                  int bell);

/** Where the next packet can be written, at most MAILBOX_ROOM, for mailbox_put() to find it there;
 * NULL: the box is not empty. Not to be read again: the other end can change it. */
void *mailbox_room(const struct mailbox *m);
/** Into the box; false: send it by the socket, and then say so. */
bool mailbox_put(struct mailbox *m, const void *data, size_t size);
/** A packet went by the socket. */
void mailbox_sent(struct mailbox *m);

/** Is the next packet in the box? */
bool mailbox_full(const struct mailbox *m);
/** Where it is, until mailbox_taken(); its size, at most MAILBOX_ROOM; -1: it breaks a rule. */
long mailbox_look(const struct mailbox *m, const void **ret);
/** Watch for the next packet for a moment, if that is worth while: is it there? */
bool mailbox_spin(struct mailbox *m);
/** Take it out: its size; -1 as before. */
long mailbox_take(struct mailbox *m, void *data);
/** A packet came by the socket, or is not needed in the box any more. */
void mailbox_taken(struct mailbox *m);
/** Copy what the other end can change: from here on nobody reads it there. */
static inline void mailbox_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ volatile("" : : "r"(to) : "memory");
}
/** Has something been sent, either way, that was not taken? As the other end says, so for those
 * who trust it. */
bool mailbox_waiting(const struct mailbox *m);

/** Let the bell ring for what comes from now on; what came before has to be looked for again. */
void mailbox_rest(struct mailbox *m);
/** No longer; the ring of one that was faster is waited for. */
void mailbox_rise(struct mailbox *m);
/** Rest until something waits, or @timeout_ms (-1: for ever): 1; 0: the other end is gone; -1 with
 * errno, EAGAIN when it took too long. */
int mailbox_wait(struct mailbox *m, int timeout_ms);

#endif
