/**
 * Starting a keeper. It comes up and waits to be told what it is there for, so that it can be on
 * its way while its sandbox is still being made.
 */
#ifndef CLOCHE_RUNTIME_LAUNCH_H
#define CLOCHE_RUNTIME_LAUNCH_H

#include "base/error.h"

/* What a keeper is told, in one packet. */
#define KEEPER_START    "start"
#define KEEPER_REMOVE   "remove" /* what a sandbox without a keeper left */
#define KEEPER_QUERY    "query" /* to answer one question about what is stored, in the next packet */
#define KEEPER_TASK_MAX 16

/* The start program has a keeper coming before it knows what for: its socket's number. */
#define KEEPER_EARLY "CLOCHE_EARLY_KEEPER"

/** A keeper for @id, nobody's child. Returns the socket on which it is told, and answers with one
 * frame, OK or ERROR; it ends when that is closed before. keeper.start */
int keeper_spawn(const char *id, struct error *err);

/** For whoever runs `create`, in this program or in the one that takes its place. */
void keeper_announce(int socket);

/** @network: for the sandbox that it starts (sandbox_make_network()), or -1. */
int keeper_tell(int socket, const char *id, const char *task, int network, struct error *err);

/** It is not needed: wait until it has gone. */
void keeper_dismiss(int socket);

#endif
