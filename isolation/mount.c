/* init's part of the root file system: build the tree as the plan says, then pivot into it.
 *
 * The stack on "/" while building, bottom to top: the inherited root, the staging tmpfs (only when
 * there are overlays or masked paths), the new root. The new root is reached by its fd
 * alone; every mount point is resolved with RESOLVE_IN_ROOT, so that a hostile rootfs or volume
 * cannot lead a mount out of it. After pivot_root the rest is detached as one. In a bare namespace
 * (bare.c) the new root is the inherited one. Async-signal-safe: no malloc, no stdio. */
#include "base/cleanup.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

struct builder {
    const struct plan *plan;
    struct message *failed;
    int root, staging;
    int last_fs; /* the file system mounted last, for OP_DEVICES */
    unsigned overlays;
};

static int set_attributes(int tree, uint64_t set, uint64_t clear, uint64_t propagation,
                          bool recursive)
{
    if ((set & MOUNT_ATTR__ATIME) != 0)
        clear |= MOUNT_ATTR__ATIME;
    struct mount_attr attr = {.attr_set = set,
                              .attr_clr = clear & ~(set & ~(uint64_t)MOUNT_ATTR__ATIME),
                              .propagation = propagation};
    if (attr.attr_set == 0 && attr.attr_clr == 0 && propagation == 0)
        return 0;
    return sys_mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U), &attr);
}

static int attach(int tree, int point)
{
    return sys_move_mount(tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/** A tree may be a peer of the host's mount that it was cloned from: cut this before anything is
 * mounted on it. What the host mounts below later is seen by who asked for that. */
static uint64_t cut(uint64_t propagation)
{
    return (propagation & (MS_SLAVE | MS_SHARED)) != 0 ? MS_SLAVE : MS_PRIVATE;
}

static int prepare_tree(const struct builder *b, int tree, const struct spec_mount *s)
{
    uint64_t clear = s->attr_clear, clear_recursive = s->attr_clear_recursive;
    if (!b->plan->privileged) { /* locked flags of the source stay */
        clear = 0;
        clear_recursive = 0;
    }
    if (set_attributes(tree, s->attr_set_recursive, clear_recursive, cut(s->propagation), true) <
            0 ||
        set_attributes(tree, s->attr_set, clear, 0, false) < 0)
        return -1;
    uint64_t propagation = s->propagation & ~(uint64_t)MS_REC;
    if (propagation != MS_SHARED && propagation != MS_UNBINDABLE)
        return 0;
    return set_attributes(tree, 0, 0, propagation, (s->propagation & MS_REC) != 0);
}

/** An ordinary user's clone of a host mount: by path, in this namespace, proved to be what the
 * parent opened. */
static int clone_own(const char *source, int identity, bool recursive, struct message *failed)
{
    _cleanup_close_ int tree =
        sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0U));
    if (tree < 0 && errno == EINVAL && !recursive) /* it covers locked submounts: take them along */
        tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | AT_RECURSIVE);
    struct stat now, then;
    if (tree < 0 || fstat(tree, &now) < 0 || fstat(identity, &then) < 0)
        return step_failed(failed, STEP_SOURCE, source);
    if (now.st_dev != then.st_dev || now.st_ino != then.st_ino) {
        errno = ESTALE;
        return step_failed(failed, STEP_SOURCE_CHANGED, source);
    }
    return TAKE_FD(tree);
}

static int tree_of(const struct builder *b, const struct plan_mount *m)
{
    if (m->detached)
        return m->fd;
    return clone_own(m->source, m->fd, m->spec->recursive, b->failed);
}

static int attach_at(const struct builder *b, int tree, const char *target, bool directory)
{
    _cleanup_close_ int point = template_point(b->root, target, directory);
    if (point < 0)
        return step_failed(b->failed, STEP_MOUNT_POINT, target);
    if (attach(tree, point) < 0)
        return step_failed(b->failed, STEP_MOUNT_ATTACH, target);
    return 0;
}

static int do_tree(const struct builder *b, const struct plan_mount *m)
{
    int tree = tree_of(b, m);
    if (tree < 0)
        return -1;
    _cleanup_close_ int own = m->detached ? -1 : tree;
    if (prepare_tree(b, tree, m->spec) < 0)
        return step_failed(b->failed, STEP_MOUNT_ATTRIBUTES, m->target);
    return attach_at(b, tree, m->target, m->directory);
}

/** fsopen, options, fsmount; the mount as a detached tree. */
static int make_fs(const char *type, const char *source, const struct strings *data,
                   uint64_t attributes)
{
    _cleanup_close_ int fs = sys_fsopen(type);
    if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
        return -1;
    for (size_t i = 0; data != NULL && i < data->count; i++) {
        const char *option = data->items[i], *equals = strchr(option, '=');
        int rc;
        if (equals == NULL) {
            rc = sys_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
        } else {
            char key[64];
            size_t n = (size_t)(equals - option);
            if (n >= sizeof key) {
                errno = EINVAL;
                return -1;
            }
            memcpy(key, option, n);
            key[n] = '\0';
            rc = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0);
        }
        if (rc < 0)
            return -1;
    }
    if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return sys_fsmount(fs, (unsigned)attributes);
}

static void number(char *out, unsigned value)
{
    char digits[12];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    out[n] = '\0';
}

/** Put an overlay over @lower; the upper directory takes the lower one's owner and mode. */
static int make_overlay(struct builder *b, int lower, uint64_t attributes)
{
    char name[12];
    number(name, b->overlays++);
    struct stat st;
    if (fstat(lower, &st) < 0 || mkdirat(b->staging, name, 0755) < 0)
        return -1;
    _cleanup_close_ int dir =
        openat(b->staging, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0 || mkdirat(dir, "lower", 0755) < 0 || mkdirat(dir, "upper", 0755) < 0 ||
        mkdirat(dir, "work", 0755) < 0)
        return -1;
    /* an owner that is not mapped cannot be given; the directory is then init's own */
    if (fchownat(dir, "upper", st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL &&
        errno != EPERM)
        return -1;
    if (fchmodat(dir, "upper", st.st_mode & 07777, 0) < 0)
        return -1;
    if (sys_move_mount(lower, "", dir, "lower", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -1;
    /* overlayfs takes paths: relative ones, from a directory that only init can name */
    if (fchdir(dir) < 0)
        return -1;
    char *options[] = {(char *)(uintptr_t) "lowerdir=lower", (char *)(uintptr_t) "upperdir=upper",
                       (char *)(uintptr_t) "workdir=work", (char *)(uintptr_t) "userxattr"};
    const struct strings data = {.items = options, .count = 4};
    return make_fs("overlay", "overlay", &data, attributes);
}

static int do_overlay(struct builder *b, const struct plan_mount *m)
{
    int lower = tree_of(b, m);
    if (lower < 0)
        return -1;
    _cleanup_close_ int own = m->detached ? -1 : lower;
    if (set_attributes(lower, 0, 0, MS_PRIVATE, true) < 0)
        return step_failed(b->failed, STEP_MOUNT_ATTRIBUTES, m->target);
    _cleanup_close_ int overlay = make_overlay(b, lower, m->spec->attr_set);
    if (overlay < 0)
        return step_failed(b->failed, STEP_MOUNT_MAKE, m->target);
    return attach_at(b, overlay, m->target, true);
}

void mount_prepare(struct plan *p, const char *type)
{
    bool proc = strcmp(type, "proc") == 0;
    for (size_t i = 0; i < p->mount_count; i++) {
        struct plan_mount *m = &p->mounts[i];
        const struct spec_mount *s = m->spec;
        if (m->op == OP_FS && m->fd < 0 && strcmp(s->type, type) == 0)
            m->fd = make_fs(type, type, &s->data, s->attr_set | s->attr_set_recursive);
    }
    if (proc && p->spec->sysctl_count > 0)
        p->proc_fd =
            make_fs(type, type, NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

static int do_fs(struct builder *b, const struct plan_mount *m)
{
    const struct spec_mount *s = m->spec;
    /* a cgroup mount shows the sandbox its own group only, and never for writing */
    bool cgroup = strcmp(s->type, "cgroup") == 0 || strcmp(s->type, "cgroup2") == 0;
    uint64_t attributes = s->attr_set | s->attr_set_recursive | (cgroup ? MOUNT_ATTR_RDONLY : 0U);
    _cleanup_close_ int fs = -1;
    if (s->copy_up && b->staging >= 0) {
        _cleanup_close_ int point = template_point(b->root, m->target, true);
        _cleanup_close_ int lower =
            point < 0 ? -1 : sys_open_tree(point, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
        if (lower < 0)
            return step_failed(b->failed, STEP_COPY_UP, m->target);
        fs = make_overlay(b, lower, attributes);
    } else if (m->fd >= 0) {
        fs = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
    } else {
        fs = make_fs(cgroup ? "cgroup2" : s->type, s->source != NULL ? s->source : s->type,
                     cgroup ? NULL : &s->data, attributes);
    }
    if (fs < 0)
        return step_failed(b->failed, STEP_MOUNT_MAKE, m->target);
    if (strcmp(s->type, "proc") == 0) {
        struct statfs sfs;
        if (fstatfs(fs, &sfs) < 0 || sfs.f_type != PROC_SUPER_MAGIC)
            return step_failed(b->failed, STEP_NOT_PROCFS, m->target);
    }
    if (attach_at(b, fs, m->target, true) < 0)
        return -1;
    if (b->last_fs >= 0)
        close(b->last_fs);
    b->last_fs = TAKE_FD(fs);
    return 0;
}

/** Cover @path, when it is there: a directory by an empty one, a file by an empty one. */
static int mask(const struct builder *b, const char *path)
{
    _cleanup_close_ int point = sys_openat2(b->root, path, O_PATH, 0, IN_ROOT);
    if (point < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : step_failed(b->failed, STEP_MASK, path);
    struct stat st;
    if (fstat(point, &st) < 0)
        return step_failed(b->failed, STEP_MASK, path);
    _cleanup_close_ int cover = -1;
    if (S_ISDIR(st.st_mode)) {
        char *options[] = {(char *)(uintptr_t) "size=4k", (char *)(uintptr_t) "nr_inodes=1"};
        const struct strings data = {.items = options, .count = 2};
        cover =
            make_fs("tmpfs", "masked", &data,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    } else {
        /* an empty read-only file of our own: nothing of the rootfs is trusted to be /dev/null. Of
         * the staging, which is attached: before Linux 6.15 a detached tree cannot be cloned. */
        int file = openat(b->staging, "masked", O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
        if (file >= 0) {
            close(file);
            cover = sys_open_tree(b->staging, "masked", OPEN_TREE_CLONE);
        }
        if (cover >= 0 && set_attributes(cover,
                                         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                             MOUNT_ATTR_NOEXEC,
                                         0, 0, false) < 0)
            return step_failed(b->failed, STEP_MASK, path);
    }
    if (cover < 0 || attach(cover, point) < 0)
        return step_failed(b->failed, STEP_MASK, path);
    return 0;
}

static int make_readonly(const struct builder *b, const char *path)
{
    _cleanup_close_ int point = sys_openat2(b->root, path, O_PATH, 0, IN_ROOT);
    if (point < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : step_failed(b->failed, STEP_READONLY, path);
    _cleanup_close_ int tree =
        sys_open_tree(point, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
    if (tree < 0 || set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 0, true) < 0 ||
        attach(tree, point) < 0)
        return step_failed(b->failed, STEP_READONLY, path);
    return 0;
}

/** Through a procfs of our own that no path leads to, before the visible one is made read-only. */
static int set_sysctls(const struct builder *b)
{
    const struct spec *spec = b->plan->spec;
    if (spec->sysctl_count == 0)
        return 0;
    _cleanup_close_ int proc =
        b->plan->proc_fd >= 0 ? fcntl(b->plan->proc_fd, F_DUPFD_CLOEXEC, 0)
                              : make_fs("proc", "proc", NULL,
                                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (proc < 0)
        return step_failed(b->failed, STEP_SYSCTL, "(procfs)");
    for (size_t i = 0; i < spec->sysctl_count; i++) {
        const char *key = spec->sysctl[i].key, *value = spec->sysctl[i].value;
        char path[256] = "sys/";
        size_t n = strlen(key);
        if (n > sizeof path - 5 || strstr(key, "..") != NULL) {
            errno = EINVAL;
            return step_failed(b->failed, STEP_SYSCTL, key);
        }
        /* the first separator says which of the two it is (sysctl(8)) */
        bool path_form = key[strcspn(key, "./")] == '/';
        for (size_t j = 0; j <= n; j++)
            path[4 + j] = path_form ? key[j] : key[j] == '.' ? '/' : key[j] == '/' ? '.' : key[j];
        _cleanup_close_ int fd =
            sys_openat2(proc, path, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (fd < 0 || write(fd, value, strlen(value)) < 0)
            return step_failed(b->failed, STEP_SYSCTL, key);
    }
    return 0;
}

static int make_root(struct builder *b)
{
    const struct plan *p = b->plan;
    if (p->template_fd >= 0) {
        b->root = p->root_fd;
        return 0;
    }
    if (p->spec->rootfs == ROOTFS_DIR) {
        b->root = p->privileged ? p->root_fd
                                : clone_own(p->spec->rootfs_path, p->root_fd, true, b->failed);
        if (b->root < 0)
            return -1;
        /* set-uid bits and device nodes of an image mean nothing here */
        if (set_attributes(b->root, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0,
                           cut(p->spec->rootfs_propagation), true) < 0)
            return step_failed(b->failed, STEP_MOUNT_ATTRIBUTES, "/");
        return 0;
    }
    char *options[] = {(char *)(uintptr_t) "mode=755", (char *)(uintptr_t) "size=1m",
                       (char *)(uintptr_t) "nr_inodes=1k"};
    const struct strings data = {.items = options, .count = 3};
    b->root = make_fs("tmpfs", "root", &data, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return b->root < 0 ? step_failed(b->failed, STEP_ROOT, NULL) : 0;
}

/** The staging tmpfs, when something needs it: one for all overlays, so that the limit counts once,
 * and for the file that masks others.
 */
static int make_staging(struct builder *b)
{
    const struct plan *p = b->plan;
    bool needed = p->spec->masked_paths.count > 0;
    for (size_t i = 0; i < p->mount_count; i++)
        needed = needed || p->mounts[i].op == OP_OVERLAY ||
                 (p->mounts[i].op == OP_FS && p->mounts[i].spec->copy_up);
    if (!needed)
        return 0;
    char size[32] = "size=", inodes[32] = "nr_inodes=";
    char *options[3] = {(char *)(uintptr_t) "mode=755"};
    struct strings data = {.items = options, .count = 1};
    if (p->spec->tmp_bytes != LIMIT_NONE) {
        number(size + 5, (unsigned)(p->spec->tmp_bytes >> 10 > UINT32_MAX
                                        ? UINT32_MAX
                                        : (p->spec->tmp_bytes + 1023) >> 10));
        size[strlen(size) + 1] = '\0';
        size[strlen(size)] = 'k';
        options[data.count++] = size;
    }
    if (p->spec->tmp_files != LIMIT_NONE) {
        number(inodes + 10,
               (unsigned)(p->spec->tmp_files > UINT32_MAX ? UINT32_MAX : p->spec->tmp_files));
        options[data.count++] = inodes;
    }
    b->staging = make_fs("tmpfs", "overlay", &data, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (b->staging < 0 ||
        sys_move_mount(b->staging, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return step_failed(b->failed, STEP_ROOT, NULL);
    return 0;
}

/** After pivot_root the old root lies on the new one, and the staging on the old root; in a bare
 * namespace the staging and the host's procfs. An unmount of "." takes the topmost, so each goes by
 * an unmount of its own: what stays would be reachable as "/..". That nothing stays is looked at,
 * not believed. */
int mount_enter(const struct mount_built *m, struct message *failed)
{
    struct stat root, above;
    if (m->root < 0)
        return 0;
    if (fchdir(m->root) < 0 || (m->pivot && sys_pivot_root(".", ".") < 0))
        return step_failed(failed, STEP_PIVOT, NULL);
    for (unsigned i = 0; i < m->covers; i++) {
        if (umount2(".", MNT_DETACH) < 0)
            return step_failed(failed, STEP_PIVOT, NULL);
    }
    if (chdir("/") < 0 || fstat(m->root, &root) < 0 || stat("/..", &above) < 0)
        return step_failed(failed, STEP_PIVOT, NULL);
    if (root.st_dev != above.st_dev || root.st_ino != above.st_ino) {
        errno = EXDEV;
        return step_failed(failed, STEP_PIVOT, NULL);
    }
    uint64_t propagation = m->propagation & ~(uint64_t)MS_REC;
    if ((propagation == MS_SHARED || propagation == MS_UNBINDABLE) &&
        set_attributes(m->root, 0, 0, propagation, (m->propagation & MS_REC) != 0) < 0)
        return step_failed(failed, STEP_MOUNT_ATTRIBUTES, "/");
    return 0;
}

/** The new root lies on the inherited one and on the staging. */
static int attach_root(struct builder *b)
{
    /* nothing goes out, and only what somebody asked for comes in */
    const struct spec *spec = b->plan->spec;
    uint64_t asked = spec->rootfs_propagation;
    for (size_t i = 0; i < spec->mount_count; i++)
        asked |= spec->mounts[i].propagation;
    const struct mount_attr parted = {.propagation = cut(asked)};
    if (sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &parted) < 0)
        return step_failed(b->failed, STEP_PROPAGATION, NULL);
    if (make_staging(b) < 0 || make_root(b) < 0)
        return -1;
    if (sys_move_mount(b->root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return step_failed(b->failed, STEP_ROOT_ATTACH, NULL);
    return 0;
}

/** It is the new root. A procfs may be mounted only where one is seen already: the caller's, until
 * mount_enter(). */
static int enter_bare(struct builder *b)
{
    close(b->plan->bare_ns); /* whoever lets go of it last waits for RCU: not init */
    b->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->root < 0 || make_staging(b) < 0 ||
        sys_move_mount(b->plan->bare_proc, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return step_failed(b->failed, STEP_ROOT_ATTACH, NULL);
    return 0;
}

int mount_build(const struct plan *p, struct mount_built *ret, struct message *failed)
{
    struct builder b = {.plan = p, .failed = failed, .root = -1, .staging = -1, .last_fs = -1};
    const struct spec *spec = p->spec;
    const bool bare = p->bare_ns >= 0;
    umask(0);
    *ret = (struct mount_built){.root = -1};
    if (p->ns_fds[NS_MOUNT] >= 0) /* others live in it: nothing is mounted */
        return set_sysctls(&b);
    if (bare ? enter_bare(&b) < 0 : attach_root(&b) < 0)
        return -1;

    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        int rc = -1;
        switch (m->op) {
        case OP_DIRECTORY:
        case OP_FILE:
        case OP_SYMLINK:
            if (template_plain(b.root, m) < 0)
                return step_failed(failed, STEP_MOUNT_POINT, m->target);
            rc = 0;
            break;
        case OP_TREE:
            rc = do_tree(&b, m);
            break;
        case OP_FS:
            rc = do_fs(&b, m);
            break;
        case OP_OVERLAY:
            rc = do_overlay(&b, m);
            break;
        case OP_DEVICES:
            rc = device_populate(p, b.last_fs, failed);
            break;
        }
        if (rc < 0)
            return -1;
    }
    if (set_sysctls(&b) < 0)
        return -1;
    for (size_t i = 0; i < spec->readonly_paths.count; i++) {
        if (make_readonly(&b, spec->readonly_paths.items[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < spec->masked_paths.count; i++) {
        if (mask(&b, spec->masked_paths.items[i]) < 0)
            return -1;
    }
    if (spec->rootfs_readonly && set_attributes(b.root, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
        return step_failed(failed, STEP_READONLY, "/");
    *ret = (struct mount_built){.root = b.root,
                                .pivot = !bare,
                                .covers = 1 + (b.staging >= 0), /* the caller's root or procfs */
                                .propagation = spec->rootfs_propagation};
    return 0;
}

/* --- the procfs of a child ---------------------------------------------------------------------
 *
 * A child of a serving sandbox has a PID namespace of its own; the procfs of the sandbox would show
 * it numbers that are not its own, and `ps` would not find itself. So it gets one of its own, in a
 * mount namespace of its own, with the same attributes and options; what covers parts of the
 * sandbox's (masked and read-only paths) is copied onto it mount by mount. */

/** What lies at @path below @old, copied to the same place of what is mounted at @target. */
static int copy_cover(int old, const char *target, const char *path)
{
    const char *below = path + strlen(target) + 1;
    _cleanup_close_ int cover = sys_openat2(old, below, O_PATH, 0, IN_ROOT);
    if (cover < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    _cleanup_close_ int point = sys_openat2(AT_FDCWD, path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    _cleanup_close_ int tree =
        sys_open_tree(cover, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE);
    return point < 0 || tree < 0 ? -1 : attach(tree, point);
}

static int copy_covers(int old, const char *target, const struct strings *paths,
                       struct message *failed)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (path_is_below(paths->items[i], target) && copy_cover(old, target, paths->items[i]) < 0)
            return step_failed(failed, STEP_MASK, paths->items[i]);
    }
    return 0;
}

static int replace_proc(const struct plan_mount *m, const struct spec *spec, struct message *failed)
{
    const struct spec_mount *s = m->spec;
    _cleanup_close_ int old = sys_openat2(AT_FDCWD, m->target, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    _cleanup_close_ int fs = make_fs("proc", "proc", &s->data, s->attr_set | s->attr_set_recursive);
    if (old < 0 || fs < 0 || attach(fs, old) < 0)
        return step_failed(failed, STEP_MOUNT_MAKE, m->target);
    /* in this order, as in mount_build(): what is masked may lie below what is read-only */
    if (copy_covers(old, m->target, &spec->readonly_paths, failed) < 0)
        return -1;
    return copy_covers(old, m->target, &spec->masked_paths, failed);
}

int mount_own_proc(const struct plan *p, struct message *failed)
{
    bool unshared = false;
    if (!p->spec->ns_new[NS_MOUNT] || !p->spec->ns_new[NS_PID])
        return 0;
    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        if (m->op != OP_FS || strcmp(m->spec->type, "proc") != 0)
            continue;
        if (!unshared && unshare(CLONE_NEWNS) < 0)
            return step_failed(failed, STEP_PROPAGATION, NULL);
        unshared = true;
        if (replace_proc(m, p->spec, failed) < 0)
            return -1;
    }
    return 0;
}
