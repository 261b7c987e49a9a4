/**
 * What the sandbox uses, looked at again and again, and what is done near a limit.
 *
 * Theory of operation. Each interval (monitor.interval_ms) one sample is taken of the control group
 * and put into a ring of an hour. That happens while the spec has set a warning, or until a few
 * intervals after somebody has asked (stats, history); else there is no timer and the keeper
 * sleeps. A resource at monitor.warn_percent of its limit is an event, resource.warning, once; when
 * it has fallen 5 points below, resource.normal. Between the two, by monitor.action:
 *
 *   throttle   memory: memory.high at the line where warning begins (v2), else half the CPU;
 *              CPU: half of it. Processes cannot be slowed down and are only warned of.
 *   kill       the tree ends, the sandbox has failed and says of what.
 *
 * Of memory, what the kernel would drop at once (inactive page cache) is not counted as used.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_SAMPLING_H
#define CLOCHE_RUNTIME_KEEPER_SAMPLING_H

#include "runtime/keeper/keeper.h"

#include <cjson/cJSON.h>

struct sample {
    uint64_t time_ms; /* CLOCK_REALTIME */
    uint64_t memory_bytes, cpu_us, io_read_bytes, io_write_bytes, processes;
    uint32_t pressure_us[3]; /* since the sample before: CPU, memory, I/O */
};

/** Before the tree is made: whether the spec's monitor makes sense. spec.invalid */
int sampling_check(const struct keeper *k, struct error *err);
/** The tree is alive. monitor.cannot_throttle */
int sampling_start(struct keeper *k, struct error *err);
/** The tree is gone; what was seen of it stays. */
void sampling_stop(struct keeper *k);
/** Limits have changed. */
void sampling_limits_changed(struct keeper *k);
void sampling_free(struct keeper *k);

int op_stats(struct connection *c, struct frame *f, struct error *err);
int op_samples(struct connection *c, struct frame *f, struct error *err);

/* --- monitor.c: a decision as a function of data ------------------------------------------------
 */

enum monitor_change { MONITOR_SAME, MONITOR_CROSSED, MONITOR_BACK };

/** A resource that was warned of before, or not, is now used so far. */
enum monitor_change monitor_judge(bool warned, uint64_t used, uint64_t limit, unsigned percent);

/** used / limit in percent, rounded down; no overflow. */
unsigned monitor_percent(uint64_t used, uint64_t limit);

#endif
