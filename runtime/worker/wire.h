/**
 * What a keeper and a worker say to each other.
 *
 * Theory of operation. A unix SEQPACKET socket; a packet is a sequence of records, a record a fixed
 * head and its payload, padded to 8 bytes. Small requests and replies share a packet; one whose
 * payload is larger than WIRE_INLINE_MAX travels as a sealed memfd in a packet of its own. A worker
 * does everything in the order in which it was told, so replies and DONEs need no matching.
 *
 *   keeper                                worker
 *     INIT {struct wire_init} + fds --->  dlopen, init
 *     <--- DONE 0                         (or DONE with why not)
 *     REQUEST, REQUEST, ... --->          one after the other
 *     <--- REPLY, REPLY, ...
 *     SAVE, COPY --->                     <--- DONE + snapshot
 *     GIVE --->                           <--- DONE + snapshot, its arena still mapped here
 *     SEAL --->                           <--- DONE; it is sealed now
 *     LOAD + snapshot --->                migrate, load_state, health; <--- DONE
 *     STOP {reason} --->                  stop, exit
 *
 * After INIT a packet without fds goes through a mailbox when it can (runtime/mailbox.h); one that
 * takes the socket has its number in front, and must be the next. Up to INIT they have 0. In the
 * same shared memory is the progress: the worker notes which request it is at before it runs it;
 * the keeper reads that when the worker has died or seems to hang, and sets `hold` so that requests
 * of a packet that the worker has not begun are left undone: a quiesce waits for one request, not
 * for a packet of them.
 *
 * A worker runs foreign code, so the keeper believes nothing: wire_next() checks every length,
 * worker.c (keeper) every number, type and order, and a worker that breaks a rule is killed.
 */
#ifndef CLOCHE_RUNTIME_WORKER_WIRE_H
#define CLOCHE_RUNTIME_WORKER_WIRE_H

#include "runtime/mailbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_SOCKET     3 /* the worker's end */
#define WIRE_PACKET_MAX MAILBOX_ROOM
#define WIRE_INLINE_MAX 32768u /* payload of one record */
#define WIRE_MAX_FDS    5
#define WIRE_DETAIL_MAX 240 /* text of DONE */

enum wire_type {
    /* down */
    WIRE_INIT = 1, /* payload struct wire_init; fds: enum wire_fd */
    WIRE_REQUEST,  /* id; value: received_ms; flags CLOCHE_REQUEST_* | WIRE_FD; payload */
    WIRE_SAVE,     /* value: requests that the state contains, for its header */
    WIRE_LOAD,     /* fd: snapshot; migrated when its schema differs; then health */
    WIRE_MIGRATE,  /* fd: snapshot; value: the schema wanted; DONE carries the result */
    WIRE_HEALTH,
    WIRE_PING,    /* DONE, and nothing else */
    WIRE_STOP,    /* value: enum cloche_stop */
    WIRE_EXPIRED, /* id: the timer's token */
    WIRE_ENDED,   /* id: the child's number; value: its status */
    WIRE_SETTLE,  /* DONE when GIVE will take no time: the arena is in a file of its own again */
    WIRE_GIVE,    /* as SAVE; an arena is left where it is, until: */
    WIRE_SEAL,    /* give up writing to it, and prove that by its seal */
    WIRE_COPY,    /* as SAVE, and another comes soon: memory for it is got ready */
    /* up */
    WIRE_DONE = 64, /* of INIT, SAVE, LOAD, MIGRATE, HEALTH, PING: value: enum wire_failure; text */
    WIRE_REPLY,     /* id; value: handle's status; payload, or WIRE_FD */
    WIRE_LOG,       /* value: level; text */
    WIRE_TIMER,     /* id: token; payload: delay_ms, period_ms (uint64_t) */
    WIRE_CANCEL,    /* id: token */
    WIRE_CHILD_START, /* id: number; payload: the spec's JSON */
    WIRE_CHILD_STOP   /* id: number */
};

#define WIRE_FD 0x8000u /* flags: the payload is in the packet's memfd */

enum wire_failure {
    WIRE_OK,
    WIRE_FAIL_DLOPEN,
    WIRE_FAIL_MODULE, /* the symbol, the ABI block, the name */
    WIRE_FAIL_INIT,
    WIRE_FAIL_SAVE,
    WIRE_FAIL_MIGRATE,
    WIRE_FAIL_LOAD,
    WIRE_FAIL_HEALTH,
    WIRE_FAILURES
};

struct wire_record {
    uint32_t size; /* of the payload, without padding */
    uint16_t type, flags;
    uint64_t id, value;
};

#define WIRE_INIT_MIGRATE_ONLY 1u /* load the file, do not call init */
#define WIRE_INIT_WARM         2u /* all will wait for its LOAD: have memory for it in reach */

struct wire_init {
    uint32_t version, flags;
    uint64_t state_cap, reply_cap; /* bytes */
    uint64_t arena_bytes;          /* of a module that wants one */
    char module[72];               /* its name, NUL-terminated */
};

/** The fds of INIT. */
enum wire_fd {
    WIRE_FD_SHARED, /* struct wire_shared */
    WIRE_FD_BELL,
    WIRE_FD_RING,
    WIRE_FD_LOG
};

struct wire_progress {
    uint64_t at;   /* id of the last request begun; written by the worker */
    uint64_t hold; /* not 0: begin no request; written by the keeper */
    /* enum wire_failure: the function of the module it is in, other than for a request; 0: none.
     * Written by the worker, to name it when it does not come back. */
    uint64_t stage;
};

/** What they share. */
struct wire_shared {
    struct wire_progress progress;
    struct mailbox_shared boxes;
};

/** A packet being written. */
struct wire_packet {
    size_t used;
    unsigned char *data; /* in a box, or: */
    _Alignas(8) unsigned char own[WIRE_PACKET_MAX];
};

/** Begin to write, into the box of @m when it is empty; @m may be NULL. */
void wire_begin(struct wire_packet *p, const struct mailbox *m);

/** Room for one more record with @size bytes of payload? */
bool wire_fits(const struct wire_packet *p, size_t size);
/** Append; the place of the payload, to be filled by the caller when @data is NULL. NULL when it
 * does not fit. */
void *wire_add(struct wire_packet *p, const struct wire_record *r, const void *data);

/** The record at *@at: 1, and *@at behind it; 0: the end; -1: malformed. The payload points into
 * the packet and is aligned to 8; the rest is a copy, for a packet that may change meanwhile. */
int wire_next(const void *packet, size_t size, size_t *at, struct wire_record *ret,
              const void **ret_payload);

/** Packet @number with its fds; 0, or -1 with errno. @flags: MSG_DONTWAIT or 0. */
int wire_send(int socket, uint64_t number, const void *data, size_t size, const int *fds,
              int fd_count, int flags);
/** Bytes received (0: the other end is gone), or -1 with errno; EPROTO when something was cut, or
 * it has no number. *@ret_count of at most WIRE_MAX_FDS fds are the caller's when it is above 0. */
long wire_receive(int socket, uint64_t *ret_number, void *data, size_t room, int *ret_fds,
                  int *ret_count, int flags);

/** An empty memfd for a payload, to be filled and sealed; each -1 with errno. */
int wire_new_memfd(void);
int wire_seal_memfd(int fd);
/** @data in a sealed memfd, or -1 with errno. */
int wire_make_memfd(const void *data, size_t size);
/** Bytes of a memfd that nobody can change any more, at most @cap; -1: it is not such a file. */
int64_t wire_memfd_size(int fd, uint64_t cap);

#endif
