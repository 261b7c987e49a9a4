/**
 * Control groups: one small interface, two kernels' worth of files behind it.
 *
 * A `struct cgroup` is the group of one sandbox: on pure v2 one directory, on a hybrid host one
 * directory per v1 controller in use plus one in the v2 tree (kill, freeze, cpu.stat). Groups are
 * named cloche.slice/<name> below the caller's own group (v1) or below the delegated root (v2).
 *
 * Everything is reached through directory fds that were opened once, before the sandbox exists;
 * nothing is looked up by path afterwards. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_CGROUP_H
#define CLOCHE_ISOLATION_CGROUP_H

#include "base/error.h"
#include "config/spec.h"
#include "isolation/sandbox.h"

#include <stdbool.h>
#include <stdint.h>

struct cgroup;

/** Make the group, write all limits of @resources that need one, sweep groups of dead runs (names
 * run-<pid>-<n> whose pid is gone; of many in turns). A limit that cannot be enforced is an error
 * when @required, with code cgroup.not_delegated, cgroup.read_only, cgroup.missing_controller or
 * cgroup.limit; it names controller, file and fix. Otherwise the group has what could be had and
 * cgroup_means() tells. *@ret is never NULL on success. */
int cgroup_create(struct cgroup **ret, const char *name, const struct spec *spec, bool required,
                  struct error *err);

/** The same in two steps, so that the second one can run beside the making of the sandbox: begin
 * makes what a process can be cloned into, complete makes the v1 groups and writes the limits. The
 * program must not run before both; after a failed complete the caller removes the group. Advance
 * is for who has a moment between the two: it makes the next v1 group (1), or there is none (0). */
int cgroup_begin(struct cgroup **ret, const char *name, const struct spec *spec, bool required,
                 struct error *err);
int cgroup_advance(struct cgroup *g, const struct spec *spec, bool required, struct error *err);
int cgroup_complete(struct cgroup *g, const struct spec *spec, bool required, struct error *err);

/** Remove the groups of dead runs beside this one; in a crowd (CGROUP_SWEEP_ALWAYS) only now and
 * then. Takes time: when the program has been started. */
void cgroup_sweep_dead(const struct cgroup *g);

struct cgroup_stats {
    uint64_t cpu_usec, user_usec, system_usec;
    uint64_t memory_bytes, memory_peak_bytes;
    uint64_t memory_cache_bytes; /* of it: what the kernel drops first when memory is needed */
    uint64_t processes, processes_peak;
    uint64_t oom_kills;          /* processes killed for memory in this group */
    uint64_t process_limit_hits; /* forks refused by the limit */
    uint64_t io_read_bytes, io_write_bytes;
    uint64_t pressure_some_usec[3]; /* cpu, memory, io: PSI totals; v2 only */
};

/** After a run that ended well: can the next take the group over as if it were new? Then it counts
 * from here on, and cgroup_complete() writes the next one's limits. @stats: the run's. */
bool cgroup_renew(struct cgroup *g, const struct cgroup_stats *stats);

/** The v2 directory for CLONE_INTO_CGROUP, or -1. */
int cgroup_v2_fd(const struct cgroup *g);

/** fds of v1 `tasks` files, opened for writing: the new process itself writes "0" to each while it
 * has one thread (async-signal-safe; isolation/launch.c does it). Returns the count, at most @max.
 */
int cgroup_join_fds(const struct cgroup *g, int *fds, int max);

enum cgroup_limit { CGROUP_MEMORY, CGROUP_PROCESSES, CGROUP_CPU };

/** How this limit is enforced: MEANS_CGROUP2, MEANS_CGROUP1 or MEANS_NONE (the caller then falls
 * back to rlimits). */
enum means cgroup_enforced_by(const struct cgroup *g, enum cgroup_limit limit);
enum means cgroup_measured_by(const struct cgroup *g, enum cgroup_limit limit);

/** Fill what is known, zero what is not. */
int cgroup_read_stats(const struct cgroup *g, struct cgroup_stats *ret);

/** Only what a report of the end needs: no I/O, no pressure. */
int cgroup_read_outcome(const struct cgroup *g, struct cgroup_stats *ret);

/** Only the CPU time, for the watchdog: microseconds, or -1. */
int64_t cgroup_cpu_usec(const struct cgroup *g);

/** An fd for epoll that becomes ready when the kernel killed for memory in this group, with the
 * event mask to use (v1: an eventfd, EPOLLIN; v2: memory.events, EPOLLPRI); -1 when there is none.
 * Borrowed. */
int cgroup_memory_event_fd(const struct cgroup *g, uint32_t *ret_epoll_events);

/** @fn for each process of the group that has this limit. -1: there is none. */
int cgroup_each_process(const struct cgroup *g, void (*fn)(void *context, pid_t pid),
                        void *context);

/** True when memory was the cause of death (call on an event, and at the end). Consumes the event.
 */
bool cgroup_memory_exceeded(struct cgroup *g);
/** Nothing runs in it any more, and nothing will: what the kernel tells events by is closed. */
void cgroup_unwatch(struct cgroup *g);

/** v1: an fd that becomes readable while the kernel searches this group for memory; -1 when there
 * is none, and on v2, where the event above comes then, too. Borrowed. */
int cgroup_memory_pressure_fd(const struct cgroup *g);

/** Call on these events (consumes them): does the group stand at its limit, and read the little
 * that is left of its files again and again? Then it has used up its memory, though the kernel will
 * not kill for a long time. */
bool cgroup_memory_thrashes(struct cgroup *g);

/** SIGKILL everything in it (cgroup.kill); -1 with ENOTSUP where there is none. */
int cgroup_kill(struct cgroup *g);
int cgroup_freeze(struct cgroup *g, bool frozen, struct error *err);

/** Write changed limits to the living group. */
int cgroup_update(struct cgroup *g, const struct spec_resources *resources, bool required,
                  struct error *err);

/** Slow it down: memory.high at @high_bytes (LIMIT_NONE: none), and when @slower, half the CPU. On
 * v1, which has no memory.high, memory is slowed by half the CPU, too. With LIMIT_NONE and false
 * everything is as @r says again. cgroup_can_throttle() tells whether there is a means for this
 * limit. */
int cgroup_throttle(const struct cgroup *g, const struct spec_resources *r, uint64_t high_bytes,
                    bool slower, struct error *err);
bool cgroup_can_throttle(const struct cgroup *g, enum cgroup_limit limit);

/** Remove the directories (waits, bounded, for a group that is still emptying); free. -1: @err
 * names what stayed. */
int cgroup_remove(struct cgroup *g, struct error *err);

/** What `doctor` shows, one per controller ("memory", "pids", "cpu", "cpuset", "io", "hugetlb"). */
struct cgroup_ability {
    const char *controller;
    int version;     /* 2, 1, or 0: not there */
    bool usable;     /* by this user, here */
    char where[256]; /* directory looked at */
    char fix[256];   /* when not usable */
};
int cgroup_abilities(struct cgroup_ability *ret, int max);

/** Sweep the groups of long-lived sandboxes, "sandbox-...", whose keeper is gone: nobody holds
 * their lock. Kills what runs there. Reads every group: not for the path of a start. */
int cgroup_sweep_sandboxes(struct error *err);

/** Sweep groups of dead runs and, when @id is given, the leftover group of that sandbox. Returns
 * how many went. */
int cgroup_sweep(const char *id, struct error *err);

#endif
