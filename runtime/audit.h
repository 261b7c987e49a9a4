/**
 * What is remembered when a sandbox is gone: <state>/audit/events.jsonl, one for all sandboxes of a
 * user, bounded and rotated. A keeper hands its events over when it destroys its sandbox; batches,
 * which belong to no sandbox, are written here at once.
 */
#ifndef CLOCHE_RUNTIME_AUDIT_H
#define CLOCHE_RUNTIME_AUDIT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define AUDIT_FILE "events.jsonl"

/** The directory; the caller closes it. */
int audit_open(struct error *err);

/** Whole lines, which stay together. */
int audit_append(const char *lines, size_t size, struct error *err);

/** "batch.start" and "batch.stop" of an operation on several sandboxes. Losing one is no error. */
uint64_t audit_batch_start(const char *operation, int count);
void audit_batch_stop(uint64_t span, const char *operation, int count, int failed);

#endif
