#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Why no place was found: the first obstacle met counts, it is the one nearest to working. */
struct obstacle {
    enum { NOTHING, MISSING, BUSY, REFUSED } kind;
    int errnum;
    unsigned missing;
    char where[PATH_MAX];
};

static void note(struct obstacle *o, int kind, int errnum, unsigned missing, const char *where)
{
    if (o->kind != NOTHING)
        return;
    o->kind = kind;
    o->errnum = errnum;
    o->missing = missing;
    snprintf(o->where, sizeof o->where, "%s", where);
}

static unsigned read_controllers(int dirfd, const char *file)
{
    char text[256];
    return io_read_file_at(dirfd, file, text, sizeof text) < 0 ? 0 : cgroup_parse_controllers(text);
}

static int enable_controllers(int dirfd, unsigned bits)
{
    char text[128];
    size_t used = 0;
    for (int c = 0; c < CTL_COUNT; c++) {
        if ((bits & CTL_BIT(c)) && cgroup_controllers[c].v2 != NULL)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "+%s ", cgroup_controllers[c].v2);
    }
    return used == 0 ? 0 : io_write_file_at(dirfd, "cgroup.subtree_control", text);
}

int cgroup_v2_hand_down(int slice_fd, const char *below, unsigned controllers)
{
    if (controllers == 0)
        return 0;
    _cleanup_close_ int fd =
        openat(slice_fd, below, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -1 : enable_controllers(fd, controllers);
}

enum occupants { NOBODY, ONLY_ME, OTHERS };

static enum occupants occupants_of(int dirfd)
{
    char text[64], me[24];
    _cleanup_close_ int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (n < 0)
        return OTHERS;
    text[n] = '\0';
    snprintf(me, sizeof me, "%d\n", (int)getpid());
    return n == 0 ? NOBODY : strcmp(text, me) == 0 ? ONLY_ME : OTHERS;
}

/* A group that hands controllers down may hold no process itself (cgroups(7), "no internal
 * processes"): the caller, when it is alone, steps aside into a leaf. */
static int step_aside(int own_fd)
{
    if (mkdirat(own_fd, CGROUP_SUPERVISOR, 0755) < 0 && errno != EEXIST)
        return -1;
    return io_write_file_at(own_fd, CGROUP_SUPERVISOR "/cgroup.procs", "0");
}

static bool is_real_root(int dirfd)
{
    return faccessat(dirfd, "cgroup.type", F_OK, 0) < 0 && errno == ENOENT;
}

/* Moving a process from one group to another asks for cgroup.procs of what they have in common, so
 * the host itself must be ours, not only the slice in it. 0 or an errno: root learns EROFS here. */
static int may_not_write(int host, int slice)
{
    if (faccessat(host, "cgroup.procs", W_OK, AT_EACCESS) < 0 && errno != ENOENT)
        return errno;
    return slice >= 0 && faccessat(slice, ".", W_OK, AT_EACCESS) < 0 ? errno : 0;
}

struct placing {
    unsigned want, like;
    bool create;
    dev_t dev;
    struct obstacle obstacle;
};

/* Try to have cloche.slice in the directory @path. */
static int try_host(struct placing *p, const char *path, bool is_own, struct cgroup_dir *ret)
{
    struct stat st;
    _cleanup_close_ int host = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (host < 0 || fstat(host, &st) < 0) {
        note(&p->obstacle, REFUSED, errno, 0, path);
        return -1;
    }
    if (st.st_dev != p->dev) /* hidden behind a later mount */
        return -1;

    _cleanup_close_ int slice =
        openat(host, CGROUP_SLICE, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    unsigned both = p->want | p->like, have = 0;
    if (slice < 0 && !p->create)
        return -1;
    if (p->create) {
        int refused = may_not_write(host, slice);
        if (refused != 0) {
            note(&p->obstacle, REFUSED, refused, 0, path);
            return -1;
        }
        if (slice >= 0 && both != 0)
            have = read_controllers(slice, "cgroup.subtree_control") & both;
        if (have != both || slice < 0) {
            unsigned available = both != 0 ? read_controllers(host, "cgroup.controllers") : 0;
            unsigned target = both & available;
            if (p->want & ~available) {
                note(&p->obstacle, MISSING, 0, p->want & ~available, path);
                return -1;
            }
            if (target & ~read_controllers(host, "cgroup.subtree_control")) {
                enum occupants who = is_real_root(host) ? NOBODY : occupants_of(host);
                if (who == OTHERS || (who == ONLY_ME && !is_own)) {
                    note(&p->obstacle, BUSY, 0, target, path);
                    return -1;
                }
                if ((who == ONLY_ME && step_aside(host) < 0) ||
                    enable_controllers(host, target) < 0) {
                    note(&p->obstacle, REFUSED, errno, target, path);
                    return -1;
                }
            }
            if (slice < 0)
                slice = cgroup_open_slice(host);
            if (slice < 0 || ((target & ~have) != 0 && enable_controllers(slice, target) < 0)) {
                note(&p->obstacle, REFUSED, errno, target, path);
                return -1;
            }
            have = target;
        }
    }
    ret->version = 2;
    ret->controllers = have;
    ret->slice_fd = TAKE_FD(slice);
    ret->fd = ret->own_fd = ret->tasks_fd = -1;
    ret->slice_is_ours = false;
    if (asprintf(&ret->path, "%s/" CGROUP_SLICE, path) < 0)
        ret->path = NULL;
    return 0;
}

/* Walk over the places where a slice may stand on mount @m. */
static int try_hosts(struct placing *p, const struct cgroup_mount *m, const char *rel, bool pure,
                     struct cgroup_dir *ret)
{
    char path[PATH_MAX];
    size_t base = strlen(m->point);
    int n = snprintf(path, sizeof path, "%s%s%s", m->point, *rel != '\0' ? "/" : "", rel);
    if (n < 0 || (size_t)n >= sizeof path)
        return -1;
    p->dev = m->dev;
    /* root without a manager above: right below the mount, where everything can be handed down */
    if (pure && geteuid() == 0 && *rel != '\0' && try_host(p, m->point, false, ret) == 0)
        return 0;
    if (try_host(p, path, true, ret) == 0) {
        /* on a hybrid host the slice stands below somebody's own group, and must not stay there */
        if (!pure && *rel != '\0' && p->create) {
            ret->own_fd = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
            ret->slice_is_ours = ret->own_fd >= 0;
        }
        return 0;
    }
    if (!pure)
        return -1;
    for (char *slash; (slash = strrchr(path, '/')) != NULL && (size_t)(slash - path) >= base;) {
        *slash = '\0';
        if (try_host(p, path, false, ret) == 0)
            return 0;
    }
    return -1;
}

static int explain(const struct obstacle *o, unsigned want, struct error *err)
{
    const struct cgroup_controller_info *info = NULL;
    for (int c = 0; c < CTL_COUNT && info == NULL; c++) {
        if ((o->kind == MISSING ? o->missing : want) & CTL_BIT(c))
            info = &cgroup_controllers[c];
    }
    const char *purpose = info != NULL ? info->purpose : "make a control group";
    const char *name = info != NULL ? info->v2 : "memory";
    switch (o->kind) {
    case MISSING:
        if (geteuid() == 0) {
            error_set(err, "cgroup.missing_controller", 0,
                      "cannot %s: there is no cgroup controller \"%s\" in %s (read "
                      "%s/cgroup.controllers)",
                      purpose, name, o->where, o->where);
            return error_hint(
                err,
                "boot with cgroup_enable=%s, or let the manager of this container hand "
                "it down; or pass --best-effort",
                name);
        }
        error_set(err, "cgroup.not_delegated", 0,
                  "cannot %s: cgroup controller \"%s\" is not delegated to user %u (read "
                  "%s/cgroup.controllers)",
                  purpose, name, (unsigned)geteuid(), o->where);
        return error_hint(err, "systemctl edit user@.service, Delegate=yes; or pass --best-effort");
    case BUSY:
        error_set(
            err, "cgroup.not_delegated", 0,
            "cannot %s: control group %s holds processes, so it cannot hand controller \"%s\" "
            "down (read %s/cgroup.procs)",
            purpose, o->where, name, o->where);
        return error_hint(err,
                          "move them into a leaf (mkdir %s/init and write each pid to "
                          "init/cgroup.procs), or run alone in the group: systemd-run --user "
                          "--scope -p Delegate=yes cloche ...; or pass --best-effort",
                          o->where);
    case REFUSED:
        return cgroup_denied(2, purpose, o->where, o->errnum, err);
    case NOTHING:
        break;
    }
    error_set(err, "cgroup.missing_controller", 0,
              "cannot %s: no cgroup2 file system shows this process's group (read "
              "/proc/self/mountinfo)",
              purpose);
    return error_hint(err, "mount -t cgroup2 cgroup2 /sys/fs/cgroup; or pass --best-effort");
}

static int place(const struct cgroup_layout *l, struct placing *p, bool pure,
                 struct cgroup_dir *ret)
{
    const char *rel;
    size_t start = 0;
    const struct cgroup_mount *m;
    while ((m = cgroup_find_mount(l, CTL_COUNT, start, &rel)) != NULL) {
        if (try_hosts(p, m, rel, pure, ret) == 0)
            return 0;
        start = (size_t)(m - l->mounts) + 1;
    }
    return -1;
}

int cgroup_v2_open_slice(struct cgroup_layout *l, unsigned want, unsigned like, bool create,
                         struct cgroup_dir *ret, struct error *err)
{
    bool hybrid = l->own_v1[CTL_MEMORY] != NULL || l->own_v1[CTL_PIDS] != NULL;
    bool pure = !hybrid || want != 0;
    struct placing p = {.want = want, .like = like, .create = create};
    if (place(l, &p, pure, ret) == 0)
        return 0;
    if (l->mountinfo_text == NULL) { /* the usual mount is not the one */
        p = (struct placing){.want = want, .like = like, .create = create};
        if (cgroup_layout_complete(l, err) < 0)
            return -1;
        if (place(l, &p, pure, ret) == 0)
            return 0;
    }
    struct error systemd = ERROR_INIT;
    if (create && want != 0 && cgroup_systemd_running()) {
        if (cgroup_systemd_scope(&systemd) == 0) {
            struct placing again = {.want = want, .like = like, .create = true};
            cgroup_layout_done(l);
            if (cgroup_layout_read(l, err) < 0)
                return -1;
            if (place(l, &again, true, ret) == 0)
                return 0;
            p.obstacle = again.obstacle;
        }
    }
    /* nothing demanded: a bare directory still kills, freezes and counts CPU time */
    if (create && want == 0 && like != 0) {
        struct placing bare = {.create = true};
        if (place(l, &bare, false, ret) == 0 || place(l, &bare, pure, ret) == 0)
            return 0;
    }
    explain(&p.obstacle, want, err);
    if (systemd.code != NULL && err != NULL) {
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used,
                 "; and systemd gives no scope: %s", systemd.message);
    }
    return -1;
}

static int apply_memory(const struct cgroup_dir *d, const struct spec_resources *r,
                        struct error *err)
{
    if (cgroup_write_u64(d, "memory.max", r->memory_bytes, "max", err) < 0)
        return -1;
    uint64_t swap = r->swap_set ? r->swap_bytes : r->memory_bytes != LIMIT_NONE ? 0 : LIMIT_NONE;
    char text[24] = "max";
    if (swap != LIMIT_NONE)
        snprintf(text, sizeof text, "%" PRIu64, swap);
    /* no such file: a kernel without swap */
    if (io_write_file_at(d->fd, "memory.swap.max", text) < 0 && errno != ENOENT)
        return cgroup_write(d, "memory.swap.max", text, err);
    /* out of memory is the end of the whole tree, not of a process the kernel picks */
    if (cgroup_write(d, "memory.oom.group", "1", err) < 0)
        return -1;
    if (r->memory_high_bytes != LIMIT_NONE)
        return cgroup_write_u64(d, "memory.low", r->memory_high_bytes, "max", err);
    return 0;
}

static int apply_cpu(const struct cgroup_dir *d, const struct spec_resources *r, struct error *err)
{
    char text[64];
    if (r->cpu_shares != 0 &&
        cgroup_write_u64(d, "cpu.weight", cgroup_weight_of_shares(r->cpu_shares), NULL, err) < 0)
        return -1;
    if (r->cpu_idle && cgroup_write(d, "cpu.idle", "1", err) < 0)
        return -1;
    uint64_t period =
        r->cpu_period_us != 0 && r->cpu_period_us != LIMIT_NONE ? r->cpu_period_us : 100000;
    if (r->cpu_quota_us == LIMIT_NONE)
        snprintf(text, sizeof text, "max %" PRIu64, period);
    else
        snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64, r->cpu_quota_us, period);
    return cgroup_write(d, "cpu.max", text, err);
}

static int apply_io(const struct cgroup_dir *d, const struct spec_resources *r, struct error *err)
{
    char text[192];
    if (r->blkio_weight != 0) {
        /* OCI's 10..1000 stretched over 1..10000, as crun does */
        snprintf(text, sizeof text, "%" PRIu64, 1 + (r->blkio_weight - 10) * 9999 / 990);
        if (io_write_file_at(d->fd, "io.weight", text) < 0) {
            if (errno != ENOENT)
                return cgroup_write(d, "io.weight", text, err);
            snprintf(text, sizeof text, "%" PRIu64, r->blkio_weight);
            if (cgroup_write(d, "io.bfq.weight", text, err) < 0)
                return -1;
        }
    }
    for (size_t i = 0; i < r->blkio_device_count; i++) {
        const struct spec_blkio_device *dev = &r->blkio_devices[i];
        const struct {
            const char *key;
            uint64_t value;
        } keys[] = {{"rbps", dev->read_bps},
                    {"wbps", dev->write_bps},
                    {"riops", dev->read_iops},
                    {"wiops", dev->write_iops}};
        size_t head = (size_t)snprintf(text, sizeof text, "%u:%u", dev->major, dev->minor);
        size_t used = head;
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            if (keys[k].value != LIMIT_NONE)
                used += (size_t)snprintf(text + used, sizeof text - used, " %s=%" PRIu64,
                                         keys[k].key, keys[k].value);
        }
        if (used > head && cgroup_write(d, "io.max", text, err) < 0)
            return -1;
        if (dev->weight >= 10 && dev->weight <= 1000) {
            snprintf(text, sizeof text, "%u:%u %" PRIu64, dev->major, dev->minor,
                     1 + (dev->weight - 10) * 9999 / 990);
            if (cgroup_write(d, "io.weight", text, err) < 0)
                return -1;
        }
    }
    return 0;
}

int cgroup_v2_apply(const struct cgroup_dir *d, enum cgroup_controller c,
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
        if (r->cpuset_cpus != NULL && cgroup_write(d, "cpuset.cpus", r->cpuset_cpus, err) < 0)
            return -1;
        if (r->cpuset_mems != NULL)
            return cgroup_write(d, "cpuset.mems", r->cpuset_mems, err);
        return 0;
    case CTL_IO:
        return apply_io(d, r, err);
    case CTL_HUGETLB:
        return cgroup_apply_hugetlb(d, r, "max", "max", err);
    case CTL_CPUACCT:
    case CTL_FREEZER:
    case CTL_COUNT:
        break;
    }
    return 0;
}

int cgroup_v2_oom_fd(const struct cgroup_dir *d)
{
    char text[256];
    _cleanup_close_ int fd = openat(d->fd, "memory.events", O_RDONLY | O_CLOEXEC);
    /* a file that was never read counts as changed: the first poll would return at once */
    if (fd < 0 || read(fd, text, sizeof text) < 0)
        return -1;
    return TAKE_FD(fd);
}
