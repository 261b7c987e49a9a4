/**
 * Versions of modules: judged, stored, remembered.
 *
 * Theory of operation. Four parts, which a reload goes through in this order:
 *
 *   elf.h      is this file a module that this sandbox may load? Read from the file, before a byte
 *              of it runs.
 *   store.h    give it the next number: modules/<m>/<N>/ is staged, fsynced, renamed and recorded,
 *              and its bytes never change again. Old ones are collected by rule.
 *   history.h  what was tried, and how it ended: rows that only grow, without a gap, one terminal
 *              row an attempt. INTENT is the last disk write before a switch, so after a crash the
 *              history alone says which version serves.
 *   state.h    the state that travels: sealed memfds, and checkpoints in two slots.
 *
 * A `struct versions` is one sandbox's directory and its database, sandbox.db (SQLite, write-ahead
 * log, synchronous=FULL: a call that returned is on disk). The keeper is the only writer;
 * readers (`cloche versions`, `cloche history`) open it read-only beside it. One handle is used by
 * one thread at a time; a second thread opens its own.
 *
 *     sandboxes/<id>/sandbox.db
 *                    reserve            1 MiB, let go when a rollback meets a full disk
 *                    stage/             what is being made or removed; emptied at start
 *                    modules/<m>/<N>/   module.so, manifest.json, build.log (0444)
 *                    modules/<m>/current   a symlink for people; no program resolves it
 *                    state/<m>/         good, probation
 *
 * After a start, versions_recover() is called before anything else: it finishes or takes back
 * whatever a crash cut in two, and says for each module which version to start.
 *
 * This folder runs nothing and talks to nobody; runtime/ drives it.
 */
#ifndef CLOCHE_VERSIONS_VERSIONS_H
#define CLOCHE_VERSIONS_VERSIONS_H

#include "base/arena.h"
#include "base/error.h"
#include "versions/elf.h"
#include "versions/history.h"
#include "versions/module.h"
#include "versions/state.h"
#include "versions/store.h"

#include <stddef.h>
#include <stdint.h>

struct versions;

/** Open the database of the sandbox at @dir (kept as a duplicate), made when missing.
 * store.corrupt, store.unwritable, store.full, store.busy, store.newer (written by a newer Cloche).
 */
int versions_open(int dir, struct versions **ret, struct error *err);
int versions_open_readonly(int dir, struct versions **ret, struct error *err);
/** Whoever waits for this connection waits for no disk: others, such as a publisher's, write the
 * log back into the database each 1000 pages, and this one only when that has not happened for
 * long. */
void versions_leave_log(struct versions *v);
void versions_close(struct versions *v);

static inline void cleanup_versions(struct versions **v)
{
    versions_close(*v);
}
#define _cleanup_versions_ __attribute__((cleanup(cleanup_versions)))

/** Several history rows as one: all are on disk, or none is. For attempts of several modules. @body
 * may be run twice. */
int versions_atomically(struct versions *v, int (*body)(struct versions *, void *, struct error *),
                        void *argument, struct error *err);

/** What to start after a crash. */
struct versions_start {
    const char *module;
    uint32_t good;        /* the last GOOD version, its bytes checked; 0: there is none */
    uint32_t candidate;   /* the newest that is not BAD; what to try when there is no GOOD one */
    uint32_t interrupted; /* attempts that the crash ended */
};

/** Take back or finish everything that was under way; @ret in @a, by name. */
int versions_recover(struct versions *v, struct arena *a, struct versions_start **ret,
                     size_t *ret_count, struct error *err);

#endif
