/* prctl and arch_prctl options, and limits, that would undo what the sandbox set: the memory map's
 * bookkeeping, hard limits, core scheduling of others, capabilities kept over a change of user. */
#include "tests/attacks/attack.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#endif

int main(void)
{
    struct rlimit limit;

    if (prctl(PR_SET_MM, PR_SET_MM_START_BRK, 0x10000UL, 0, 0) == 0)
        breach("PR_SET_MM");
    if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0)
        breach("no_new_privs taken back");
    if (prctl(PR_SET_SECUREBITS, 0x2f, 0, 0, 0) == 0)
        breach("securebits changed");
    if (prctl(PR_SCHED_CORE, 1, 1, 0, 0) == 0)
        breach("core scheduling of PID 1");
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_max == RLIM_INFINITY)
            continue;
        limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
        if (setrlimit((__rlimit_resource_t)resource, &limit) == 0)
            breach("hard limit %d raised", resource);
        /* 0 is the caller; 1 is the runtime's own process */
        if (prlimit(1, (__rlimit_resource_t)resource, &limit, NULL) == 0)
            breach("limit %d of PID 1 changed", resource);
    }
    if (setpriority(PRIO_PROCESS, 0, -20) == 0)
        breach("priority raised");
    return verdict();
}
