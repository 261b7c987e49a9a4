/* /dev: a handful of the host's nodes, each verified to be what its name says before anything
 * trusts it. */
#include "base/cleanup.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const struct {
    const char *name;
    unsigned major, minor;
} standard[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static int open_node(struct plan *p, const char *host_path, const char *name, char type,
                     unsigned major_number, unsigned minor_number, mode_t mode, struct error *err)
{
    _cleanup_close_ int fd = sys_openat2(AT_FDCWD, host_path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set(err, "device.missing", errno, "cannot open device \"%s\" of the host", host_path);
        return error_hint(err,
                          "the sandbox gets its devices from the host's /dev; make it there first");
    }
    mode_t format = type == 'b' ? S_IFBLK : S_IFCHR;
    if ((st.st_mode & S_IFMT) != format || major(st.st_rdev) != major_number ||
        minor(st.st_rdev) != minor_number) {
        error_set(err, "device.wrong", 0, "\"%s\" of the host is not device %c %u:%u", host_path,
                  type, major_number, minor_number);
        return error_hint(err, "repair the host's /dev; nothing is trusted by its name");
    }
    if (mode != SPEC_MODE_ANY && (mode & 0666 & ~st.st_mode) != 0) {
        error_set(err, "device.mode", 0, "device \"%s\" cannot have mode %04o: the host's has %04o",
                  host_path, mode & 07777U, st.st_mode & 07777U);
        return error_hint(err, "it is the host's own node that is shown: chmod it there, or leave "
                               "fileMode out");
    }
    int node = p->privileged ? sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE) : TAKE_FD(fd);
    if (node < 0)
        return error_set(err, "device.missing", errno, "cannot bind device \"%s\"", host_path);
    p->nodes = arena_grow(p->arena, p->nodes, p->node_count, sizeof *p->nodes);
    p->nodes[p->node_count++] = (struct plan_node){.name = name, .fd = node};
    return 0;
}

int device_plan(struct plan *p, struct error *err)
{
    char path[32];
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
        snprintf(path, sizeof path, "/dev/%s", standard[i].name);
        if (open_node(p, path, standard[i].name, 'c', standard[i].major, standard[i].minor,
                      SPEC_MODE_ANY, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < p->spec->device_count; i++) {
        const struct spec_device *d = &p->spec->devices[i];
        bool known = false, other = false;
        for (size_t j = 0; j < p->node_count; j++) { /* the standard ones first */
            if (strncmp(d->path, "/dev/", 5) != 0 || strcmp(d->path + 5, p->nodes[j].name) != 0)
                continue;
            known = true;
            other =
                j < sizeof standard / sizeof *standard &&
                (d->type != 'c' || d->major != standard[j].major || d->minor != standard[j].minor);
        }
        if (other) {
            error_set(err, "device.standard", 0,
                      "\"%s\" has its standard numbers in every sandbox, and no others", d->path);
            return error_hint(err, "leave it out, or give the device another name");
        }
        if (known)
            continue;
        if (d->type == 'p' || strncmp(d->path, "/dev/", 5) != 0 ||
            strchr(d->path + 5, '/') != NULL) {
            error_set(err, "device.unsupported", 0, "cannot provide device \"%s\"", d->path);
            return error_hint(err, "character and block devices directly below /dev are supported");
        }
        if (open_node(p, d->path, d->path + 5, d->type, d->major, d->minor, d->mode, err) < 0)
            return -1;
    }
    return 0;
}

static int bind_node(const struct plan *p, int dev_fd, const struct plan_node *node)
{
    _cleanup_close_ int point =
        openat(dev_fd, node->name, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (point < 0)
        return -1;
    _cleanup_close_ int own = -1;
    int tree = node->fd;
    if (!p->privileged) {
        char path[300];
        int n = snprintf(path, sizeof path, "/dev/%s", node->name);
        if (n < 0 || (size_t)n >= sizeof path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        struct stat seen, opened;
        own = tree = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
        if (tree < 0 || fstat(tree, &seen) < 0 || fstat(node->fd, &opened) < 0)
            return -1;
        if (seen.st_ino != opened.st_ino || seen.st_dev != opened.st_dev) {
            errno = ESTALE;
            return -1;
        }
    }
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
    if (sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) < 0)
        return -1;
    return sys_move_mount(tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/** What is no device. NULL, or the name that could not be made. */
static const char *make_others(int dev_fd)
{
    static const struct {
        const char *name, *target;
    } links[] = {{"fd", "/proc/self/fd"},
                 {"stdin", "/proc/self/fd/0"},
                 {"stdout", "/proc/self/fd/1"},
                 {"stderr", "/proc/self/fd/2"},
                 {"ptmx", "pts/ptmx"}};
    static const char *const points[] = {"pts", "shm", "mqueue"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (symlinkat(links[i].target, dev_fd, links[i].name) < 0)
            return links[i].name;
    }
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        if (mkdirat(dev_fd, points[i], 0755) < 0)
            return points[i];
    }
    return NULL;
}

int device_populate(const struct plan *p, int dev_fd, struct message *failed)
{
    for (size_t i = 0; i < p->node_count; i++) {
        if (bind_node(p, dev_fd, &p->nodes[i]) < 0)
            return step_failed(failed, STEP_DEVICE, p->nodes[i].name);
    }
    const char *other = make_others(dev_fd);
    return other != NULL ? step_failed(failed, STEP_DEVICE, other) : 0;
}

int device_make(int dev_fd)
{
    for (size_t i = 0; i < sizeof standard / sizeof *standard; i++) {
        if (mknodat(dev_fd, standard[i].name, S_IFCHR | 0666,
                    makedev(standard[i].major, standard[i].minor)) < 0)
            return -1;
    }
    return make_others(dev_fd) != NULL ? -1 : 0;
}
