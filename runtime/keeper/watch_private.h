/** Inside of watch.h: one watch, and what becomes of its saves (watch_saves.c). */
#ifndef CLOCHE_RUNTIME_KEEPER_WATCH_PRIVATE_H
#define CLOCHE_RUNTIME_KEEPER_WATCH_PRIVATE_H

#include "runtime/keeper/modules.h"
#include "runtime/keeper/watcher.h"

struct follower {
    struct follower *next;
    struct connection *client;
    uint32_t serial;
};

/* One reload that a save began. */
struct save {
    struct save *next;
    struct watch *watch;
    uint64_t at_us; /* of the save */
    bool live;
};

struct watch {
    struct module *module;
    struct arena *arena;
    const char *path, *source;
    struct watcher *watcher;
    struct follower *followers;
    const struct connection *owner; /* ends with it; NULL: the sandbox's */
    struct save *saves;
    struct loop_timer *retry;
    /* A save is built from its first event on, beside the debounce: nothing comes of it before the
     * change is told, and the next event ends it. */
    struct build *ahead;
    enum { NOTHING, CHANGED, UNCHANGED } found; /* by it, up to now */
    uint32_t same;                              /* the version that it is */
    bool due;                                   /* the change was told */
    uint64_t at_us;                             /* of the save that waits for its turn */
};

/** The watcher's calls. */
void watch_event(void *context, bool saved);
void watch_change(void *context, const struct watcher_change *c);
/** {"event", "module", "time_ms"}; the caller's. */
struct cJSON *watch_event_new(const struct watch *w, const char *event);
/** The sources may be others than those that serve, since @at_us (0: now). */
void watch_told(struct watch *w, uint64_t at_us);
/** Nothing of it goes on, and nobody is told. */
void watch_end_saves(struct watch *w);

#endif
