/* A group at its limit that makes no way. The kernel kills when a reclaim finds nothing. Where the
 * programs' own memory takes all but some hundred KiB of the limit, it always finds the pages of
 * their files: they are dropped and read anew, thousands of times, and what asked for memory stands
 * still (25 s were seen on cgroup v1 with a limit of 64 MiB). */
#include "isolation/cgroup_impl.h"

#include "base/io.h"

#include <unistd.h>

#define PAGE      4096
#define FILES_MAX (4 << 20) /* more is room that a program can work in, if slowly */
#define ROUNDS    8         /* so often all files that are left were read anew */
#define ROUND_MIN 32        /* pages: what one reclaim takes */

int cgroup_memory_pressure_fd(const struct cgroup *g)
{
    return g->pressure_fd;
}

/* @own: memory that cannot be dropped; @faults: times that somebody waited for the disk. */
static bool read_stat(const struct cgroup_dir *d, uint64_t *own, uint64_t *files,
                      struct cgroup_thrash *now)
{
    static const char *const keys[2][6] = {
        {"total_rss", "total_shmem", "total_inactive_file", "total_active_file",
         "total_workingset_refault_file", "total_pgmajfault"},
        {"anon", "shmem", "inactive_file", "active_file", "workingset_refault_file", "pgmajfault"}};
    char text[8192];
    uint64_t value[6] = {0};
    if (io_read_file_at(d->fd, "memory.stat", text, sizeof text) < 0)
        return false;
    for (int i = 0; i < 6; i++) {
        if (!cgroup_parse_key(text, keys[d->version - 1][i], &value[i]))
            return false;
    }
    *own = value[0] + value[1];
    *files = value[2] + value[3];
    now->refaults = value[4];
    now->faults = value[5];
    return true;
}

static bool at_limit(const struct cgroup_dir *d)
{
    uint64_t limit =
        cgroup_read_u64(d->fd, d->version == 1 ? "memory.limit_in_bytes" : "memory.max");
    uint64_t used =
        cgroup_read_u64(d->fd, d->version == 1 ? "memory.usage_in_bytes" : "memory.current");
    return limit != 0 && used + limit / 32 >= limit;
}

bool cgroup_memory_thrashes(struct cgroup *g)
{
    const struct cgroup_dir *d = cgroup_dir_of(g, CTL_MEMORY);
    struct cgroup_thrash now, *since = &g->thrash;
    uint64_t notices, own, files;
    if (g->pressure_fd >= 0 && read(g->pressure_fd, &notices, sizeof notices) < 0)
        notices = 0;
    if (d == NULL || !read_stat(d, &own, &files, &now) || files > FILES_MAX || files * 16 > own ||
        !at_limit(d)) {
        since->own = 0;
        return false;
    }
    uint64_t moved = own > since->own ? own - since->own : since->own - own;
    if (moved > own / 64) { /* it gets on */
        *since = now;
        since->own = own;
        return false;
    }
    return now.refaults - since->refaults >= ROUNDS * (files / PAGE + ROUND_MIN) &&
           now.faults - since->faults >= ROUNDS;
}
