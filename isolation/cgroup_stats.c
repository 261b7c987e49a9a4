#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

uint64_t cgroup_read_u64(int dirfd, const char *file)
{
    char text[64];
    uint64_t value;
    if (io_read_file_at(dirfd, file, text, sizeof text) < 0 || !io_parse_u64(text, &value))
        return 0;
    return value;
}

uint64_t cgroup_read_key(int dirfd, const char *file, const char *key)
{
    char text[2048];
    uint64_t value;
    if (io_read_file_at(dirfd, file, text, sizeof text) < 0 || !cgroup_parse_key(text, key, &value))
        return 0;
    return value;
}

static enum means means_of(const struct cgroup_dir *d)
{
    return d == NULL ? MEANS_NONE : d->version == 1 ? MEANS_CGROUP1 : MEANS_CGROUP2;
}

static enum cgroup_controller controller_of(enum cgroup_limit limit)
{
    return limit == CGROUP_MEMORY ? CTL_MEMORY : limit == CGROUP_PROCESSES ? CTL_PIDS : CTL_CPU;
}

enum means cgroup_measured_by(const struct cgroup *g, enum cgroup_limit limit)
{
    if (limit != CGROUP_CPU)
        return means_of(cgroup_dir_of(g, controller_of(limit)));
    return g->v2 >= 0 ? MEANS_CGROUP2 : means_of(cgroup_dir_of(g, CTL_CPUACCT));
}

enum means cgroup_enforced_by(const struct cgroup *g, enum cgroup_limit limit)
{
    enum cgroup_controller c = controller_of(limit);
    if (g->limited & CTL_BIT(c))
        return means_of(cgroup_dir_of(g, c));
    /* a limit of CPU time without a quota is the watchdog's, who goes by this figure */
    return limit == CGROUP_CPU ? cgroup_measured_by(g, CGROUP_CPU) : MEANS_NONE;
}

int64_t cgroup_cpu_usec(const struct cgroup *g)
{
    char text[2048];
    uint64_t value;
    if (g->v2 >= 0) {
        if (io_read_file_at(g->dirs[g->v2].fd, "cpu.stat", text, sizeof text) < 0 ||
            !cgroup_parse_key(text, "usage_usec", &value))
            return -1;
        return (int64_t)(value - g->cpu_usec);
    }
    const struct cgroup_dir *d = cgroup_dir_of(g, CTL_CPUACCT);
    if (d == NULL || io_read_file_at(d->fd, "cpuacct.usage", text, sizeof text) < 0 ||
        !io_parse_u64(text, &value))
        return -1;
    return (int64_t)(value / 1000);
}

/* Sum of KEY=NUMBER or "... KEY NUMBER" over all lines of an I/O accounting file. */
static uint64_t sum_io(int dirfd, const char *file, const char *key)
{
    _cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *text = NULL;
    uint64_t sum = 0;
    size_t len = strlen(key);
    if (fd < 0 || io_read_to_end(fd, 1U << 20, &text) < 0)
        return 0;
    for (const char *p = text; (p = strstr(p, key)) != NULL;) {
        p += len;
        sum += strtoull(p, NULL, 10);
    }
    return sum;
}

static void read_v2_stats(const struct cgroup *g, struct cgroup_stats *ret)
{
    int fd = g->dirs[g->v2].fd;
    char text[2048];
    if (io_read_file_at(fd, "cpu.stat", text, sizeof text) >= 0 &&
        cgroup_parse_key(text, "usage_usec", &ret->cpu_usec) &&
        cgroup_parse_key(text, "user_usec", &ret->user_usec) &&
        cgroup_parse_key(text, "system_usec", &ret->system_usec)) {
        ret->cpu_usec -= g->cpu_usec;
        ret->user_usec -= g->user_usec;
        ret->system_usec -= g->system_usec;
    }
}

static void read_pressure(int fd, struct cgroup_stats *ret)
{
    char text[512];
    static const char *const pressure[] = {"cpu.pressure", "memory.pressure", "io.pressure"};
    for (int i = 0; i < 3; i++) {
        if (io_read_file_at(fd, pressure[i], text, sizeof text) < 0)
            continue;
        const char *total = strncmp(text, "some ", 5) == 0 ? strstr(text, " total=") : NULL;
        if (total != NULL)
            ret->pressure_some_usec[i] = strtoull(total + 7, NULL, 10);
    }
}

static void read_memory_stats(const struct cgroup_dir *d, struct cgroup_stats *ret)
{
    bool v1 = d->version == 1;
    ret->memory_bytes = cgroup_read_u64(d->fd, v1 ? "memory.usage_in_bytes" : "memory.current");
    ret->memory_peak_bytes =
        cgroup_read_u64(d->fd, v1 ? "memory.max_usage_in_bytes" : "memory.peak");
    ret->oom_kills =
        cgroup_read_key(d->fd, v1 ? "memory.oom_control" : "memory.events", "oom_kill");
}

int cgroup_read_outcome(const struct cgroup *g, struct cgroup_stats *ret)
{
    const struct cgroup_dir *d;
    memset(ret, 0, sizeof *ret);
    if (g->v2 >= 0) {
        read_v2_stats(g, ret);
    } else if ((d = cgroup_dir_of(g, CTL_CPUACCT)) != NULL) {
        ret->cpu_usec = cgroup_read_u64(d->fd, "cpuacct.usage") / 1000;
        ret->user_usec = cgroup_read_u64(d->fd, "cpuacct.usage_user") / 1000;
        ret->system_usec = cgroup_read_u64(d->fd, "cpuacct.usage_sys") / 1000;
    }
    if ((d = cgroup_dir_of(g, CTL_MEMORY)) != NULL)
        read_memory_stats(d, ret);
    if ((d = cgroup_dir_of(g, CTL_PIDS)) != NULL) {
        ret->processes = cgroup_read_u64(d->fd, "pids.current");
        ret->processes_peak = cgroup_read_u64(d->fd, "pids.peak");
        ret->process_limit_hits = cgroup_read_key(d->fd, "pids.events", "max");
    }
    return 0;
}

int cgroup_read_stats(const struct cgroup *g, struct cgroup_stats *ret)
{
    const struct cgroup_dir *d;
    cgroup_read_outcome(g, ret);
    if (g->v2 >= 0)
        read_pressure(g->dirs[g->v2].fd, ret);
    if ((d = cgroup_dir_of(g, CTL_MEMORY)) != NULL) {
        char text[8192]; /* memory.stat has some fifty lines */
        const char *key = d->version == 1 ? "total_inactive_file" : "inactive_file";
        if (io_read_file_at(d->fd, "memory.stat", text, sizeof text) >= 0)
            cgroup_parse_key(text, key, &ret->memory_cache_bytes);
    }
    if ((d = cgroup_dir_of(g, CTL_IO)) != NULL) {
        const char *file = d->version == 1 ? "blkio.throttle.io_service_bytes" : "io.stat";
        ret->io_read_bytes = sum_io(d->fd, file, d->version == 1 ? " Read " : "rbytes=");
        ret->io_write_bytes = sum_io(d->fd, file, d->version == 1 ? " Write " : "wbytes=");
    }
    return 0;
}

static bool is_empty(const struct cgroup *g)
{
    char text[256];
    uint64_t populated;
    return io_read_file_at(g->dirs[g->v2].fd, "cgroup.events", text, sizeof text) >= 0 &&
           cgroup_parse_key(text, "populated", &populated) && populated == 0;
}

bool cgroup_renew(struct cgroup *g, const struct cgroup_stats *stats)
{
    const struct cgroup_dir *memory = cgroup_dir_of(g, CTL_MEMORY);
    const struct cgroup_dir *pids = cgroup_dir_of(g, CTL_PIDS);
    struct cgroup_stats left = {0};
    const uint64_t remainder = 1 << 20; /* of memory: shared pages, the kernel's stock */
    /* In v2 memory.peak is reset for one reader only, and before Linux 6.12 for none. pids.peak is
     * never: but init and the program it started are in each run's. */
    if (g->v2 < 0 || g->chosen || memory == NULL || memory->version != 1 || pids == NULL ||
        stats->processes_peak > 2 || stats->oom_kills > 0 || stats->process_limit_hits > 0 ||
        !is_empty(g) || cgroup_read_u64(memory->fd, "memory.usage_in_bytes") > remainder ||
        io_write_file_at(memory->fd, "memory.max_usage_in_bytes", "0") < 0)
        return false;
    read_v2_stats(g, &left);
    if (left.cpu_usec == 0) /* it cannot be read: the next would be charged with this one's */
        return false;
    g->renewed = true;
    g->thrash = (struct cgroup_thrash){0};
    g->cpu_usec += left.cpu_usec;
    g->user_usec += left.user_usec;
    g->system_usec += left.system_usec;
    return true;
}

int cgroup_memory_event_fd(const struct cgroup *g, uint32_t *ret_epoll_events)
{
    const struct cgroup_dir *d = cgroup_dir_of(g, CTL_MEMORY);
    if (g->oom_fd < 0 || d == NULL)
        return -1;
    *ret_epoll_events = d->version == 1 ? EPOLLIN : EPOLLPRI;
    return g->oom_fd;
}

int cgroup_each_process(const struct cgroup *g, void (*fn)(void *context, pid_t pid), void *context)
{
    const struct cgroup_dir *d = cgroup_dir_of(g, CTL_PIDS);
    _cleanup_close_ int fd = d != NULL ? openat(d->fd, "cgroup.procs", O_RDONLY | O_CLOEXEC) : -1;
    _cleanup_free_ char *text = NULL;
    if (fd < 0 || io_read_to_end(fd, 1 << 20, &text) < 0)
        return -1;
    for (char *at = text, *end; *at != '\0'; at = end + (*end == '\n')) {
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at)
            break;
        fn(context, pid);
    }
    return 0;
}

/* v1: true when @usage is at @limit but for what the kernel may hold ready for the CPUs. */
static bool is_at_limit(int dirfd, uint64_t usage, const char *limit_file)
{
    const uint64_t slack = 64 * 4096;
    uint64_t limit = cgroup_read_u64(dirfd, limit_file);
    return limit != 0 && usage + slack >= limit;
}

/* The notice comes before the kill, on a busy machine long before, and comes for an OOM of a group
 * above as well. The kill counts; before it, a group that stands at its limit does. Usage is read
 * first: if it fell because of a kill, the kill is counted by then. memory.failcnt alone would say
 * only that something was reclaimed. */
static bool v1_exceeded(const struct cgroup *g, int dirfd)
{
    uint64_t notices = 0;
    if (g->oom_fd >= 0 && read(g->oom_fd, &notices, sizeof notices) < 0)
        notices = 0;
    uint64_t memory = 0, sum = 0;
    if (notices > 0) {
        memory = cgroup_read_u64(dirfd, "memory.usage_in_bytes");
        sum = cgroup_read_u64(dirfd, "memory.memsw.usage_in_bytes");
    }
    if (cgroup_read_key(dirfd, "memory.oom_control", "oom_kill") > 0)
        return true;
    return notices > 0 && (is_at_limit(dirfd, memory, "memory.limit_in_bytes") ||
                           is_at_limit(dirfd, sum, "memory.memsw.limit_in_bytes"));
}

bool cgroup_memory_exceeded(struct cgroup *g)
{
    const struct cgroup_dir *d = cgroup_dir_of(g, CTL_MEMORY);
    if (d == NULL || g->oom_seen || g->unwatched)
        return g->oom_seen;
    if (d->version == 1) {
        g->oom_seen = v1_exceeded(g, d->fd);
    } else if (g->oom_fd >= 0) {
        char text[2048];
        uint64_t kills = 0;
        ssize_t n = pread(g->oom_fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        g->oom_seen = cgroup_parse_key(text, "oom_kill", &kills) && kills > 0;
    }
    return g->oom_seen;
}
