#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Judge without touching: what cgroup_create() would find. */

/* Text that does not fit is cut: it is for people. */
__attribute__((format(printf, 2, 3))) static void put(char buf[static 256], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, 256, fmt, ap);
    va_end(ap);
}

static void path_of(char *buf, size_t size, const struct cgroup_mount *m, const char *rel)
{
    snprintf(buf, size, "%s%s%s", m->point, *rel != '\0' ? "/" : "", rel);
}

static bool is_visible(const struct cgroup_mount *m, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == m->dev;
}

static bool is_read_only(const char *path)
{
    struct statvfs vfs;
    return statvfs(path, &vfs) == 0 && (vfs.f_flag & ST_RDONLY);
}

static void judge_v1(const struct cgroup_layout *l, int c, struct cgroup_ability *a)
{
    const char *rel, *name = cgroup_controllers[c].v1;
    size_t start = 0;
    a->version = 1;
    const struct cgroup_mount *m;
    for (; (m = cgroup_find_mount(l, (enum cgroup_controller)c, start, &rel)) != NULL;
         start = (size_t)(m - l->mounts) + 1) {
        char path[PATH_MAX], slice[PATH_MAX + sizeof CGROUP_SLICE];
        path_of(path, sizeof path, m, rel);
        put(a->where, "%s", path);
        if (!is_visible(m, path))
            continue;
        snprintf(slice, sizeof slice, "%s/" CGROUP_SLICE, path);
        if (is_read_only(path))
            put(a->fix, "mount -o remount,rw %s", m->point);
        else if (faccessat(AT_FDCWD, slice, W_OK, AT_EACCESS) < 0 &&
                 (errno != ENOENT || faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0))
            put(a->fix, "run as root (cgroup v1 cannot be handed to a user safely), or boot with "
                        "systemd.unified_cgroup_hierarchy=1");
        else
            a->usable = true;
        return;
    }
    put(a->fix,
        "mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s (the hierarchy is not mounted here)", name,
        name);
}

/* A user whose systemd runs gets a scope below it, with what that was given. */
static bool ask_manager(const struct cgroup_mount *m, int c, struct cgroup_ability *a)
{
    char path[PATH_MAX], text[256];
    const char *run = secure_getenv("XDG_RUNTIME_DIR");
    unsigned uid = (unsigned)geteuid();
    if (run == NULL || !cgroup_systemd_running())
        return false;
    int n = snprintf(path, sizeof path, "%s/systemd/private", run);
    if (n < 0 || (size_t)n >= sizeof path || faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
        return false;
    n = snprintf(path, sizeof path, "%s/user.slice/user-%u.slice/user@%u.service", m->point, uid,
                 uid);
    if (n < 0 || (size_t)n >= sizeof path)
        return false;
    put(a->where, "%s", path);
    _cleanup_close_ int fd = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (fd < 0 || io_read_file_at(fd, "cgroup.controllers", text, sizeof text) < 0)
        return false;
    a->usable = (cgroup_parse_controllers(text) & CTL_BIT(c)) != 0;
    a->version = 2;
    if (!a->usable)
        put(a->fix, "systemctl edit user@.service: [Service] Delegate=cpu cpuset io memory pids");
    return true;
}

/* The nearest group from the caller's own upwards whose controllers can be handed down by this
 * user; root on a pure v2 host starts from the top. */
static void judge_v2(const struct cgroup_layout *l, int c, struct cgroup_ability *a)
{
    const char *rel, *name = cgroup_controllers[c].v2;
    const struct cgroup_mount *m = cgroup_find_mount(l, CTL_COUNT, 0, &rel);
    char path[PATH_MAX], text[256];
    bool root = geteuid() == 0, seen = false;
    if (m == NULL) {
        put(a->fix, "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
        return;
    }
    path_of(path, sizeof path, m, root ? "" : rel);
    size_t base = strlen(m->point);
    put(a->where, "%s", path);
    for (;;) {
        _cleanup_close_ int fd = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
        bool has = fd >= 0 && io_read_file_at(fd, "cgroup.controllers", text, sizeof text) >= 0 &&
                   (cgroup_parse_controllers(text) & CTL_BIT(c)) != 0;
        seen = seen || has;
        bool mine = fd >= 0 && !is_read_only(path) &&
                    faccessat(fd, "cgroup.subtree_control", W_OK, AT_EACCESS) == 0;
        if (has && mine) {
            a->version = 2;
            a->usable = true;
            put(a->where, "%s", path);
            return;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL || (size_t)(slash - path) < base)
            break;
        *slash = '\0';
    }
    if (!root && ask_manager(m, c, a))
        return;
    if (seen)
        a->version = 2;
    if (is_read_only(m->point))
        put(a->fix, "mount -o remount,rw %s", m->point);
    else if (!seen)
        put(a->fix,
            root ? "a kernel with this controller; cgroup_enable=%s on its command line"
                 : "systemctl edit user@.service: [Service] Delegate=yes (now: no \"%s\")",
            name);
    else if (cgroup_systemd_running())
        put(a->fix,
            "loginctl enable-linger, or log in through PAM: systemd --user would give a "
            "group with %s",
            name);
    else
        put(a->fix,
            "as root: make a group with %s, chown it, its cgroup.procs and "
            "cgroup.subtree_control to user %u, and start there",
            name, (unsigned)geteuid());
}

int cgroup_abilities(struct cgroup_ability *ret, int max)
{
    static const enum cgroup_controller shown[] = {CTL_MEMORY, CTL_PIDS, CTL_CPU,
                                                   CTL_CPUSET, CTL_IO,   CTL_HUGETLB};
    struct cgroup_layout l _cleanup_layout_;
    struct error err;
    bool readable = cgroup_layout_read(&l, &err) == 0;
    int count = 0;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0] && count < max; i++) {
        struct cgroup_ability *a = &ret[count++];
        memset(a, 0, sizeof *a);
        a->controller = cgroup_controllers[shown[i]].v2;
        if (!readable)
            put(a->fix, "%s", err.hint);
        else if (l.own_v1[shown[i]] != NULL)
            judge_v1(&l, (int)shown[i], a);
        else
            judge_v2(&l, (int)shown[i], a);
    }
    return count;
}
