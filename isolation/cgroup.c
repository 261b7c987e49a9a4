#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

unsigned cgroup_wanted(const struct spec_resources *r)
{
    unsigned want = 0;
    if (r->memory_bytes != LIMIT_NONE || r->memory_high_bytes != LIMIT_NONE ||
        (r->swap_set && r->swap_bytes != LIMIT_NONE))
        want |= CTL_BIT(CTL_MEMORY);
    if (r->processes != LIMIT_NONE)
        want |= CTL_BIT(CTL_PIDS);
    if (r->cpu_quota_us != LIMIT_NONE || r->cpu_shares != 0 || r->cpu_idle)
        want |= CTL_BIT(CTL_CPU);
    if (r->cpuset_cpus != NULL || r->cpuset_mems != NULL)
        want |= CTL_BIT(CTL_CPUSET);
    if (r->blkio_weight != 0 || r->blkio_device_count > 0)
        want |= CTL_BIT(CTL_IO);
    if (r->hugepage_count > 0)
        want |= CTL_BIT(CTL_HUGETLB);
    return want;
}

const struct cgroup_dir *cgroup_dir_of(const struct cgroup *g, enum cgroup_controller c)
{
    for (int i = 0; i < g->dir_count; i++) {
        if (g->dirs[i].controllers & CTL_BIT(c))
            return &g->dirs[i];
    }
    return NULL;
}

int cgroup_denied(int version, const char *what, const char *path, int errnum, struct error *err)
{
    if (errnum == EROFS) {
        error_set(err, "cgroup.read_only", 0, "cannot %s: %s is mounted read-only", what, path);
        error_hint(err, "mount -o remount,rw /sys/fs/cgroup (in a container: start it with a "
                        "writable cgroup tree); or pass --best-effort");
    } else if (errnum == EACCES || errnum == EPERM) {
        error_set(err, "cgroup.not_delegated", 0,
                  "cannot %s: control group %s is not delegated to user %u", what, path,
                  (unsigned)geteuid());
        error_hint(err, version == 2
                            ? "systemctl edit user@.service, Delegate=yes; or pass --best-effort"
                            : "run as root, or boot with systemd.unified_cgroup_hierarchy=1 "
                              "(cgroup v1 cannot be handed to a user); or pass --best-effort");
    } else {
        error_set(err, "cgroup.limit", errnum, "cannot %s: control group %s", what, path);
    }
    return error_path(err, path);
}

int cgroup_write(const struct cgroup_dir *d, const char *file, const char *text, struct error *err)
{
    if (io_write_file_at(d->fd, file, text) == 0)
        return 0;
    int errnum = errno;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", d->path != NULL ? d->path : CGROUP_SLICE, file);
    if (errnum == EROFS)
        return cgroup_denied(d->version, "write a limit", path, errnum, err);
    error_set(err, "cgroup.limit", errnum, "cannot set %s to \"%s\"", path, text);
    if (errnum == ENOENT)
        error_hint(err, "this kernel has no such file: leave the limit out, or pass --best-effort");
    else if (errnum == EINVAL || errnum == ERANGE)
        error_hint(err, "the kernel refuses this value; see what the parent group allows");
    else if (errnum == ENODEV || errnum == ENXIO)
        error_hint(err, "name a disk as a whole: lsblk shows the numbers");
    else if (errnum == EOPNOTSUPP)
        error_hint(err, "this device's I/O scheduler knows no weights: bfq does (see "
                        "/sys/block/*/queue/scheduler), or leave the limit out");
    else if (errnum == EBUSY)
        error_hint(err, "more is in use than the new limit allows");
    return error_path(err, path);
}

int cgroup_write_u64(const struct cgroup_dir *d, const char *file, uint64_t value,
                     const char *unlimited, struct error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cgroup_write(d, file, value == LIMIT_NONE && unlimited != NULL ? unlimited : text, err);
}

int cgroup_write_processes(const struct cgroup_dir *d, const struct spec_resources *r,
                           struct error *err)
{
    uint64_t limit = r->processes;
    if (limit < PROCESSES_MAX)
        limit++; /* init is in the group, and is not the program's */
    return cgroup_write_u64(d, "pids.max", limit, "max", err);
}

int cgroup_apply_hugetlb(const struct cgroup_dir *d, const struct spec_resources *r,
                         const char *file, const char *unlimited, struct error *err)
{
    for (size_t i = 0; i < r->hugepage_count; i++) {
        const char *size = r->hugepages[i].page_size;
        char path[80];
        snprintf(path, sizeof path, "hugetlb.%s.%s", size, file);
        if (strchr(path, '/') != NULL)
            return error_set(err, "cgroup.limit", 0, "\"%s\" is not a page size", size);
        if (cgroup_write_u64(d, path, r->hugepages[i].limit_bytes, unlimited, err) < 0)
            return -1;
    }
    return 0;
}

int cgroup_open_slice(int own_fd)
{
    for (int round = 0; round < 8; round++) {
        if (mkdirat(own_fd, CGROUP_SLICE, 0755) < 0 && errno != EEXIST)
            return -1;
        int fd = openat(own_fd, CGROUP_SLICE, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT)
            return fd;
    }
    return -1;
}

static void close_dir(struct cgroup_dir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    if (d->own_fd >= 0)
        close(d->own_fd);
    if (d->tasks_fd >= 0)
        close(d->tasks_fd);
    if (d->slice_fd >= 0)
        close(d->slice_fd);
    free(d->path);
}

/* Before the group goes: the kernel keeps the name of a file that is open while its directory is
 * removed, with the directory's, until memory runs short (a kilobyte of slab each, a run). */
static void close_files(struct cgroup *g)
{
    for (int i = 0; i < g->dir_count; i++) {
        cleanup_close(&g->dirs[i].tasks_fd);
        g->dirs[i].tasks_fd = -1;
    }
    cleanup_close(&g->oom_fd);
    cleanup_close(&g->pressure_fd);
    g->oom_fd = g->pressure_fd = -1;
}

void cgroup_unwatch(struct cgroup *g)
{
    cgroup_memory_exceeded(g);
    g->unwatched = true;
    close_files(g);
}

static void group_free(struct cgroup *g)
{
    if (g->has_layout)
        cgroup_layout_done(&g->layout);
    close_files(g);
    for (int i = 0; i < g->dir_count; i++)
        close_dir(&g->dirs[i]);
    free(g->name);
    free(g);
}

/* mkdir -p of @name in the slice; on v2 every level on the way hands the controllers down. The last
 * component must be new. */
static int make_path(const struct cgroup_dir *d, char *name)
{
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int r = mkdirat(d->slice_fd, name, 0755);
        if (r < 0 && errno == EEXIST)
            r = 0;
        if (r == 0 && d->version == 2)
            r = cgroup_v2_hand_down(d->slice_fd, name, d->controllers);
        *slash = '/';
        if (r < 0)
            return -1;
    }
    return mkdirat(d->slice_fd, name, 0755);
}

/* A group of this name is there. It may go when nobody holds its lock; what still runs in it is
 * killed only when the name is ours alone (an id), not when the spec chose a path. */
static int clear_old(const struct cgroup_dir *d, const char *name, bool chosen_by_spec,
                     struct error *err)
{
    _cleanup_close_ int fd =
        openat(d->slice_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : cgroup_denied(d->version, "open a control group", name, errno, err);
    char pids[32];
    bool busy = flock(fd, LOCK_EX | LOCK_NB) < 0 ||
                (chosen_by_spec && io_read_file_at(fd, "cgroup.procs", pids, sizeof pids) != 0);
    if (busy) {
        error_set(err, "cgroup.exists", 0, "control group %s/%s is in use", d->path, name);
        return error_hint(err, "choose another name, or end what runs in it");
    }
    return cgroup_remove_dirs(d, 1, name, !chosen_by_spec, err);
}

/* Make the group's directory in the slice @d and take it over into @g. */
static int add_dir(struct cgroup *g, struct cgroup_dir *d, bool chosen_by_spec, struct error *err)
{
    for (int round = 0; make_path(d, g->name) < 0; round++) {
        if (errno == EEXIST && round < 4) {
            if (clear_old(d, g->name, chosen_by_spec, err) < 0)
                return -1;
        } else if (errno == ENOENT && d->own_fd >= 0 && round < 16) {
            /* the last sandbox beside us ended, and took the empty slice with it */
            int fresh = cgroup_open_slice(d->own_fd);
            if (fresh < 0)
                return cgroup_denied(d->version, "make a control group", d->path, errno, err);
            close(d->slice_fd);
            d->slice_fd = fresh;
        } else {
            return cgroup_denied(d->version, "make a control group", d->path, errno, err);
        }
    }
    char *path = NULL;
    if (asprintf(&path, "%s/%s", d->path != NULL ? d->path : CGROUP_SLICE, g->name) >= 0) {
        free(d->path);
        d->path = path;
    }
    d->fd = openat(d->slice_fd, g->name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (d->fd >= 0 && d->version == 1)
        d->tasks_fd = openat(d->fd, "tasks", O_WRONLY | O_CLOEXEC);
    if (d->fd < 0 || (d->version == 1 && d->tasks_fd < 0)) {
        int errnum = errno;
        unlinkat(d->slice_fd, g->name, AT_REMOVEDIR);
        return cgroup_denied(d->version, "open a control group", d->path, errnum, err);
    }
    flock(d->fd, LOCK_EX | LOCK_NB); /* "my creator lives": see the sweep */
    if (d->version == 2)
        g->v2 = g->dir_count;
    g->dirs[g->dir_count++] = *d;
    return 0;
}

/* Open the slice for @c in v1 and make the group there. */
static int add_v1(struct cgroup *g, const struct cgroup_layout *l, enum cgroup_controller c,
                  bool chosen_by_spec, struct error *err)
{
    struct cgroup_dir d = {.slice_fd = -1, .fd = -1, .own_fd = -1, .tasks_fd = -1};
    if (g->dir_count == CGROUP_DIRS_MAX)
        return error_set(err, "cgroup.limit", E2BIG, "too many cgroup hierarchies");
    if (cgroup_v1_open_slice(l, c, true, &d, err) < 0)
        return -1;
    if (add_dir(g, &d, chosen_by_spec, err) < 0) {
        close_dir(&d);
        return -1;
    }
    return cgroup_v1_prepare(&g->dirs[g->dir_count - 1], g, err);
}

static int add_v2(struct cgroup *g, struct cgroup_layout *l, unsigned want, unsigned like,
                  bool chosen_by_spec, struct error *err)
{
    struct cgroup_dir d = {.slice_fd = -1, .fd = -1, .own_fd = -1, .tasks_fd = -1};
    if (cgroup_v2_open_slice(l, want, like, true, &d, err) < 0)
        return -1;
    if (add_dir(g, &d, chosen_by_spec, err) < 0) {
        close_dir(&d);
        return -1;
    }
    return 0;
}

/* OCI's resources.unified: the user's own words for v2 files. What would move processes or hand
 * controllers down is not a resource. */
static int apply_unified(const struct cgroup *g, const struct spec_resources *r, struct error *err)
{
    for (size_t i = 0; i < r->unified_count; i++) {
        const char *file = r->unified[i].key;
        bool control = strncmp(file, "cgroup.", 7) == 0 && strncmp(file, "cgroup.max.", 11) != 0;
        if (!cgroup_name_ok(file) || control) {
            error_set(err, "cgroup.limit", 0,
                      "linux.resources.unified: \"%s\" is not a file that limits resources", file);
            return error_hint(err, "use a file of the controllers, such as memory.high");
        }
        if (g->v2 < 0 || faccessat(g->dirs[g->v2].fd, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            error_set(err, "cgroup.missing_controller", 0,
                      "linux.resources.unified: there is no file \"%s\" here (cgroup %s)", file,
                      g->v2 < 0 ? "v2 is not mounted" : g->dirs[g->v2].path);
            return error_hint(err, "boot with systemd.unified_cgroup_hierarchy=1, or leave it out");
        }
        if (cgroup_write(&g->dirs[g->v2], file, r->unified[i].value, err) < 0)
            return -1;
    }
    return 0;
}

static int apply(struct cgroup *g, const struct spec_resources *r, unsigned want, bool required,
                 struct error *err)
{
    for (int c = 0; c < CTL_COUNT; c++) {
        const struct cgroup_dir *d = cgroup_dir_of(g, (enum cgroup_controller)c);
        if (!(want & CTL_BIT(c)))
            continue;
        if (d == NULL) {
            if (!required)
                continue;
            error_set(err, "cgroup.missing_controller", 0,
                      "cannot %s: this control group was made without controller \"%s\"",
                      cgroup_controllers[c].purpose, cgroup_controllers[c].v1);
            return error_hint(err, "give the limit when the sandbox is created");
        }
        int done = d->version == 1 ? cgroup_v1_apply(d, (enum cgroup_controller)c, r, err)
                                   : cgroup_v2_apply(d, (enum cgroup_controller)c, r, err);
        if (done < 0 && required)
            return -1;
        if (done == 0)
            g->limited |= CTL_BIT(c);
    }
    if (apply_unified(g, r, err) < 0 && required)
        return -1;
    return 0;
}

/* Errors that end a creation even where a limit is only wished for. */
static bool is_fatal(const struct error *err)
{
    return err->code != NULL && strcmp(err->code, "cgroup.exists") == 0;
}

/* The group in the v2 tree; without one, v1 must count CPU time and freeze. */
static int add_unified(struct cgroup *g, struct cgroup_layout *l, unsigned want, unsigned on_v2,
                       bool chosen, bool required, struct error *err)
{
    unsigned like = on_v2 & (CTL_BIT(CTL_MEMORY) | CTL_BIT(CTL_PIDS) | CTL_BIT(CTL_CPU));
    if ((want != 0 || l->own_v2 != NULL) && add_v2(g, l, want, like, chosen, err) == 0)
        return 0;
    if ((required && want != 0) || is_fatal(err))
        return -1;
    /* what was wished for cannot be had as a whole: take what there is */
    if (want != 0 && add_v2(g, l, 0, want | like, chosen, err) == 0)
        return 0;
    static const enum cgroup_controller instead[] = {CTL_CPUACCT, CTL_FREEZER};
    for (size_t i = 0; i < 2 && !is_fatal(err); i++) {
        if (l->own_v1[instead[i]] != NULL && cgroup_dir_of(g, instead[i]) == NULL)
            add_v1(g, l, instead[i], chosen, err);
    }
    return is_fatal(err) ? -1 : 0;
}

/* Controllers that v1 carries here and that this group uses: demanded, or measuring for the report.
 */
static unsigned on_v1(const struct cgroup_layout *l, unsigned want)
{
    /* v1's cpu measures nothing that the v2 tree would not measure better */
    unsigned use = want | CTL_BIT(CTL_MEMORY) | CTL_BIT(CTL_PIDS), bits = 0;
    for (int c = 0; c < CTL_COUNT; c++)
        bits |= l->own_v1[c] != NULL ? use & CTL_BIT(c) : 0;
    return bits;
}

static unsigned on_v2(const struct cgroup_layout *l)
{
    unsigned bits = 0;
    for (int c = 0; c < CTL_COUNT; c++)
        bits |= l->own_v1[c] == NULL ? CTL_BIT(c) : 0;
    return bits;
}

/* A step of the creation failed: is that an error, or only less than was wished for? */
static bool tolerable(const struct error *err, const struct spec_resources *r, bool required)
{
    return !is_fatal(err) && (!required || (cgroup_wanted(r) == 0 && r->unified_count == 0));
}

int cgroup_advance(struct cgroup *g, const struct spec *spec, bool required, struct error *err)
{
    const struct spec_resources *r = &spec->resources;
    const unsigned want = cgroup_wanted(r);
    const unsigned left = g->has_layout && !g->renewed ? on_v1(&g->layout, want) & ~g->v1_done : 0;
    if (left == 0)
        return 0;
    const int c = __builtin_ctz(left);
    g->v1_done |= CTL_BIT(c);
    if (cgroup_layout_complete(&g->layout, err) < 0) {
        g->v1_done |= left; /* there is no second try */
    } else if (add_v1(g, &g->layout, (enum cgroup_controller)c, g->chosen, err) == 0) {
        g->v1_done |= g->dirs[g->dir_count - 1].controllers;
        return 1;
    } else if ((!required || !(want & CTL_BIT(c))) && !is_fatal(err)) {
        return 1;
    }
    return tolerable(err, r, required) ? 1 : -1;
}

int cgroup_begin(struct cgroup **ret, const char *name, const struct spec *spec, bool required,
                 struct error *err)
{
    struct error ours = ERROR_INIT;
    char path[PATH_MAX];
    const struct spec_resources *r = &spec->resources;
    if (err == NULL)
        err = &ours;
    if (!cgroup_name_ok(name)) {
        error_set(err, "cgroup.name", 0, "\"%s\" cannot name a control group", name);
        return error_hint(err,
                          "use letters, digits, \"-\", \"_\" and \".\", not starting with \".\"");
    }
    bool chosen = spec->cgroups_path != NULL && spec->cgroups_path[0] != '\0';
    if (chosen && cgroup_path_below(spec->cgroups_path, path, sizeof path, err) < 0)
        return -1;

    struct cgroup *g = calloc(1, sizeof *g);
    if (g == NULL)
        return error_set(err, "cgroup.limit", errno, "cannot make a control group");
    g->v2 = g->oom_fd = g->pressure_fd = -1;
    g->chosen = chosen;
    g->name = strdup(chosen ? path : name);
    if (g->name == NULL) {
        group_free(g);
        return error_set(err, "cgroup.limit", ENOMEM, "cannot make a control group");
    }
    unsigned want = cgroup_wanted(r);
    bool built = cgroup_layout_begin(&g->layout, err) == 0;
    g->has_layout = built;
    built = built && add_unified(g, &g->layout, want & on_v2(&g->layout), on_v2(&g->layout), chosen,
                                 required, err) == 0;
    if (!built && !tolerable(err, r, required)) {
        cgroup_remove(g, NULL);
        return -1;
    }
    memset(err, 0, offsetof(struct error, message));
    *ret = g;
    return 0;
}

/* Of a long list each entry costs the kernel most of a microsecond, so not every start reads it.
 * The clock says whose turn it is: pids of starts that follow each other go by steps. */
static bool is_long_and_not_our_turn(int slice_fd)
{
    struct stat st;
    struct timespec now;
    if (fstat(slice_fd, &st) < 0 || st.st_nlink <= 2 + CGROUP_SWEEP_ALWAYS)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_nsec / 1000 % CGROUP_SWEEP_TURNS != 0;
}

/* Groups of dead runs, in each hierarchy for itself. Every run stands in every slice, so the others
 * are only read when they do not hold as many as the first one does after its sweep: 500 living
 * runs are listed once. Fewer, too: callers in several v1 groups may share the v2 slice. */
void cgroup_sweep_dead(const struct cgroup *g)
{
    struct stat first, other;
    if (g->dir_count == 0 || g->renewed || is_long_and_not_our_turn(g->dirs[0].slice_fd))
        return;
    if (cgroup_sweep_slice(&g->dirs[0], false) > 0) {
        /* they may stand where this one does not; v2, where all do, goes last: whoever dies at this
         * leaves the rest to be found */
        cgroup_sweep(NULL, NULL);
        for (int i = g->dir_count; i-- > 0;)
            cgroup_sweep_slice(&g->dirs[i], true);
        return;
    }
    if (fstat(g->dirs[0].slice_fd, &first) < 0)
        return;
    for (int i = 1; i < g->dir_count; i++) {
        if (fstat(g->dirs[i].slice_fd, &other) == 0 && other.st_nlink != first.st_nlink)
            cgroup_sweep_slice(&g->dirs[i], true);
    }
}

int cgroup_complete(struct cgroup *g, const struct spec *spec, bool required, struct error *err)
{
    struct error ours = ERROR_INIT;
    const struct spec_resources *r = &spec->resources;
    unsigned want = cgroup_wanted(r);
    if (err == NULL)
        err = &ours;
    if (g->renewed)
        return cgroup_update(g, r, required, err);
    int more;
    while ((more = cgroup_advance(g, spec, required, err)) > 0)
        continue;
    if (more < 0)
        return -1;
    if (apply(g, r, want, required, err) < 0)
        return -1;
    if (g->v2 >= 0 && g->dirs[g->v2].controllers != 0)
        io_write_file_at(g->dirs[g->v2].fd, "cgroup.max.descendants", "0");
    const struct cgroup_dir *memory = cgroup_dir_of(g, CTL_MEMORY);
    if (memory != NULL && (g->limited & CTL_BIT(CTL_MEMORY))) {
        g->oom_fd = memory->version == 1 ? cgroup_v1_oom_fd(memory) : cgroup_v2_oom_fd(memory);
        g->pressure_fd = memory->version == 1 ? cgroup_v1_pressure_fd(memory) : -1;
    }
    memset(err, 0, offsetof(struct error, message));
    return 0;
}

int cgroup_create(struct cgroup **ret, const char *name, const struct spec *spec, bool required,
                  struct error *err)
{
    struct cgroup *g;
    if (cgroup_begin(&g, name, spec, required, err) < 0)
        return -1;
    if (cgroup_complete(g, spec, required, err) < 0) {
        cgroup_remove(g, NULL);
        return -1;
    }
    cgroup_sweep_dead(g);
    *ret = g;
    return 0;
}

int cgroup_update(struct cgroup *g, const struct spec_resources *resources, bool required,
                  struct error *err)
{
    struct error ours = ERROR_INIT;
    /* what was limited and is not any more must be written, too */
    return apply(g, resources, cgroup_wanted(resources) | g->limited, required,
                 err != NULL ? err : &ours);
}

int cgroup_v2_fd(const struct cgroup *g)
{
    return g->v2 >= 0 ? g->dirs[g->v2].fd : -1;
}

int cgroup_join_fds(const struct cgroup *g, int *fds, int max)
{
    int count = 0;
    for (int i = 0; i < g->dir_count && count < max; i++) {
        if (g->dirs[i].version == 1)
            fds[count++] = g->dirs[i].tasks_fd;
    }
    return count;
}

int cgroup_kill(struct cgroup *g)
{
    if (g->v2 >= 0 && io_write_file_at(g->dirs[g->v2].fd, "cgroup.kill", "1") == 0)
        return 0;
    if (g->v2 < 0 || errno == ENOENT)
        errno = ENOTSUP;
    return -1;
}

int cgroup_freeze(struct cgroup *g, bool frozen, struct error *err)
{
    const struct cgroup_dir *d = g->v2 >= 0 ? &g->dirs[g->v2] : cgroup_dir_of(g, CTL_FREEZER);
    if (d == NULL) {
        error_set(err, "cgroup.missing_controller", 0,
                  "cannot freeze: this sandbox has no control group with a freezer");
        return error_hint(err, "run where cgroup v2 is mounted and delegated");
    }
    bool v2 = d->version == 2;
    if (cgroup_write(d, v2 ? "cgroup.freeze" : "freezer.state",
                     v2 ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED"), err) < 0)
        return -1;
    if (!frozen || cgroup_wait_frozen(d))
        return 0;
    /* never half frozen */
    io_write_file_at(d->fd, v2 ? "cgroup.freeze" : "freezer.state", v2 ? "0" : "THAWED");
    return error_set(err, "cgroup.limit", ETIMEDOUT, "cannot freeze control group %s", d->path);
}

int cgroup_remove(struct cgroup *g, struct error *err)
{
    close_files(g);
    int result = cgroup_remove_dirs(g->dirs, g->dir_count, g->name, false, err);
    for (int i = g->dir_count - 1; i >= 0; i--) {
        struct cgroup_dir *d = &g->dirs[i];
        /* what make_path() made on the way, unless others are there */
        char above[PATH_MAX];
        snprintf(above, sizeof above, "%s", g->name);
        for (char *slash; (slash = strrchr(above, '/')) != NULL;) {
            *slash = '\0';
            if (unlinkat(d->slice_fd, above, AT_REMOVEDIR) < 0)
                break;
        }
        if (d->slice_is_ours)
            unlinkat(d->own_fd, CGROUP_SLICE, AT_REMOVEDIR);
    }
    group_free(g);
    return result;
}
