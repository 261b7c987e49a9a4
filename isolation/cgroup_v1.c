#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

int cgroup_v1_open_slice(const struct cgroup_layout *l, enum cgroup_controller c, bool create,
                         struct cgroup_dir *ret, struct error *err)
{
    char path[PATH_MAX] = "";
    const char *rel;
    const struct cgroup_mount *m = NULL;
    size_t start = 0;
    int problem = ENOENT;
    for (; (m = cgroup_find_mount(l, c, start, &rel)) != NULL;
         start = (size_t)(m - l->mounts) + 1) {
        int n = snprintf(path, sizeof path, "%s%s%s", m->point, *rel != '\0' ? "/" : "", rel);
        if (n < 0 || (size_t)n >= sizeof path)
            continue;
        _cleanup_close_ int own = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
        struct stat st;
        if (own < 0 || fstat(own, &st) < 0) {
            problem = errno;
            continue;
        }
        if (st.st_dev != m->dev) /* hidden behind a later mount */
            continue;
        int slice = openat(own, CGROUP_SLICE, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (slice < 0 && errno == ENOENT && create)
            slice = cgroup_open_slice(own);
        if (slice < 0) {
            problem = errno;
            break;
        }
        ret->version = 1;
        ret->controllers = m->controllers;
        ret->slice_fd = slice;
        ret->fd = ret->own_fd = ret->tasks_fd = -1;
        /* the empty slice stays: making and removing a memory group costs a start 0.1 ms */
        ret->slice_is_ours = false;
        ret->path = NULL;
        if (asprintf(&ret->path, "%s/" CGROUP_SLICE, path) < 0)
            ret->path = NULL;
        return 0;
    }
    const char *name = cgroup_controllers[c].v1, *purpose = cgroup_controllers[c].purpose;
    if (*path == '\0' || problem == ENOENT) {
        error_set(err, "cgroup.missing_controller", 0,
                  "cannot %s: the hierarchy of cgroup controller \"%s\" is not mounted here (read "
                  "/proc/self/mountinfo)",
                  purpose, name);
        return error_hint(err,
                          "mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s; or pass --best-effort",
                          name, name);
    }
    return cgroup_denied(1, purpose, path, problem, err);
}

/* A new cpuset group is empty, and nothing can join it before it has CPUs and memory nodes. The
 * slice takes those of its parent, the group those of the slice. */
static int inherit_cpuset(int parent, int child, const char *file)
{
    char text[4096];
    ssize_t n = io_read_file_at(child, file, text, sizeof text);
    if (n < 0)
        return -1;
    if (n > 0 && strspn(text, " \n") != (size_t)n)
        return 0;
    if (io_read_file_at(parent, file, text, sizeof text) < 0)
        return -1;
    return io_write_file_at(child, file, text);
}

int cgroup_v1_prepare(const struct cgroup_dir *d, const struct cgroup *g, struct error *err)
{
    if (!(d->controllers & CTL_BIT(CTL_CPUSET)))
        return 0;
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    /* from the slice's parent down to the group, every level of a path like "a/b/c" */
    _cleanup_close_ int parent = openat(d->slice_fd, "..", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int level = openat(d->slice_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    const char *rest = g->name;
    while (parent >= 0 && level >= 0) {
        for (size_t i = 0; i < 2; i++) {
            if (inherit_cpuset(parent, level, files[i]) < 0)
                return error_set(err, "cgroup.limit", errno, "cannot fill %s on the way to %s",
                                 files[i], d->path);
        }
        if (*rest == '\0')
            return 0;
        char component[NAME_MAX + 1];
        size_t len = strcspn(rest, "/");
        snprintf(component, sizeof component, "%.*s", (int)len, rest);
        rest += len + (rest[len] == '/');
        int next = openat(level, component, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        close(parent);
        parent = level;
        level = next;
    }
    return error_set(err, "cgroup.limit", errno, "cannot open the cpuset groups on the way to %s",
                     d->path);
}

static int apply_memory(const struct cgroup_dir *d, const struct spec_resources *r,
                        struct error *err)
{
    uint64_t sum = LIMIT_NONE, swap = r->swap_set ? r->swap_bytes : 0;
    if (r->memory_bytes == LIMIT_NONE || swap == LIMIT_NONE ||
        __builtin_add_overflow(r->memory_bytes, swap, &sum))
        sum = LIMIT_NONE;
    /* The kernel keeps memory <= memory+swap at every moment: lowering goes the one way round,
     * raising the other. */
    bool swap_first = false;
    if (cgroup_write_u64(d, "memory.limit_in_bytes", r->memory_bytes, "-1", err) < 0) {
        if (err->errnum != EINVAL)
            return -1;
        swap_first = true;
    }
    char text[24] = "-1";
    if (sum != LIMIT_NONE)
        snprintf(text, sizeof text, "%" PRIu64, sum);
    /* no such file: the kernel does not account swap (swapaccount=0), nothing to limit */
    if (io_write_file_at(d->fd, "memory.memsw.limit_in_bytes", text) < 0 && errno != ENOENT)
        return cgroup_write(d, "memory.memsw.limit_in_bytes", text, err);
    if (swap_first && cgroup_write_u64(d, "memory.limit_in_bytes", r->memory_bytes, "-1", err) < 0)
        return -1;
    if (r->memory_high_bytes != LIMIT_NONE)
        return cgroup_write_u64(d, "memory.soft_limit_in_bytes", r->memory_high_bytes, "-1", err);
    return 0;
}

static int apply_cpu(const struct cgroup_dir *d, const struct spec_resources *r, struct error *err)
{
    if (r->cpu_shares != 0 && cgroup_write_u64(d, "cpu.shares", r->cpu_shares, NULL, err) < 0)
        return -1;
    if (r->cpu_idle && cgroup_write(d, "cpu.idle", "1", err) < 0)
        return -1;
    uint64_t period =
        r->cpu_period_us != 0 && r->cpu_period_us != LIMIT_NONE ? r->cpu_period_us : 100000;
    if (cgroup_write_u64(d, "cpu.cfs_period_us", period, NULL, err) < 0)
        return -1;
    return cgroup_write_u64(d, "cpu.cfs_quota_us", r->cpu_quota_us, "-1", err);
}

static int apply_cpuset(const struct cgroup_dir *d, const struct spec_resources *r,
                        struct error *err)
{
    if (r->cpuset_cpus != NULL && cgroup_write(d, "cpuset.cpus", r->cpuset_cpus, err) < 0)
        return -1;
    if (r->cpuset_mems != NULL)
        return cgroup_write(d, "cpuset.mems", r->cpuset_mems, err);
    return 0;
}

static int write_weight(const struct cgroup_dir *d, const char *file, const char *bfq_file,
                        const char *text, struct error *err)
{
    /* which of the two exists is a matter of the kernel's I/O schedulers */
    if (io_write_file_at(d->fd, file, text) == 0)
        return 0;
    if (errno == ENOENT)
        return cgroup_write(d, bfq_file, text, err);
    return cgroup_write(d, file, text, err);
}

static int apply_blkio(const struct cgroup_dir *d, const struct spec_resources *r,
                       struct error *err)
{
    char text[64];
    if (r->blkio_weight != 0) {
        snprintf(text, sizeof text, "%" PRIu64, r->blkio_weight);
        if (write_weight(d, "blkio.weight", "blkio.bfq.weight", text, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < r->blkio_device_count; i++) {
        const struct spec_blkio_device *dev = &r->blkio_devices[i];
        const struct {
            const char *file;
            uint64_t value;
        } throttles[] = {
            {"blkio.throttle.read_bps_device", dev->read_bps},
            {"blkio.throttle.write_bps_device", dev->write_bps},
            {"blkio.throttle.read_iops_device", dev->read_iops},
            {"blkio.throttle.write_iops_device", dev->write_iops},
        };
        for (size_t t = 0; t < sizeof throttles / sizeof throttles[0]; t++) {
            if (throttles[t].value == LIMIT_NONE)
                continue;
            snprintf(text, sizeof text, "%u:%u %" PRIu64, dev->major, dev->minor,
                     throttles[t].value);
            if (cgroup_write(d, throttles[t].file, text, err) < 0)
                return -1;
        }
        if (dev->weight != 0 && dev->weight != LIMIT_NONE) {
            snprintf(text, sizeof text, "%u:%u %" PRIu64, dev->major, dev->minor, dev->weight);
            if (write_weight(d, "blkio.weight_device", "blkio.bfq.weight_device", text, err) < 0)
                return -1;
        }
    }
    return 0;
}

int cgroup_v1_apply(const struct cgroup_dir *d, enum cgroup_controller c,
                    const struct spec_resources *r, struct error *err)
{
    switch (c) {
    case CTL_MEMORY:
        return apply_memory(d, r, err);
    case CTL_PIDS:
        return cgroup_write_processes(d, r, err);
    case CTL_CPU:
        return apply_cpu(d, r, err);
    case CTL_CPUSET:
        return apply_cpuset(d, r, err);
    case CTL_IO:
        return apply_blkio(d, r, err);
    case CTL_HUGETLB:
        return cgroup_apply_hugetlb(d, r, "limit_in_bytes", "-1", err);
    case CTL_CPUACCT:
    case CTL_FREEZER:
    case CTL_COUNT:
        break;
    }
    return 0;
}

/* cgroup-v1/memory.rst: an eventfd tied to a file of the group */
static int event_fd(const struct cgroup_dir *d, const char *file, const char *level)
{
    _cleanup_close_ int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    _cleanup_close_ int what = openat(d->fd, file, O_RDONLY | O_CLOEXEC);
    if (event < 0 || what < 0)
        return -1;
    char text[48];
    snprintf(text, sizeof text, "%d %d%s", event, what, level);
    if (io_write_file_at(d->fd, "cgroup.event_control", text) < 0)
        return -1;
    return TAKE_FD(event);
}

int cgroup_v1_oom_fd(const struct cgroup_dir *d)
{
    return event_fd(d, "memory.oom_control", "");
}

int cgroup_v1_pressure_fd(const struct cgroup_dir *d)
{
    return event_fd(d, "memory.pressure_level", " medium");
}
