/** The inside of cloche-worker: one module, loaded, with what the host gives it. */
#ifndef CLOCHE_RUNTIME_WORKER_HOST_H
#define CLOCHE_RUNTIME_WORKER_HOST_H

#include "runtime/worker/wire.h"
#include "versions/module.h"

struct host {
    struct cloche_host api; /* first: what the module passes back is cast to this */
    struct wire_init init;
    char name[72];
    const struct cloche_module *module;
    void *self;
    struct wire_progress *progress;
    struct wire_packet out; /* replies and messages not sent yet */
    uint64_t last_child;
};

/** Send what is waiting. Ends the process when nobody is there any more. */
void host_flush(struct host *h);
/** Queue one record; @fd, when given, is closed and goes in a packet of its own. */
void host_put(struct host *h, const struct wire_record *r, const void *payload, int fd);
void host_done(struct host *h, enum wire_failure failure, const char *text, int fd);

/** Fill h->api: extensions and all. */
void host_open(struct host *h);

#endif
