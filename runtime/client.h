/**
 * The client's side: finds keepers, starts them, talks to them. What the CLI uses, and what
 * runtime/cloche.h gives to applications. No JSON in here, no global state.
 *
 * Where things are: <state>/sandboxes/<id>/ is a sandbox; it exists when that directory does.
 * <run>/sandboxes/<id>/control.sock is its door. A sandbox whose door is shut has lost its keeper.
 */
#ifndef CLOCHE_RUNTIME_CLIENT_H
#define CLOCHE_RUNTIME_CLIENT_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"
#include "runtime/protocol.h"

#include <stdbool.h>
#include <stdint.h>

/** Until when (CLOCK_MONOTONIC) the calling thread waits for keepers: everything below that waits
 * fails with call.deadline then. 0, the beginning: for ever. */
void client_set_deadline(uint64_t until_ms);
uint64_t client_now_ms(void);

/** A socket to the keeper. sandbox.bad_id, sandbox.unknown, sandbox.stopped,
 * keeper.gone */
int client_connect(const char *id, struct error *err);

/** Whether @err says that the sandbox has no keeper: it was killed, or stopped. */
bool client_without_keeper(const struct error *err);

/** Send one request and wait for its end; @ret holds the OK frame (its fds are closed). */
int client_call(const char *id, const char *operation, const struct fields *fields,
                struct frame *ret, struct error *err);
/** The request alone, over an open connection. */
int client_send(int socket, const char *operation, const struct fields *fields, const int *fds,
                int fd_count, struct error *err);
/** The next frame: 1 DATA, 0 OK; -1: ERROR, or the connection broke (keeper.gone). */
int client_next(int socket, const char *id, struct frame *ret, struct error *err);

/** The same, for what is answered in JSON: its text, to be freed. */
char *client_json(const char *id, const char *operation, const struct fields *fields,
                  struct error *err);
/** A question about what is stored, answered beside the keeper or without one: JSON, to be freed.
 * @fd goes along unless it is -1. */
char *client_stored(const char *id, const char *operation, const struct fields *fields, int fd,
                    struct error *err);

/** A keeper that was spawned already, and what it is given; both are taken. */
struct client_early {
    int keeper, network; /* network: of sandbox_make_network(), or -1 */
};

/** Make the sandbox and its keeper, and wait until it runs. @early: may be NULL. sandbox.exists,
 * and all of sandbox_serve(). -1: nothing is left behind. */
int client_create(const char *id, const char *spec_json, const struct client_early *early,
                  struct error *err);

/** Start the keeper of a sandbox that has none. */
int client_start(const char *id, struct error *err);

/* The same in steps, for callers that must not wait. */
/** The sandbox's directory with its spec; then it exists. sandbox.exists */
int client_make(const char *id, const char *spec_json, struct error *err);
/** A keeper begins with @task (runtime/launch.h); returns the socket on which its one frame, OK or
 * ERROR, comes. */
int client_launch(const char *id, const char *task, struct error *err);
/** That frame, or what is said when the keeper ended without one. */
int client_launched(int socket, const char *id, struct frame *f, struct error *err);
/** A creation that failed with @why: nothing stays. */
void client_unmake(const char *id, const struct error *why);

/** End it and remove every trace, with or without a keeper. sandbox.busy unless @force. */
int client_destroy(const char *id, bool force, struct error *err);

/** Restart it; starts a new keeper where there is none. */
int client_restart(const char *id, bool force, struct error *err);

/** Ids of all sandboxes, oldest first; sweeps what killed clients left. */
int client_list(struct arena *a, struct strings *ret, struct error *err);

/** A regular file inside, with the rights of the sandbox's user: to be read (@mode -1), or to be
 * written, emptied or made with permissions @mode. */
int client_open_file(const char *id, const char *path, int mode, struct error *err);

/** A file of the sandbox's state directory, or -1 with sandbox.unknown. */
int client_open_state(const char *id, const char *file, struct error *err);
/** Text of record.json, for a sandbox without a keeper; NULL when there is none yet, "" when
 * it cannot be read. */
char *client_record(struct arena *a, const char *id);

/** Large, so never on a stack. */
struct frame *client_frame_new(void);

#endif
