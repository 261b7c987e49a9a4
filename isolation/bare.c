/* A mount namespace with nothing in it but the root of the sandbox.
 *
 * A clone copies all of the caller's mounts, and init gets rid of the copies by pivot_root(2),
 * which goes through every process of the machine: with some hundred sandboxes alive that is a
 * fifth of a start. Where the root stands ready (template.c) the caller does it instead, in a copy
 * that belongs to its own user namespace and in which, therefore, nothing is locked: it detaches
 * the host's tree as one, mounts the root in its place and clones from there. Init is born in its
 * root, which it cannot take off; the caller goes back, for which no other thread may share its
 * root directory.
 *
 *   rootfs -- the host's tree           rootfs -- the template            the same, locked
 *   (a copy, all private)       -->                             clone     + /proc, /tmp, volumes
 *
 * An unmount spreads to the peers of what lies below. The host's own tree hangs on such a peer if
 * the bottom of the namespace is shared, so that is looked at beforehand (statmount(2), Linux 6.8:
 * without it all is as ever). */
#include "base/cleanup.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>

static const char link_own[] = "/proc/thread-self/ns/mnt";

/** pivot_root(2) takes 0.8 us for each process of the machine, a namespace of one's own 0.1 ms. */
static bool is_crowded(void)
{
    struct sysinfo info;
    return sysinfo(&info) == 0 && info.procs >= 200;
}

/** sysfs may be mounted only where one is seen already, and no other is to be seen. */
static bool is_wanted(const struct plan *p)
{
    bool wanted = p->template_fd >= 0 && !p->joins && is_crowded();
    for (size_t i = 0; i < p->mount_count; i++)
        wanted =
            wanted && !(p->mounts[i].op == OP_FS && strcmp(p->mounts[i].spec->type, "sysfs") == 0);
    return wanted;
}

/** Whether this root lies on the bottom of the namespace, and that is nobody's peer. */
static bool lies_on_the_bottom(void)
{
    struct sys_statx root;
    struct sys_statmount top, bottom;
    const uint64_t basic = SYS_STATMOUNT_MNT_BASIC;
    return sys_statx(AT_FDCWD, "/", 0, SYS_STATX_MNT_ID_UNIQUE, &root) == 0 &&
           (root.mask & SYS_STATX_MNT_ID_UNIQUE) != 0 &&
           (root.attributes & SYS_STATX_ATTR_MOUNT_ROOT) != 0 &&
           sys_statmount(root.mnt_id, basic, &top) == 0 && (top.mask & basic) != 0 &&
           top.mnt_parent_id != top.mnt_id &&
           sys_statmount(top.mnt_parent_id, basic, &bottom) == 0 && (bottom.mask & basic) != 0 &&
           bottom.mnt_parent_id == bottom.mnt_id && (bottom.mnt_propagation & MS_SHARED) == 0;
}

/** setns(2) goes to the root of the namespace; that is the caller's own, should chroot(2) be
 * refused in the trial. */
static int go_back(const struct bare *b)
{
    int rc = setns(b->own, CLONE_NEWNS) < 0 || fchdir(b->root) < 0 || chroot(".") < 0 ? -1 : 0;
    return fchdir(b->cwd) < 0 ? -1 : rc;
}

static int make_bare(struct plan *p)
{
    const struct mount_attr private = {.propagation = MS_PRIVATE};
    p->bare_ns = open(link_own, O_RDONLY | O_CLOEXEC);
    return p->bare_ns < 0 || sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private) < 0 ||
                   umount2("/", MNT_DETACH) < 0 || setns(p->bare_ns, CLONE_NEWNS) < 0 ||
                   sys_move_mount(p->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
                   setns(p->bare_ns, CLONE_NEWNS) < 0
               ? -1
               : 0;
}

void bare_enter(struct plan *p, struct bare *ret)
{
    *ret = (struct bare){.own = -1, .root = -1, .cwd = -1};
    if (!is_wanted(p) || !lies_on_the_bottom())
        return;
    ret->own = open(link_own, O_RDONLY | O_CLOEXEC);
    ret->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ret->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    p->bare_proc = sys_open_tree(p->host_proc, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
    /* first the way back: it has to be known that there is one */
    if (ret->own < 0 || ret->root < 0 || ret->cwd < 0 || p->bare_proc < 0 || go_back(ret) < 0 ||
        unshare(CLONE_NEWNS) < 0)
        return;
    ret->entered = true;
    if (make_bare(p) == 0)
        return;
    bare_leave(ret);
    cleanup_close(&p->bare_ns);
    p->bare_ns = -1;
}

void bare_leave(struct bare *b)
{
    if (b->entered && go_back(b) < 0) {
        /* every path of the caller would be one of the sandbox: worse than any error */
        perror("cloche: cannot return to the own mount namespace");
        abort();
    }
    cleanup_close(&b->own);
    cleanup_close(&b->root);
    cleanup_close(&b->cwd);
    *b = (struct bare){.own = -1, .root = -1, .cwd = -1};
}
