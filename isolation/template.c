/* What a root holds before anything is mounted in it: directories, small files, links, mount
 * points. Init makes them in a tmpfs of the sandbox's own; or, where nobody inside could tell the
 * difference, they are made once, as a template, and every sandbox whose plan says the same gets a
 * read-only clone of it. A start then is spared two file systems, six devices' mounts and some
 * hundred system calls, a tenth of its time.
 *
 *   <run>/templates/NAME/plan    what the plan says; NAME is a hash of it, this text decides
 *                        /root   the root, devices included; its owner is nobody inside
 *                        /0 to /f   locks: a file that all lock is a list that all go through
 *                   new, new.lock   of who makes one; the lock's time is that of the last sweep
 *                   asked           hashes: what is asked for once is not worth the making
 *
 * One of NAME's locks is shared by the sandboxes that show it and ends with their parents. Only
 * what nobody shows is removed: what is mounted on would come off. Where no template can be had (no
 * CAP_MKNOD, a full disk, somebody else making it just now) init builds as ever. */
#include "base/beside.h"
#include "base/io.h"
#include "base/state.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define IN_ROOT       (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define MAX_TEMPLATES 64
#define MIN_SWEEP_S   600
#define ASKED         256
#define FILLING_STACK (128 * 1024)
#define NAME_SIZE     17

static const char digits[] = "0123456789abcdef";
enum { LOCKS = sizeof digits - 1 };

/* --- by init, in a root of its own; and by who makes a template: system calls and stack only ---
 */

int template_point(int root, const char *path, bool directory)
{
    int fd = sys_openat2(root, path, O_PATH, 0, IN_ROOT);
    if (fd >= 0 || errno != ENOENT)
        return fd;

    char part[PATH_MAX];
    size_t len = strlen(path), i = 0;
    if (len >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    _cleanup_close_ int parent = sys_openat2(root, "/", O_PATH | O_DIRECTORY, 0, IN_ROOT);
    if (parent < 0)
        return -1;
    while (i < len) {
        while (path[i] == '/')
            i++;
        size_t start = i;
        while (path[i] != '\0' && path[i] != '/')
            i++;
        if (i == start)
            break;
        memcpy(part, path + start, i - start);
        part[i - start] = '\0';
        bool last = path[i + strspn(path + i, "/")] == '\0';

        char prefix[PATH_MAX];
        memcpy(prefix, path, i);
        prefix[i] = '\0';
        int next = sys_openat2(root, prefix, O_PATH, 0, IN_ROOT);
        if (next < 0 && errno == ENOENT) {
            if (!last || directory) {
                if (mkdirat(parent, part, 0755) < 0 && errno != EEXIST)
                    return -1;
            } else {
                int file = openat(parent, part,
                                  O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
                if (file < 0)
                    return -1;
                close(file);
            }
            next = sys_openat2(parent, part, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        }
        if (next < 0)
            return -1;
        close(parent);
        parent = next;
    }
    return TAKE_FD(parent);
}

int template_plain(int root, const struct plan_mount *m)
{
    /* only in a root that we made ourselves a moment ago: nobody else has been there */
    const char *name = m->target + 1;
    if (m->op == OP_DIRECTORY)
        return mkdirat(root, name, m->mode) < 0 && errno != EEXIST ? -1 : 0;
    if (m->op == OP_SYMLINK)
        return symlinkat(m->data, root, name);
    _cleanup_close_ int fd =
        openat(root, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, m->mode);
    return fd >= 0 && write(fd, m->data, m->size) == (ssize_t)m->size ? 0 : -1;
}

static bool is_plain(const struct plan_mount *m)
{
    return m->op == OP_DIRECTORY || m->op == OP_FILE || m->op == OP_SYMLINK;
}

static int fill(const struct plan *p, int root)
{
    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        if (is_plain(m)) {
            if (template_plain(root, m) < 0)
                return -1;
            continue;
        }
        _cleanup_close_ int point = template_point(root, m->target, m->directory);
        if (point < 0)
            return -1;
        if (m->op != OP_DEVICES)
            continue;
        _cleanup_close_ int dev = openat(root, m->target + 1, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dev < 0 || device_make(dev) < 0)
            return -1;
    }
    return 0;
}

/* --- by the parent -----------------------------------------------------------------------------
 */

struct text {
    char bytes[8192];
    size_t used;
    bool full;
};

static void put(struct text *t, const void *data, size_t size)
{
    t->full = t->full || size > sizeof t->bytes - t->used;
    if (t->full)
        return;
    memcpy(t->bytes + t->used, data, size);
    t->used += size;
}

/** All that the template of this plan will hold; each part says how long it is. */
static bool describe(const struct plan *p, struct text *t)
{
    put(t, "cloche template 2\n", 18);
    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        bool plain = is_plain(m);
        const char *data = m->op == OP_FILE || m->op == OP_SYMLINK ? m->data : "";
        const uint32_t head[4] = {plain || m->op == OP_DEVICES ? m->op : UINT32_MAX,
                                  plain ? m->mode : m->directory, (uint32_t)strlen(m->target),
                                  (uint32_t)(m->op == OP_FILE ? m->size : strlen(data))};
        put(t, head, sizeof head);
        put(t, m->target, head[2]);
        put(t, data, head[3]);
        if (m->target[1] == '\0') /* the whole root lies below it */
            return false;
    }
    return !t->full;
}

/** FNV-1a, 64 bits. */
static uint64_t hash_of(const struct text *t)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < t->used; i++)
        hash = (hash ^ (unsigned char)t->bytes[i]) * 0x100000001b3U;
    return hash;
}

static void name_of(uint64_t hash, char ret[NAME_SIZE])
{
    for (int i = 0; i < NAME_SIZE - 1; i++)
        ret[i] = digits[hash >> (60 - 4 * i) & 15];
    ret[NAME_SIZE - 1] = '\0';
}

static bool any_is(const struct spec_id_map *map, size_t count, uint32_t host_id)
{
    for (size_t i = 0; i < count; i++) {
        if (host_id >= map[i].host_id && host_id - map[i].host_id < map[i].size)
            return true;
    }
    return false;
}

/** Whether every mount point is made in the root itself. Below a tree that is mounted, or through a
 * link, it may be anywhere: there init makes it, which takes a root that can be written. */
static bool points_are_known(const struct plan *p)
{
    for (size_t i = 0; i < p->mount_count; i++) {
        const char *target = p->mounts[i].target;
        for (size_t j = 0; j < i && !is_plain(&p->mounts[i]); j++) {
            const struct plan_mount *m = &p->mounts[j];
            if (m->op == OP_SYMLINK && strcmp(target, m->target) == 0)
                return false;
            bool leads = m->op == OP_SYMLINK || m->op == OP_TREE || m->op == OP_OVERLAY ||
                         (m->op == OP_FS && m->spec->copy_up);
            if (leads && path_is_below(target, m->target))
                return false;
        }
    }
    return true;
}

/** Whoever could write to a root of its own gets one; and a template's owner is nobody inside. */
static bool may_share(const struct plan *p)
{
    const struct spec *s = p->spec;
    return p->privileged && s->rootfs != ROOTFS_DIR && s->rootfs_readonly && s->uid != 0 &&
           s->device_count == 0 && caps_none(&s->capabilities) &&
           !any_is(p->idmap.uid, p->idmap.uid_count, geteuid()) &&
           !any_is(p->idmap.gid, p->idmap.gid_count, getegid());
}

static int open_own_dir(int at, const char *name)
{
    _cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0022) == 0
               ? TAKE_FD(fd)
               : -1;
}

static int lock_one(int dir, unsigned which, int flags, int operation)
{
    const char name[2] = {digits[which % LOCKS], '\0'};
    _cleanup_close_ int fd = openat(dir, name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd >= 0 && flock(fd, operation | LOCK_NB) == 0 ? TAKE_FD(fd) : -1;
}

/** The directory of the template, which @ret_lock keeps from being removed; -1. */
static int find(int all, const char *name, const struct text *t, int *ret_lock)
{
    _cleanup_close_ int dir = open_own_dir(all, name);
    _cleanup_close_ int lock = dir < 0 ? -1 : lock_one(dir, (unsigned)getpid(), 0, LOCK_SH);
    struct stat st;
    if (lock < 0 || fstat(lock, &st) < 0 || st.st_nlink == 0)
        return -1;
    char plan[sizeof t->bytes + 1];
    _cleanup_close_ int fd = openat(dir, "plan", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || io_read_full(fd, plan, sizeof plan) != (ssize_t)t->used ||
        memcmp(plan, t->bytes, t->used) != 0)
        return -1;
    *ret_lock = TAKE_FD(lock);
    return TAKE_FD(dir);
}

static bool remove_unused(int all, const char *name)
{
    _cleanup_close_ int dir = openat(all, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int locks[LOCKS];
    unsigned held = 0;
    while (dir >= 0 && held < LOCKS && (locks[held] = lock_one(dir, held, O_CREAT, LOCK_EX)) >= 0)
        held++;
    /* the plan first: who is killed here leaves half a root */
    bool removed = held == LOCKS && (unlinkat(dir, "plan", 0) == 0 || errno == ENOENT) &&
                   io_remove_tree_at(all, name) == 0;
    while (held > 0)
        close(locks[--held]);
    return removed;
}

/** Whether that plan was asked for before. @forget: where none could be made, not every start
 * tries.
 */
static bool asked_before(int all, uint64_t hash, bool forget)
{
    _cleanup_close_ int fd = openat(all, "asked", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    uint64_t last = 0;
    const off_t at = (off_t)(hash % ASKED * sizeof hash);
    if (fd < 0 || pread(fd, &last, sizeof last, at) < 0)
        return false;
    if (last == hash && !forget)
        return true;
    const uint64_t next = forget ? 0 : hash;
    return pwrite(fd, &next, sizeof next, at) == (ssize_t)sizeof next && forget;
}

/** How many there are; with @sweep, how many somebody is shown: the others go. */
static int count(int all, bool sweep)
{
    int fd = openat(all, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL)
        return MAX_TEMPLATES;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strlen(e->d_name) == NAME_SIZE - 1 && !(sweep && remove_unused(all, e->d_name));
    return n;
}

struct filling {
    const struct plan *plan;
    int root, rc;
};

static void *fill_without_umask(void *context)
{
    struct filling *f = context;
    if (unshare(CLONE_FS) < 0) /* the caller's would be none for that moment */
        return NULL;
    umask(0);
    f->rc = fill(f->plan, f->root);
    return NULL;
}

static int fill_aside(const struct plan *p, int root)
{
    struct filling f = {.plan = p, .root = root, .rc = -1};
    pthread_t thread;
    return beside_thread(&thread, FILLING_STACK, fill_without_umask, &f) == 0 &&
                   pthread_join(thread, NULL) == 0
               ? f.rc
               : -1;
}

static int write_new(const struct plan *p, int all, const struct text *t)
{
    if (mkdirat(all, "new", 0700) < 0)
        return -1;
    _cleanup_close_ int dir = open_own_dir(all, "new");
    if (dir < 0 || mkdirat(dir, "root", 0700) < 0)
        return -1;
    _cleanup_close_ int root = open_own_dir(dir, "root");
    _cleanup_close_ int plan =
        openat(dir, "plan", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (root < 0 || plan < 0 || fill_aside(p, root) < 0 || fchmod(root, 0755) < 0)
        return -1;
    for (unsigned i = 0; i < LOCKS; i++) {
        _cleanup_close_ int lock = lock_one(dir, i, O_CREAT, LOCK_SH);
        if (lock < 0)
            return -1;
    }
    return io_write_all(plan, t->bytes, t->used);
}

/** In a user namespace CAP_MKNOD is had and of no use. */
static bool makes_devices(int all)
{
    return (mknodat(all, "new.null", S_IFCHR | 0600, makedev(1, 3)) == 0 || errno == EEXIST) &&
           unlinkat(all, "new.null", 0) == 0;
}

/** Whether there is room for one more. More plans in use than there may be templates do not make
 * each other's go with every start. */
static bool make_room(int all, int lock)
{
    if (count(all, false) < MAX_TEMPLATES)
        return true;
    struct stat st;
    const time_t now = time(NULL);
    if (fstat(lock, &st) < 0 || (st.st_mtime <= now && now - st.st_mtime < MIN_SWEEP_S) ||
        futimens(lock, NULL) < 0)
        return false;
    return count(all, true) < MAX_TEMPLATES;
}

static int clone_root(int dir)
{
    _cleanup_close_ int tree = sys_open_tree(dir, "root", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    /* as it comes from the run directory's mount, which may allow no devices and no links */
    const struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID,
                                    .attr_clr = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSYMFOLLOW,
                                    .propagation = MS_PRIVATE};
    return tree >= 0 && sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) == 0 ? TAKE_FD(tree) : -1;
}

/** A file system may take a device and never open it. */
static bool is_usable(int all)
{
    _cleanup_close_ int dir = open_own_dir(all, "new");
    _cleanup_close_ int root = dir < 0 ? -1 : clone_root(dir);
    _cleanup_close_ int null = root < 0 ? -1 : openat(root, "dev/null", O_RDWR | O_CLOEXEC);
    return null >= 0;
}

/** The lock of who makes one; -1, with EWOULDBLOCK: somebody else does. */
static int lock_new(int all)
{
    _cleanup_close_ int lock =
        openat(all, "new.lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 ? TAKE_FD(lock) : -1;
}

/** What a killed maker left, of whatever plan: whoever comes next removes it. */
static void clear_new(int all)
{
    _cleanup_close_ int lock = faccessat(all, "new", F_OK, 0) < 0 ? -1 : lock_new(all);
    if (lock >= 0)
        io_remove_tree_at(all, "new");
}

/** false: none can be made, and nobody else is just making one. */
static bool make(const struct plan *p, int all, const char *name, const struct text *t)
{
    _cleanup_close_ int lock = lock_new(all);
    if (lock < 0)
        return errno == EWOULDBLOCK;
    if (!makes_devices(all) || !make_room(all, lock) || io_remove_tree_at(all, "new") < 0)
        return false;
    remove_unused(all, name); /* it was not found: it is not what it should be */
    if (write_new(p, all, t) == 0 && is_usable(all) && renameat(all, "new", all, name) == 0)
        return true;
    io_remove_tree_at(all, "new");
    return false;
}

bool template_use(struct plan *p)
{
    struct text text;
    char name[NAME_SIZE];
    struct error unused = ERROR_INIT;
    text.used = 0;
    text.full = false;
    if (!may_share(p) || !points_are_known(p) || !describe(p, &text))
        return false;
    const uint64_t hash = hash_of(&text);
    name_of(hash, name);
    _cleanup_close_ int all = state_open_run_dir("templates", &unused);
    if (all < 0)
        return false;
    int lock = -1, dir = find(all, name, &text, &lock);
    clear_new(all);
    if (dir < 0 && asked_before(all, hash, false)) {
        if (!make(p, all, name, &text))
            asked_before(all, hash, true);
        dir = find(all, name, &text, &lock);
    }
    _cleanup_close_ int found = dir, shown = lock;
    int root = found < 0 ? -1 : clone_root(found);
    if (root < 0)
        return false;
    p->root_fd = root;
    p->template_fd = TAKE_FD(shown);
    size_t kept = 0;
    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        if (!is_plain(m) && m->op != OP_DEVICES && strcmp(m->target, "/dev") != 0)
            p->mounts[kept++] = *m;
    }
    p->mount_count = kept;
    return true;
}
