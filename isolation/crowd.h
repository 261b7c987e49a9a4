/**
 * Who uses up the processes, or the memory, that all children of a serving sandbox share.
 *
 * Theory of operation. One control group limits the processes of a sandbox, so a child that forks
 * without end would keep its neighbours from being restarted, reloaded or joined by a command. When
 * init cannot start a child for that, the tasks of each one are counted: whatever a child makes
 * stays below its guard, the init of its PID namespace, to which orphans go, too. (pids.events
 * would tell of every fork that was refused, but wakes nobody on v1; and who is alone at the limit
 * harms nobody.) And when their memory stands at its limit and makes no way (cgroup_thrash.c), the
 * one that has most of it goes, as with a kill by the kernel. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_CROWD_H
#define CLOCHE_ISOLATION_CROWD_H

#include "isolation/cgroup.h"

#include <stddef.h>
#include <sys/types.h>

struct crowd_part {
    pid_t guard;           /* 0: not known */
    uint64_t tasks, pages; /* resident */
};
/** Fill @tasks and @pages of @parts; @init is the parent of the guards. */
void crowd_count(const struct cgroup *g, pid_t init, struct crowd_part *parts, size_t count);

#endif
