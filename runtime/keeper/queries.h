/**
 * What is in the store, as JSON: answered by the keeper, and for a sandbox without one by this
 * program started as `cloche-keeper ID query`, which only reads.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_QUERIES_H
#define CLOCHE_RUNTIME_KEEPER_QUERIES_H

#include "runtime/protocol.h"
#include "versions/versions.h"

#include <cjson/cJSON.h>

/** {"module", "active", "good", "versions": [{"version", "status", "active", "pinned", "collected",
 * "reason", "label", "schema", "schema_min", "flags", "size_bytes", "sha256", "published_ms",
 * "good_ms", "depends"}]}, oldest first. @active 0: nothing serves, which is null. */
cJSON *query_versions(struct versions *v, const char *module, uint32_t active, bool all,
                      struct error *err);

/** {"attempts": [{"attempt", "module", "kind", "cause", "state", "ended", "from", "to", "reason",
 * "detail", "started_ms", "ended_ms"}]}, oldest first, the last @limit (0: all). */
cJSON *query_history(struct versions *v, const char *module, size_t limit, struct error *err);

/** One question at fd @socket, about the sandbox whose directory is @state_fd; 0, or -1 when there
 * was none. */
int query_serve(int socket, int state_fd, const char *id);

/** What went wrong with the store of @id, with its name and a way out. Returns -1. */
int query_store_failed(int state_fd, const char *id, struct error *err);

#endif
