/**
 * Requests to a module from a client: many in flight over one connection, small ones coalesced.
 * The wire is runtime/calls.h.
 */
#ifndef CLOCHE_RUNTIME_CLIENT_CALLS_H
#define CLOCHE_RUNTIME_CLIENT_CALLS_H

#include "base/error.h"
#include "runtime/calls.h"
#include "runtime/mailbox.h"
#include "runtime/protocol.h"

#include <stdbool.h>
#include <stddef.h>

struct calls {
    int fd; /* to the keeper */
    char sandbox[72];
    bool greeted;      /* the module is known there */
    bool waits, polls; /* for replies: in here, or outside */
    bool asked, ended; /* the mailbox; its bell has said so */
    struct mailbox box;
    struct mailbox_shared *shared; /* NULL: not yet */
    uint64_t until_ms;             /* of a wait; 0: for ever */
    int poll_fd; /* for the application, while it is not known by which way replies come; -1 */
    unsigned char *out, *own; /* the frame being filled: in the box, or in @own */
    size_t used, room;
    int fds[PROTOCOL_MAX_FDS];
    int fd_count;
    struct frame *in;
    const char *body; /* of the frame being read: in the box, or in @in */
    bool boxed;
    size_t at;
    int next_fd;
    void *map; /* of the reply read last */
    size_t map_size;
};

struct calls_reply {
    uint64_t id;
    bool failed; /* @error instead of a reply */
    struct error error;
    int status;
    uint32_t version;
    const void *data; /* until the next call of calls_next() */
    size_t size;
};

/** -1: client_connect's errors. That there is no such module is said by calls_next(). */
int calls_open(struct calls *c, const char *sandbox, const char *module, uint64_t timeout_ms,
               struct error *err);
void calls_close(struct calls *c);

/** Waits end when those of this thread do, as for a connection opened now. */
void calls_set_deadline(struct calls *c);
/** Everything was answered: is the keeper still there? */
bool calls_idle(const struct calls *c);

/** To poll, when calls_next() has said 0: readable when replies are there. */
int calls_fd(struct calls *c);

/** Add a request; it goes with calls_send(), or when a frame is full. call.too_large */
int calls_put(struct calls *c, uint64_t id, const void *data, size_t size, struct error *err);
/** @wait false: 1 when the socket has no room now. */
int calls_send(struct calls *c, bool wait, struct error *err);
/** The next reply: 1; 0: none now (not with @wait); -1: the connection is of no use any more. */
int calls_next(struct calls *c, bool wait, struct calls_reply *ret, struct error *err);

#endif
