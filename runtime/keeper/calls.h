/**
 * Requests on their way: from a client's connection through a module's queue to a worker, and back.
 *
 * Theory of operation. A connection names a module once (operation "call") and then sends frames of
 * requests; each becomes a struct call. A call is always in exactly one list, and ends by exactly
 * one reply:
 *
 *    queue ---> in flight (worker) ---> answered ---> [log] ---> freed
 *      ^             |
 *      +-- taken back: the worker died, or the request was not begun when a quiesce came
 *
 * The log holds what was answered since the last snapshot, of modules that are DETERMINISTIC: it is
 * what makes an old version, or a restarted one, equal to the one that is gone.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_CALLS_H
#define CLOCHE_RUNTIME_KEEPER_CALLS_H

#include "base/error.h"
#include "runtime/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;
struct service;
struct worker;
struct connection;
struct wire_record;

struct call {
    struct call *next;
    struct connection *client; /* NULL: it has gone */
    uint64_t client_id;        /* the client's own number of it */
    uint64_t id;               /* within the module, growing */
    uint64_t received_ms;
    uint64_t reply_digest; /* of a logged one */
    uint32_t timeout_ms;
    uint32_t size;   /* of the payload, also when it is in @fd */
    uint16_t flags;  /* CLOCHE_REQUEST_AGAIN */
    uint16_t deaths; /* workers that died with it in hand */
    int fd;          /* a sealed memfd, or -1: the payload follows */
    _Alignas(8) unsigned char data[];
};

struct call_list {
    struct call *head, **tail; /* tail NULL: empty */
    size_t count, bytes;
};

void call_push(struct call_list *l, struct call *c);
struct call *call_pop(struct call_list *l);
/** All of @front before what is in @l. */
void call_prepend(struct call_list *l, struct call_list *front);
void call_free(struct call *c);

/* --- connections --- */
/** A frame of requests. -1: it breaks a rule. */
int calls_receive(struct connection *c, struct frame *f);
/** The client has gone: its requests are done, their replies dropped. */
void calls_forget(struct connection *c);

/* --- modules --- */
/** Give the serving worker what it may have. */
void calls_dispatch(struct service *m);
/** A worker's reply; false: it breaks a rule. */
bool calls_reply(struct worker *w, const struct wire_record *r, const void *payload, int fd);
/** A packet of replies is complete. */
void calls_flush(struct keeper *k);
/** Put what @w has in hand back at the head of the queue. @died: the one that it was at has seen a
 * worker die. Returns that one, when it is still in the queue. */
struct call *calls_take_back(struct service *m, struct worker *w, bool died);
/** Answer everything that waits with an error. */
void calls_refuse(struct service *m, const struct error *err);
void calls_fail(struct service *m, struct call *c, const struct error *err);

/** Send the log but its first @skip to @w, in order, the replies compared and dropped; then @done.
 */
void calls_replay(struct service *m, struct worker *w, size_t skip,
                  void (*done)(void *context, bool ok), void *context);
/** @w is lost: a replay into it ends. */
void calls_replay_lost(struct service *s, struct worker *w);
/** The log has grown: replay what came since, too, and then call @done instead. */
void calls_replay_rest(struct service *s, void (*done)(void *context, bool ok), void *context);
/** Nobody wants it any more. */
void calls_replay_forget(struct service *s);
/** Forget the oldest @count of the log. */
void calls_drop_logged(struct service *s, size_t count);
/** Forget the log. */
void calls_drop_log(struct service *m);

#endif
