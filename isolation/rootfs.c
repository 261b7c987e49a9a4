/* What the program will see as "/", resolved by the parent: every host object is opened once, here,
 * and from then on only the fd counts. Root clones each source into a detached tree at once; an
 * ordinary user, who may not, keeps an O_PATH fd by which init proves that it opened the same
 * object. */
#include "base/io.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define SYSTEM_ATTRIBUTES (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static struct plan_mount *add(struct plan *p, enum plan_op op, const char *target)
{
    p->mounts = arena_grow(p->arena, p->mounts, p->mount_count, sizeof *p->mounts);
    struct plan_mount *m = &p->mounts[p->mount_count++];
    m->op = op;
    m->target = target;
    m->fd = -1;
    return m;
}

static void add_directory(struct plan *p, const char *target, mode_t mode)
{
    add(p, OP_DIRECTORY, target)->mode = mode;
}

static void add_file(struct plan *p, const char *target, const char *text)
{
    struct plan_mount *m = add(p, OP_FILE, target);
    m->data = text;
    m->size = strlen(text);
    m->mode = 0444;
}

static struct spec_mount *new_fs(struct plan *p, const char *target, const char *type,
                                 uint64_t attributes)
{
    struct spec_mount *s = arena_alloc(p->arena, sizeof *s);
    s->kind = MOUNT_FS;
    s->destination = target;
    s->type = type;
    s->attr_set = attributes;
    struct plan_mount *m = add(p, OP_FS, target);
    m->spec = s;
    m->directory = true;
    return s;
}

static bool has_option(const struct spec_mount *s, const char *prefix)
{
    for (size_t i = 0; i < s->data.count; i++) {
        if (strncmp(s->data.items[i], prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

/** A file system as it can be had here. A tmpfs that names no bounds of its own gets those of the
 * spec: without them it takes half of the machine's memory and any number of files. A devpts keeps
 * a "gid=" only where that group is mapped: every spec of runc has gid=5, which an ordinary user's
 * sandbox does not know. */
static const struct spec_mount *fitted(struct plan *p, const struct spec_mount *s)
{
    bool tmpfs = strcmp(s->type, "tmpfs") == 0, devpts = strcmp(s->type, "devpts") == 0;
    if (!tmpfs && !devpts)
        return s;
    struct spec_mount *copy = arena_alloc(p->arena, sizeof *copy);
    *copy = *s;
    copy->data = (struct strings){0};
    for (size_t i = 0; i < s->data.count; i++) {
        const char *option = s->data.items[i];
        uint64_t gid;
        bool unmapped = devpts && strncmp(option, "gid=", 4) == 0 &&
                        io_parse_u64(option + 4, &gid) && gid <= UINT32_MAX &&
                        !idmap_has_gid(&p->idmap, (uint32_t)gid);
        if (!unmapped)
            strings_add(p->arena, &copy->data, option);
    }
    if (tmpfs && p->spec->tmp_bytes != LIMIT_NONE && !has_option(s, "size=") &&
        !has_option(s, "nr_blocks="))
        strings_add(p->arena, &copy->data,
                    arena_printf(p->arena, "size=%llu", (unsigned long long)p->spec->tmp_bytes));
    if (tmpfs && p->spec->tmp_files != LIMIT_NONE && !has_option(s, "nr_inodes="))
        strings_add(
            p->arena, &copy->data,
            arena_printf(p->arena, "nr_inodes=%llu", (unsigned long long)p->spec->tmp_files));
    return copy;
}

/** Open a source, as a tree where that is allowed. */
static int open_source(const struct plan *p, const char *path, bool recursive,
                       struct stat *ret_stat, bool *ret_detached, struct error *err)
{
    _cleanup_close_ int fd = sys_openat2(AT_FDCWD, path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    if (fd < 0) {
        int saved = errno;
        error_set(err, "mount.source", saved, "cannot open mount source \"%s\"", path);
        error_path(err, path);
        return error_hint(err, saved == ENOENT ? "make it first, or correct the path"
                                               : "check that this user can reach it");
    }
    if (fstat(fd, ret_stat) < 0)
        return error_set(err, "mount.source", errno, "cannot examine mount source \"%s\"", path);
    *ret_detached = false;
    if (!p->privileged)
        return TAKE_FD(fd);

    int tree =
        sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | (recursive ? AT_RECURSIVE : 0U));
    if (tree < 0)
        return error_set(err, "mount.source", errno, "cannot bind mount source \"%s\"", path);
    *ret_detached = true;
    return tree;
}

static int add_tree(struct plan *p, enum plan_op op, const struct spec_mount *s, struct error *err)
{
    bool detached;
    struct stat st;
    if (s->idmap && !p->privileged) {
        error_set(err, "mount.idmap", 0, "cannot map the owners of volume \"%s\": only root can",
                  s->source);
        error_path(err, s->source);
        return error_hint(err, "leave idmap, uidMappings and gidMappings of the mount out");
    }
    int fd = open_source(p, s->source, s->recursive, &st, &detached, err);
    if (fd < 0) {
        if (!s->optional || err->errnum != ENOENT)
            return error_path(err, s->source);
        *err = (struct error)ERROR_INIT;
        return 0;
    }
    struct plan_mount *m = add(p, op, s->destination);
    m->spec = s;
    m->source = s->source;
    m->fd = fd;
    m->detached = detached;
    m->directory = S_ISDIR(st.st_mode);
    m->owner_uid = st.st_uid;
    m->owner_gid = st.st_gid;
    /* volumes keep their owners; a read-only one that cannot be mapped still serves what all may
     * read, and for a file that all may read it need not be */
    bool readonly = (s->attr_set & MOUNT_ATTR_RDONLY) != 0;
    bool for_all = readonly && !s->idmap && S_ISREG(st.st_mode) &&
                   ((st.st_mode >> 6 | st.st_mode >> 3) & ~st.st_mode & 0005) == 0;
    m->idmap = detached && !s->system && !s->optional && !for_all;
    m->idmap_needed = m->idmap && (!readonly || s->idmap);
    return 0;
}

static int add_system(struct plan *p, const char *path, bool optional, struct error *err)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n > 0) { /* a merged /usr: /bin -> usr/bin */
        struct plan_mount *m = add(p, OP_SYMLINK, path);
        m->data = arena_strndup(p->arena, target, (size_t)n);
        return 0;
    }
    if (n < 0 && errno != EINVAL && errno != ENOENT) {
        error_set(err, "rootfs.open", errno, "cannot examine \"%s\"", path);
        return error_path(err, path);
    }
    struct spec_mount *s = arena_alloc(p->arena, sizeof *s);
    s->kind = MOUNT_BIND;
    s->destination = s->source = path;
    s->recursive = !p->privileged; /* an ordinary user may not show what a mount covers */
    s->optional = optional;
    s->system = true;
    s->attr_set = SYSTEM_ATTRIBUTES;
    return add_tree(p, OP_TREE, s, err);
}

static const char *mounted_by_spec(const struct spec *spec, const char *destination)
{
    for (size_t i = 0; i < spec->mount_count; i++) {
        if (strcmp(spec->mounts[i].destination, destination) == 0)
            return spec->mounts[i].destination;
    }
    return NULL;
}

/** The machine's programs and libraries, and an /etc that names nobody of this machine. */
static int plan_host_root(struct plan *p, struct error *err)
{
    static const char *const programs[] = {"/usr",   "/bin",   "/sbin",  "/lib",
                                           "/lib32", "/lib64", "/libx32"};
    static const char *const settings[] = {"/etc/alternatives", "/etc/ld.so.cache",
                                           "/etc/localtime", "/etc/java-17-openjdk"};
    static const char *const online[] = {"/etc/resolv.conf", "/etc/ssl/certs"};
    const struct spec *spec = p->spec;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (add_system(p, programs[i], i > 0, err) < 0)
            return -1;
    }
    add_directory(p, "/etc", 0755);
    add_file(p, "/etc/passwd",
             arena_printf(p->arena,
                          "root:x:0:0:root:/root:/bin/sh\n%snobody:x:65534:65534:nobody:/"
                          "nonexistent:/usr/sbin/nologin\n",
                          spec->uid == 0 || spec->uid == 65534
                              ? ""
                              : arena_printf(p->arena, "user:x:%u:%u:user:/home/user:/bin/sh\n",
                                             (unsigned)spec->uid, (unsigned)spec->gid)));
    add_file(p, "/etc/group",
             arena_printf(p->arena, "root:x:0:\ntty:x:5:\n%snogroup:x:65534:\n",
                          spec->gid == 0 || spec->gid == 5 || spec->gid == 65534
                              ? ""
                              : arena_printf(p->arena, "user:x:%u:\n", (unsigned)spec->gid)));
    add_file(p, "/etc/hosts",
             arena_printf(p->arena, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n",
                          spec->hostname != NULL ? spec->hostname : "sandbox"));
    add_file(p, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (add_system(p, settings[i], true, err) < 0)
            return -1;
    }
    bool is_online = spec->network == NETWORK_HOST || spec->network == NETWORK_BRIDGE;
    for (size_t i = 0; is_online && i < sizeof online / sizeof *online; i++) {
        if (add_system(p, online[i], true, err) < 0)
            return -1;
    }
    add_directory(p, "/home", 0755);
    /* of a serving sandbox a later command may be root, who is nobody to a template's owner */
    add_directory(p, "/root", p->serve != NULL ? 0755 : 0700);
    add_directory(p, "/run", 0755);
    add_directory(p, "/var", 0755);
    add(p, OP_SYMLINK, "/var/tmp")->data = "/tmp";
    return 0;
}

static void plan_dev(struct plan *p)
{
    const struct spec *spec = p->spec;
    if (mounted_by_spec(spec, "/dev") == NULL) {
        struct spec_mount *dev = new_fs(p, "/dev", "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        strings_add(p->arena, &dev->data, "mode=755");
        strings_add(p->arena, &dev->data, "size=64k");
        strings_add(p->arena, &dev->data, "nr_inodes=128");
        add(p, OP_DEVICES, "/dev");
    }
    if (mounted_by_spec(spec, "/dev/pts") == NULL) {
        struct spec_mount *pts =
            new_fs(p, "/dev/pts", "devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        strings_add(p->arena, &pts->data, "ptmxmode=0666");
        strings_add(p->arena, &pts->data, "mode=0620");
        /* all sandboxes draw on one pool, kernel.pty.max */
        strings_add(p->arena, &pts->data, "max=64");
    }
    if (mounted_by_spec(spec, "/dev/shm") == NULL) {
        struct spec_mount *shm = new_fs(p, "/dev/shm", "tmpfs",
                                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        strings_add(p->arena, &shm->data, "mode=1777");
        *shm = *fitted(p, shm);
    }
}

static int plan_directory_root(struct plan *p, struct error *err)
{
    const char *path = p->spec->rootfs_path;
    bool detached;
    struct stat st;
    _cleanup_close_ int fd = open_source(p, path, true, &st, &detached, err);
    if (fd < 0) {
        err->code = "rootfs.open";
        return error_wrap(err, "root file system");
    }
    if (!S_ISDIR(st.st_mode)) {
        error_set(err, "rootfs.not_a_directory", 0, "root file system \"%s\" is not a directory",
                  path);
        error_path(err, path);
        return error_hint(err, "unpack the image into a directory first");
    }
    _cleanup_closedir_ DIR *dir = opendir(path);
    int entries = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (dir != NULL && entries == 0) {
        error_set(err, "rootfs.empty", 0, "root file system \"%s\" is an empty directory", path);
        error_path(err, path);
        return error_hint(err, "fill it, or use --rootfs empty with -v for an empty root");
    }
    p->root_fd = TAKE_FD(fd);
    p->root_idmap = detached;
    return 0;
}

int rootfs_plan(struct plan *p, struct error *err)
{
    const struct spec *spec = p->spec;
    p->root_fd = -1;
    if (p->ns_fds[NS_MOUNT] >= 0) /* what is there is the root */
        return 0;
    if (spec->rootfs == ROOTFS_DIR && plan_directory_root(p, err) < 0)
        return -1;
    if (spec->rootfs == ROOTFS_HOST && plan_host_root(p, err) < 0)
        return -1;

    plan_dev(p);
    for (size_t i = 0; i < spec->mount_count; i++) {
        const struct spec_mount *s = &spec->mounts[i];
        if (s->kind != MOUNT_FS) {
            if (add_tree(p, s->kind == MOUNT_BIND ? OP_TREE : OP_OVERLAY, s, err) < 0)
                return -1;
            continue;
        }
        struct plan_mount *m = add(p, OP_FS, s->destination);
        m->spec = fitted(p, s);
        m->directory = true;
        if (strcmp(s->type, "sysfs") == 0 && !spec->ns_new[NS_NETWORK]) {
            /* only the owner of the network namespace may make one: show the host's, read-only */
            struct spec_mount *sys = arena_alloc(p->arena, sizeof *sys);
            sys->kind = MOUNT_BIND;
            sys->source = "/sys";
            sys->destination = s->destination;
            sys->recursive = true;
            sys->system = true;
            sys->attr_set_recursive = SYSTEM_ATTRIBUTES | MOUNT_ATTR_NOEXEC;
            sys->attr_set = SYSTEM_ATTRIBUTES;
            p->mount_count--;
            if (add_tree(p, OP_TREE, sys, err) < 0)
                return -1;
        }
        if (strcmp(s->destination, "/dev") == 0)
            add(p, OP_DEVICES, "/dev");
    }
    if (mounted_by_spec(spec, "/dev") == NULL && template_use(p))
        return 0;
    return device_plan(p, err);
}

void rootfs_close(struct plan *p)
{
    for (size_t i = 0; i < p->mount_count; i++)
        cleanup_close(&p->mounts[i].fd);
    for (size_t i = 0; i < p->node_count; i++)
        cleanup_close(&p->nodes[i].fd);
    cleanup_close(&p->root_fd);
    cleanup_close(&p->host_proc);
    cleanup_close(&p->bare_ns);
    cleanup_close(&p->bare_proc);
    p->mount_count = p->node_count = 0;
    p->root_fd = p->host_proc = p->bare_ns = p->bare_proc = -1;
}
