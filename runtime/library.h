/** What the files of the library share; nothing of it is seen outside. */
#ifndef CLOCHE_RUNTIME_LIBRARY_H
#define CLOCHE_RUNTIME_LIBRARY_H

#include "base/error.h"
#include "runtime/client.h"
#include "runtime/cloche.h"

#include <pthread.h>
#include <string.h>

struct operation; /* begun, not ended yet */
struct following;
struct queued;
struct kept;

struct cloche {
    uint64_t deadline_ms; /* constant, as the next */
    unsigned parallel;

    pthread_mutex_t lock; /* of everything below */
    int epoll, inotify;
    int waiting; /* eventfd: readable while @first is not NULL */
    uint64_t last_number;
    struct operation *operations;
    struct following *followings;
    struct queued *first, *last;
    struct kept *kept; /* connections for cloche_call(), the last used first */
};

/** @from as the application sees it. Returns what the caller does: 0, or -1 for @rc < 0. */
int library_give(int rc, const struct error *from, struct cloche_error *to);

/** The call's deadline is that of its handle until library_end(). */
void library_begin(const struct cloche *c);
static inline void library_end(const int *unused)
{
    (void)unused;
    client_set_deadline(0);
}
#define LIBRARY_CALL(c)                                                                            \
    int call_ __attribute__((cleanup(library_end), unused)) = 0;                                   \
    library_begin(c)

/** The connections that were kept for further calls. */
void library_drop_calls(struct cloche *c);

/** The sandbox's spec as JSON, to be freed; NULL with @err. */
char *library_spec(const struct cloche_sandbox *what, struct error *err);
int library_send_exec(int socket, const struct cloche_command *command, struct error *err);
void library_read_result(const struct frame *f, struct cloche_result *ret);

/* Options of an older caller end early, those of a newer one are cut. */
#define LIBRARY_OPTIONS(to, from)                                                                  \
    do {                                                                                           \
        size_t size_ = (from)->size < sizeof(to) ? (from)->size : sizeof(to);                      \
        memset(&(to), 0, sizeof(to));                                                              \
        memcpy(&(to), (from), size_);                                                              \
    } while (0)

#endif
