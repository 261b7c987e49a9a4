/**
 * Kernel interfaces that Debian 12's libc or headers do not have yet, as thin inline wrappers:
 * errno and -1 as in libc, no policy. Numbers are those of the kernel's generic table (the same on
 * every architecture from 424 up).
 */
#ifndef CLOCHE_BASE_SYSCALLS_H
#define CLOCHE_BASE_SYSCALLS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Landlock ABI 4 (network) and 6 (scopes): newer than the headers of Debian 12 */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP    (1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define LANDLOCK_RULE_NET_PORT          2
#endif
#define CLOCHE_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define CLOCHE_LANDLOCK_SCOPE_SIGNAL               (1ULL << 1)

struct sys_landlock_ruleset {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

struct sys_landlock_net_port {
    uint64_t allowed_access, port;
};

static inline pid_t sys_clone3(struct clone_args *args)
{
    return (pid_t)syscall(SYS_clone3, args, sizeof *args);
}

/* EAGAIN: somebody on this machine renamed or mounted something while a ".." was walked, and the
 * kernel cannot tell whether that was on our way (openat2(2)). Bounded: inside, somebody may do
 * nothing else. */
static inline int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode,
                              uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    int fd;
    for (int tries = 0; tries < 1000; tries++) {
        fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd;
}

/* musl's is younger */
static inline int sys_rename_noreplace(int from_dir, const char *from, int to_dir, const char *to)
{
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 1U /* RENAME_NOREPLACE */);
}

static inline int sys_pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static inline int sys_pidfd_send_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

/* sched_setattr(2); for ordinary processes runtime is the length of a turn, from Linux 6.12 on */
struct sys_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static inline int sys_sched_getattr(pid_t pid, struct sys_sched_attr *ret)
{
    return (int)syscall(SYS_sched_getattr, pid, ret, sizeof *ret, 0);
}

static inline int sys_sched_setattr(pid_t pid, const struct sys_sched_attr *attr)
{
    return (int)syscall(SYS_sched_setattr, pid, attr, 0);
}

static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);
}

static inline int sys_move_mount(int from_fd, const char *from, int to_fd, const char *to,
                                 unsigned flags)
{
    return (int)syscall(SYS_move_mount, from_fd, from, to_fd, to, flags);
}

static inline int sys_fsopen(const char *type)
{
    return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static inline int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
    return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

static inline int sys_fsmount(int fd, unsigned attributes)
{
    return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes);
}

static inline int sys_mount_setattr(int dirfd, const char *path, unsigned flags,
                                    const struct mount_attr *attr)
{
    return (int)syscall(SYS_mount_setattr, dirfd, path, flags, attr, sizeof *attr);
}

/* statmount(2) and the mount ids it goes by, Linux 6.8: one mount's lines of mountinfo without the
 * others'. musl has no statx(2). */
#define SYS_STATMOUNT_NR          457
#define SYS_STATX_MNT_ID_UNIQUE   0x4000U
#define SYS_STATX_ATTR_MOUNT_ROOT 0x2000U
#define SYS_STATMOUNT_SB_BASIC    0x1U
#define SYS_STATMOUNT_MNT_BASIC   0x2U
#define SYS_STATMOUNT_MNT_ROOT    0x8U

struct sys_statx {
    uint32_t mask, blksize;
    uint64_t attributes, other[16], mnt_id, rest[13];
};

static inline int sys_statx(int dirfd, const char *path, int flags, unsigned mask,
                            struct sys_statx *ret)
{
    return (int)syscall(SYS_statx, dirfd, path, flags, mask, ret);
}

struct sys_mnt_id_req {
    uint32_t size, spare;
    uint64_t mnt_id, param;
};

struct sys_statmount {
    uint32_t size, mnt_opts;
    uint64_t mask; /* what was filled in */
    uint32_t sb_dev_major, sb_dev_minor;
    uint64_t sb_magic;
    uint32_t sb_flags, fs_type;
    uint64_t mnt_id, mnt_parent_id;
    uint32_t mnt_id_old, mnt_parent_id_old;
    uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
    uint32_t mnt_root, mnt_point; /* offsets in @str */
    uint64_t rest[50];
    char str[512];
};

static inline int sys_statmount(uint64_t mnt_id, uint64_t mask, struct sys_statmount *ret)
{
    const struct sys_mnt_id_req request = {24, 0, mnt_id, mask};
    return (int)syscall(SYS_STATMOUNT_NR, &request, ret, sizeof *ret, 0);
}

static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}

static inline int sys_seccomp(unsigned op, unsigned flags, void *args)
{
    return (int)syscall(SYS_seccomp, op, flags, args);
}

static inline int sys_landlock_create_ruleset(const struct sys_landlock_ruleset *attr, size_t size,
                                              unsigned flags)
{
    return (int)syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

static inline int sys_landlock_add_rule(int ruleset, int type, const void *attr)
{
    return (int)syscall(SYS_landlock_add_rule, ruleset, type, attr, 0);
}

static inline int sys_landlock_restrict_self(int ruleset)
{
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

#endif
