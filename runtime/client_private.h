/** What client.c and client_sandboxes.c share. Private. */
#ifndef CLOCHE_RUNTIME_CLIENT_PRIVATE_H
#define CLOCHE_RUNTIME_CLIENT_PRIVATE_H

#include "runtime/client.h"

/** sandbox.bad_id */
int client_check_id(const char *id, struct error *err);
/** The directory of @id in @top, by its name alone. -1 with errno. */
int client_open_below(int top, const char *id);
/** The state directory of the sandbox. */
int client_open_sandbox(const char *id, struct error *err);

/** What waits on this socket waits no longer than the rest of the time. */
int client_limit_wait(int fd, const char *id, struct error *err);
int client_too_late(const char *id, struct error *err);
uint64_t client_deadline(void);

#endif
