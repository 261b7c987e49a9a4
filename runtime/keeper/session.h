/**
 * A client that calls a module: its connection's requests in, its replies out, coalesced into one
 * frame per round of the loop. A client that does not read its replies is not read from.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_SESSION_H
#define CLOCHE_RUNTIME_KEEPER_SESSION_H

#include "runtime/keeper/calls.h"
#include "runtime/keeper/keeper.h"

/** A reply to @c, which its client then no longer waits for. @fd is borrowed. */
void session_reply(struct connection *client, struct call *c, int status, uint32_t version,
                   const void *payload, uint32_t size, int fd);
void session_fail(struct connection *client, struct call *c, const struct error *err);
/** @c is gone without a reply. */
void session_done(struct connection *client, struct call *c);
/** A frame came by the socket: one that is in the mailbox was there before. */
void session_before(struct connection *client);
/** The socket can be written to again. */
void session_writable(struct connection *client);

#endif
