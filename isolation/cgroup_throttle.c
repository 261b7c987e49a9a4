/* Slowing down what comes near a limit, and letting it go again. */
#include "isolation/cgroup_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define SMALLEST_QUOTA_US 1000

static int write_quota(const struct cgroup_dir *d, uint64_t quota_us, uint64_t period_us,
                       struct error *err)
{
    char text[64];
    if (d->version == 1)
        return cgroup_write_u64(d, "cpu.cfs_quota_us", quota_us, "-1", err);
    if (quota_us == LIMIT_NONE)
        snprintf(text, sizeof text, "max %" PRIu64, period_us);
    else
        snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64, quota_us, period_us);
    return cgroup_write(d, "cpu.max", text, err);
}

/** Half of what it may have: of its quota, or of the machine. */
static uint64_t half_of(const struct spec_resources *r, uint64_t period_us)
{
    uint64_t all = r->cpu_quota_us;
    if (all == LIMIT_NONE)
        all = period_us * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    return all / 2 > SMALLEST_QUOTA_US ? all / 2 : SMALLEST_QUOTA_US;
}

bool cgroup_can_throttle(const struct cgroup *g, enum cgroup_limit limit)
{
    const struct cgroup_dir *memory = cgroup_dir_of(g, CTL_MEMORY);
    if (limit == CGROUP_MEMORY && memory != NULL && memory->version == 2)
        return true;
    return limit != CGROUP_PROCESSES && cgroup_dir_of(g, CTL_CPU) != NULL;
}

int cgroup_throttle(const struct cgroup *g, const struct spec_resources *r, uint64_t high_bytes,
                    bool slower, struct error *err)
{
    const struct cgroup_dir *memory = cgroup_dir_of(g, CTL_MEMORY),
                            *cpu = cgroup_dir_of(g, CTL_CPU);
    uint64_t period =
        r->cpu_period_us != 0 && r->cpu_period_us != LIMIT_NONE ? r->cpu_period_us : 100000;
    int rc = 0;
    if (memory != NULL && memory->version == 2)
        rc = cgroup_write_u64(memory, "memory.high", high_bytes, "max", err);
    else if (high_bytes != LIMIT_NONE) /* v1 has nothing that slows an allocation down */
        slower = true;
    if (cpu != NULL &&
        write_quota(cpu, slower ? half_of(r, period) : r->cpu_quota_us, period, err) < 0)
        rc = -1;
    return rc;
}
