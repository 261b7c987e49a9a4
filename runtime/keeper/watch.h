/**
 * A module that is reloaded when its source is saved.
 *
 * Theory of operation. watcher.h tells of a first event, and then a build is begun ahead (build.h);
 * and, when no other came, that something changed: each time a reload of the module begins with
 * that build, cause "watch", which takes the place of one that has not got past step 8 (a newer
 * save ends a running compile). While one is past that, the change is remembered and its reload
 * begins when it can: of many saves the newest wins. Errors leave the old version serving; they are
 * in the history, in events, and told to whoever follows.
 *
 * A watch belongs to the sandbox (the spec's "watch", `cloche watch -d`: it is in the spec from
 * then on) or to the connection that follows it (`cloche watch`), and then ends with it.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_WATCH_H
#define CLOCHE_RUNTIME_KEEPER_WATCH_H

#include "runtime/keeper/modules.h"

/** Begin the watches that the spec asks for; what cannot be watched is an event, not a failure.
 * @changed: the sources may have changed while nobody watched. */
void watches_start(struct keeper *k, bool changed);
/** The tree goes: end all. */
void watches_stop(struct keeper *k);
/** A connection that followed is gone. */
void watches_forget(struct keeper *k, const struct connection *c);

/** {"directory", "directories"} or NULL. */
struct cJSON *watch_json(const struct module *m);

#endif
