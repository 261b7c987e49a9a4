/**
 * Watching sources.
 *
 * Theory of operation. inotify watches directories, never files: an editor that saves by rename
 * replaces the file, and the directory tells it all the same. What counts is a file that was closed
 * after writing or moved into place, and whose name is wanted; the change is told when nothing more
 * has come for the debounce time (or that went on for long), so that one save of many files, or a
 * hundred saves in a second, are a few changes, the last of them after the last save. Whether the
 * content is another is not decided here: the builder's digest does (build.h).
 *
 * Below the directory everything is watched that is not hidden, not excluded and not behind a link;
 * a directory that appears is taken in and counts as a change, since files may have been in it
 * before it was watched. When the kernel lost events, or a directory was moved, all is read anew. A
 * root that was deleted is waited for in its nearest ancestor that is there.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_WATCHER_H
#define CLOCHE_RUNTIME_KEEPER_WATCHER_H

#include "base/error.h"
#include "runtime/keeper/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCHER_DEBOUNCE_MS 30
/* A change is told at the latest so long after its first event, or after four times the debounce */
#define WATCHER_LATEST_MS       250
#define WATCHER_REMOVAL_MS      200 /* an editor that deletes the file first is about to write it */
#define WATCHER_DIRECTORIES_MAX 4096
#define WATCHER_FILES_TOLD      8

struct watcher;

struct watcher_change {
    uint64_t at_us;           /* CLOCK_MONOTONIC of the last event */
    const char *const *files; /* below the directory; the first few */
    size_t file_count, event_count;
    bool gone;                 /* the root is not there */
    bool overflow;             /* events were lost, everything was read anew */
    const struct error *error; /* not NULL: something new cannot be watched */
};
typedef void watcher_fn(void *context, const struct watcher_change *change);
/** Told at once: an event that a change will be told of. @saved: a file was saved, and it is the
 * first of that change; most often the only one. */
typedef void watcher_event_fn(void *context, bool saved);

struct watcher_options {
    const char *path; /* absolute: a directory, or a file: then only that file of its directory */
    const char *const *include; /* patterns (fnmatch) of names, or with a slash of paths below
                                   @path; NULL: every file. NULL-terminated */
    const char *const *exclude; /* of files and directories */
    bool flat;                  /* nothing below @path's own directory */
    uint64_t debounce_ms;       /* 0: WATCHER_DEBOUNCE_MS */
    watcher_event_fn *event;    /* or NULL */
};

/** watch.unreadable (missing, no directory, no rights), watch.limit (the kernel's, with the sysctl
 * that raises it), watch.too_many (directories). */
struct watcher *watcher_open(struct loop *l, const struct watcher_options *o, watcher_fn *call,
                             void *context, struct error *err);
/** Also from within the callback. */
void watcher_close(struct watcher *w);

/** How many directories it watches; 0 while the root is gone. */
size_t watcher_directories(const struct watcher *w);

#endif
