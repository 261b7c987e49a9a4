#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sleep until @key of a v2 events file is @value, or @ms have passed. A file that is gone has
 * reached every state. */
static bool wait_event(int dirfd, const char *file, const char *key, uint64_t value, int ms)
{
    char text[256];
    _cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int64_t deadline = now_ms() + ms;
    while (fd >= 0) {
        uint64_t now = 0;
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        if (got < 0)
            break;
        text[got] = '\0';
        if (!cgroup_parse_key(text, key, &now) || now == value)
            break;
        int64_t left = deadline - now_ms();
        struct pollfd p = {.fd = fd, .events = POLLPRI};
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return false;
    }
    return true;
}

static bool wait_unpopulated(int slice_fd, const char *name, int ms)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/cgroup.events", name);
    return n < 0 || (size_t)n >= sizeof path || wait_event(slice_fd, path, "populated", 0, ms);
}

bool cgroup_wait_frozen(const struct cgroup_dir *d)
{
    char text[256];
    int64_t deadline = now_ms() + CGROUP_REMOVE_MS;
    if (d->version == 1) {
        /* v1 says FREEZING until every task is; reading goes on freezing them */
        while (io_read_file_at(d->fd, "freezer.state", text, sizeof text) >= 0) {
            if (strcmp(text, "FROZEN") == 0)
                return true;
            if (now_ms() >= deadline)
                break;
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        }
        return false;
    }
    return wait_event(d->fd, "cgroup.events", "frozen", 1, CGROUP_REMOVE_MS);
}

/* v1 alone has no cgroup.kill: every pid of the list, until the list is empty or does not shrink
 * any more. Only for leftovers, whose processes nobody else looks after. */
static void kill_listed(int slice_fd, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/cgroup.procs", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return;
    for (int round = 0; round < 16; round++) {
        _cleanup_close_ int fd = openat(slice_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_free_ char *text = NULL;
        if (fd < 0 || io_read_to_end(fd, 1U << 20, &text) <= 0)
            return;
        for (char *p = text; *p != '\0';) {
            long pid = strtol(p, &p, 10);
            if (pid > 1 && pid != getpid())
                kill((pid_t)pid, SIGKILL);
            p += strspn(p, "\n");
            if (*p != '\0' && (*p < '0' || *p > '9'))
                return;
        }
    }
}

static void kill_group(const struct cgroup_dir *dirs, int count, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/cgroup.kill", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return;
    for (int i = 0; i < count; i++) {
        if (dirs[i].version == 2 && io_write_file_at(dirs[i].slice_fd, path, "1") == 0)
            wait_unpopulated(dirs[i].slice_fd, name, CGROUP_REMOVE_MS);
    }
    /* what stands only in v1 groups, or a kernel without cgroup.kill (before 5.14) */
    for (int i = 0; i < count; i++)
        kill_listed(dirs[i].slice_fd, name);
}

/* rmdir one directory; EBUSY is waited for until @deadline. 0, or -1 with errno. */
static int remove_dir(const struct cgroup_dir *d, const char *name, int64_t deadline)
{
    for (long pause_us = 50;;) {
        if (unlinkat(d->slice_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        int64_t left = deadline - now_ms();
        if (errno != EBUSY || left <= 0)
            return -1;
        if (d->version == 2) {
            wait_unpopulated(d->slice_fd, name, (int)left);
            if (now_ms() >= deadline) {
                errno = EBUSY;
                return -1;
            }
        }
        /* v1 has no event for "empty"; and in v2 the emptying is seen a moment before it is over */
        struct timespec pause = {.tv_nsec = pause_us * 1000};
        nanosleep(&pause, NULL);
        if (pause_us < 10000)
            pause_us *= 2;
    }
}

static void report_busy(const struct cgroup_dir *d, const char *name, int errnum, struct error *err)
{
    char path[PATH_MAX], pids[256];
    int n = snprintf(path, sizeof path, "%s/cgroup.procs", name);
    pids[0] = '\0';
    _cleanup_close_ int fd = n > 0 && (size_t)n < sizeof path
                                 ? openat(d->slice_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                                 : -1;
    ssize_t got = fd >= 0 ? read(fd, pids, sizeof pids - 1) : -1;
    pids[got > 0 ? got : 0] = '\0';
    for (char *p = pids; *p != '\0'; p++) {
        if (*p == '\n')
            *p = p[1] != '\0' ? ' ' : '\0';
    }
    error_set(err, "cgroup.busy", errnum, "control group %s stays%s%s",
              d->path != NULL ? d->path : name,
              pids[0] != '\0' ? ", it still holds processes " : "", pids);
    error_hint(err, "it goes with the next run's sweep; or end what is in it, then rmdir it");
    if (d->path != NULL)
        error_path(err, d->path);
}

int cgroup_remove_dirs(const struct cgroup_dir *dirs, int count, const char *name, bool kill,
                       struct error *err)
{
    if (kill)
        kill_group(dirs, count, name);
    int64_t deadline = now_ms() + CGROUP_REMOVE_MS;
    int result = 0;
    for (int i = count - 1; i >= 0; i--) {
        if (remove_dir(&dirs[i], name, deadline) == 0)
            continue;
        if (result == 0)
            report_busy(&dirs[i], name, errno, err);
        result = -1;
    }
    return result;
}

/* Every hierarchy of ours that has a slice. The caller closes them. */
static int open_all_slices(const struct cgroup_layout *l, struct cgroup_dir *dirs, int max)
{
    int count = 0;
    unsigned done = 0;
    for (int c = 0; c < CTL_COUNT && count < max; c++) {
        if ((done & CTL_BIT(c)) || l->own_v1[c] == NULL ||
            cgroup_v1_open_slice(l, (enum cgroup_controller)c, false, &dirs[count], NULL) < 0)
            continue;
        done |= dirs[count++].controllers;
    }
    if (count < max && l->own_v2 != NULL) {
        struct cgroup_layout copy = *l;
        if (cgroup_v2_open_slice(&copy, 0, 0, false, &dirs[count], NULL) == 0)
            count++;
    }
    return count;
}

static void close_slices(struct cgroup_dir *dirs, int from, int count)
{
    for (int i = from; i < count; i++) {
        close(dirs[i].slice_fd);
        free(dirs[i].path);
    }
}

/* True when nobody holds the lock that a living creator keeps on its group. */
static bool owner_is_gone(int slice_fd, const char *name)
{
    _cleanup_close_ int fd =
        openat(slice_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

int cgroup_sweep_slice(const struct cgroup_dir *slice, bool remove)
{
    struct dirent64_raw {
        uint64_t ino;
        int64_t off;
        uint16_t reclen;
        uint8_t type;
        char name[];
    };
    _Alignas(8) char buf[32768];
    int dead = 0;
    pid_t alive = getpid();
    long n;
    if (lseek(slice->slice_fd, 0, SEEK_SET) < 0)
        return 0;
    while ((n = syscall(SYS_getdents64, slice->slice_fd, buf, sizeof buf)) > 0) {
        for (long at = 0; at < n;) {
            const struct dirent64_raw *e = (const void *)(buf + at);
            at += e->reclen;
            pid_t pid;
            if (e->type != DT_DIR || !cgroup_run_pid(e->name, &pid) || pid == alive)
                continue;
            if (kill(pid, 0) == 0 || errno != ESRCH) {
                alive = pid; /* many runs of one judge stand side by side */
                continue;
            }
            if (!owner_is_gone(slice->slice_fd, e->name))
                continue;
            if (!remove || cgroup_remove_dirs(slice, 1, e->name, true, NULL) == 0)
                dead++;
        }
    }
    return dead;
}

/** A group that is just being made has no lock yet. */
static bool is_new(int slice_fd, const char *name)
{
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return fstatat(slice_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || now.tv_sec - st.st_ctime < 2;
}

int cgroup_sweep_sandboxes(struct error *err)
{
    struct cgroup_layout l;
    struct cgroup_dir all[CGROUP_DIRS_MAX];
    if (cgroup_layout_read(&l, err) < 0) {
        cgroup_layout_done(&l);
        return -1;
    }
    int count = open_all_slices(&l, all, CGROUP_DIRS_MAX), removed = 0;
    for (int i = 0; i < count; i++) {
        int again = openat(all[i].slice_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_closedir_ DIR *dir = again < 0 ? NULL : fdopendir(again);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
            if (strncmp(e->d_name, "sandbox-", 8) == 0 && !is_new(all[i].slice_fd, e->d_name) &&
                owner_is_gone(all[i].slice_fd, e->d_name) &&
                cgroup_remove_dirs(all, count, e->d_name, true, err) == 0)
                removed++;
        }
    }
    close_slices(all, 0, count);
    cgroup_layout_done(&l);
    return removed;
}

int cgroup_sweep(const char *id, struct error *err)
{
    struct cgroup_layout l;
    if (id != NULL && !cgroup_name_ok(id))
        return error_set(err, "cgroup.name", 0, "\"%s\" cannot name a control group", id);
    if (cgroup_layout_read(&l, err) < 0) {
        cgroup_layout_done(&l);
        return -1;
    }
    struct cgroup_dir all[CGROUP_DIRS_MAX];
    int count = open_all_slices(&l, all, CGROUP_DIRS_MAX), removed = 0, result = 0;
    for (int i = 0; i < count; i++)
        removed += cgroup_sweep_slice(&all[i], true);
    for (int i = 0; id != NULL && i < count; i++) {
        if (faccessat(all[i].slice_fd, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        result = cgroup_remove_dirs(all, count, id, true, err);
        removed += result == 0;
        break;
    }
    close_slices(all, 0, count);
    cgroup_layout_done(&l);
    return result < 0 ? -1 : removed;
}
