/** A file of a state directory that grows, and is started anew under its name when it is full: what
 * `logs -f`, `events -f` and cloche_follow() read. Who waits for changes is the caller's affair
 * (inotify on the directory). */
#ifndef CLOCHE_RUNTIME_TAIL_H
#define CLOCHE_RUNTIME_TAIL_H

#include <stdbool.h>
#include <stddef.h>

typedef void tail_fn(void *context, const char *data, size_t size);

struct tail {
    int dir, fd; /* @fd: -1 before the file was first there */
    const char *file;
    tail_fn *call;
    void *context;
};

/** What was added since the last time. */
void tail_read(struct tail *t);
/** The same when the file may have been started anew: the rest of the old one, then the new one.
 * true: it was started anew more than once meanwhile, and what stood between is lost. */
bool tail_catch_up(struct tail *t);

#endif
