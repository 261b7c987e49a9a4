/* What this kernel and this user can do. Everything is tried, in a child with namespaces of its own
 * where it would leave something: a version number says little on kernels with backports, and a
 * sysctl little when a security module has the last word. The child writes one errno a try into
 * shared memory. */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "isolation/cgroup.h"
#include "isolation/landlock.h"
#include "isolation/plan.h"

#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOT_TRIED (-1)

struct list {
    struct sandbox_ability *items;
    int count, max;
};

static struct sandbox_ability *add(struct list *l, const char *group, const char *name, bool usable)
{
    static struct sandbox_ability spill; /* a table that is too small loses its last lines only */
    struct sandbox_ability *a = l->count < l->max ? &l->items[l->count++] : &spill;
    *a = (struct sandbox_ability){.group = group, .name = name, .usable = usable};
    return a;
}

__attribute__((format(printf, 2, 3))) static void put(char buf[static 256], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, 256, fmt, ap);
    va_end(ap);
}

/** A number from a file of /proc/sys, or -1 where there is no such setting. */
static long setting(const char *path)
{
    char text[32];
    uint64_t n;
    if (io_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 || !io_parse_u64(text, &n) ||
        n > INT32_MAX)
        return -1;
    return (long)n;
}

/* --- namespaces --------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *option, *maximum;
    uint64_t flag;
} namespaces[] = {
    {"user", "CONFIG_USER_NS", "user.max_user_namespaces", CLONE_NEWUSER},
    {"pid", "CONFIG_PID_NS", "user.max_pid_namespaces", CLONE_NEWPID},
    {"mount", "CONFIG_NAMESPACES", "user.max_mnt_namespaces", CLONE_NEWNS},
    {"ipc", "CONFIG_IPC_NS", "user.max_ipc_namespaces", CLONE_NEWIPC},
    {"uts", "CONFIG_UTS_NS", "user.max_uts_namespaces", CLONE_NEWUTS},
    {"network", "CONFIG_NET_NS", "user.max_net_namespaces", CLONE_NEWNET},
    {"cgroup", "CONFIG_CGROUPS", "user.max_cgroup_namespaces", CLONE_NEWCGROUP},
    {"time", "CONFIG_TIME_NS", "user.max_time_namespaces", 0x80},
};

/** 0, or the errno of a clone3 with these flags and a pidfd. */
static int try_clone(uint64_t flags)
{
    int pidfd = -1, status;
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
    pid_t pid = sys_clone3(&args);
    if (pid < 0)
        return errno;
    if (pid == 0)
        _exit(0);
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    close(pidfd);
    return 0;
}

static void explain_namespace(struct sandbox_ability *a, size_t i, int failed)
{
    bool root = geteuid() == 0;
    char path[96];
    snprintf(path, sizeof path, "/proc/sys/user/%s", namespaces[i].maximum + 5);
    put(a->detail, "%s", strerror(failed));
    if (failed == EINVAL)
        put(a->fix, "a kernel with %s", namespaces[i].option);
    else if (failed == ENOSYS)
        put(a->fix, "clone3 is not there: Linux 5.3 or later, and no filter that hides it");
    else if (failed == ENOSPC || failed == EUSERS || setting(path) == 0)
        put(a->fix, "sysctl -w %s=10000 (now %ld), or end some sandboxes", namespaces[i].maximum,
            setting(path));
    else if (!root && setting("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        put(a->fix, "sysctl -w kernel.unprivileged_userns_clone=1, or run as root");
    else if (!root && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        put(a->fix, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor "
                    "profile with `userns,` for cloche, or run as root");
    else
        put(a->fix, "something around this process forbids it (a container's filter, a security "
                    "module, a chroot): allow clone3 with namespaces there, or leave the chroot");
}

/** True when user namespaces work: most of the rest stands on them. */
static bool judge_namespaces(struct list *l)
{
    bool user = false;
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++) {
        int failed = try_clone(CLONE_NEWUSER | namespaces[i].flag);
        struct sandbox_ability *a = add(l, "namespace", namespaces[i].name, failed == 0);
        if (failed != 0)
            explain_namespace(a, i, failed);
        if (i == 0)
            user = failed == 0;
    }
    return user;
}

/** The settings behind user namespaces, each with the value that is in the way. */
static void judge_settings(struct list *l)
{
    static const struct {
        const char *name, *path;
        long bad;
    } settings[] = {
        {"user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", 0},
        {"kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", 0},
        {"kernel.apparmor_restrict_unprivileged_userns",
         "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1},
        {"kernel.apparmor_restrict_unprivileged_unconfined",
         "/proc/sys/kernel/apparmor_restrict_unprivileged_unconfined", 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        long now = setting(settings[i].path);
        /* root is not asked by any but the first */
        bool hinders = now == settings[i].bad && (i == 0 || geteuid() != 0);
        struct sandbox_ability *a = add(l, "setting", settings[i].name, !hinders);
        if (now < 0)
            put(a->detail, "this kernel does not have it");
        else
            put(a->detail, "%ld", now);
        if (hinders)
            put(a->fix, "sysctl -w %s=%d", settings[i].name, i == 0 ? 10000 : i == 1 ? 1 : 0);
    }
}

/* --- file systems ------------------------------------------------------------------------------
 */

enum fs_try { FS_MAP, FS_TMPFS, FS_OVERLAY, FS_PROC, FS_DEVPTS, FS_IDMAP, FS_COUNT };

static int made_fs(const char *type, const char *const *options)
{
    _cleanup_close_ int fs = sys_fsopen(type);
    if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
        return -1;
    for (; *options != NULL; options += 2) {
        if (sys_fsconfig(fs, options[1] != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                         options[0], options[1], 0) < 0)
            return -1;
    }
    if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

static int try_overlay(int tmpfs)
{
    static const char *const options[] = {"lowerdir", "lower",     "upperdir", "upper", "workdir",
                                          "work",     "userxattr", NULL,       NULL};
    if (sys_move_mount(tmpfs, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        fchdir(tmpfs) < 0 || mkdir("lower", 0755) < 0 || mkdir("upper", 0755) < 0 ||
        mkdir("work", 0755) < 0)
        return -1;
    return made_fs("overlay", options);
}

static bool write_own_map(const char *file, uid_t id)
{
    char path[32], text[32];
    snprintf(path, sizeof path, "/proc/self/%s", file);
    snprintf(text, sizeof text, "0 %u 1", (unsigned)id);
    return io_write_file_at(AT_FDCWD, path, text) == 0;
}

static _Noreturn void try_file_systems(int *result, uid_t uid, gid_t gid, int parent)
{
    static const char *const none[] = {NULL}, *const pts[] = {"newinstance", NULL, NULL};
    char byte = 0;
    result[FS_MAP] = write_own_map("uid_map", uid) &&
                             io_write_file_at(AT_FDCWD, "/proc/self/setgroups", "deny") == 0 &&
                             write_own_map("gid_map", gid)
                         ? 0
                         : errno;
    struct mount_attr private = {.propagation = MS_PRIVATE};
    if (result[FS_MAP] != 0 || sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private) < 0)
        _exit(1);
    int proc = made_fs("proc", none);
    result[FS_PROC] = proc >= 0 ? 0 : errno;
    int devpts = made_fs("devpts", pts);
    result[FS_DEVPTS] = devpts >= 0 ? 0 : errno;
    int tmpfs = made_fs("tmpfs", none);
    result[FS_TMPFS] = tmpfs >= 0 ? 0 : errno;
    if (tmpfs >= 0)
        result[FS_OVERLAY] = try_overlay(tmpfs) >= 0 ? 0 : errno;
    /* the parent uses this user namespace for an idmapped mount, then closes its end */
    if (write(parent, &byte, 1) != 1 || read(parent, &byte, 1) < 0)
        _exit(1);
    _exit(0);
}

static int try_idmapped_mount(pid_t pid)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    _cleanup_close_ int userns = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int tree = sys_open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE);
    if (userns < 0 || tree < 0)
        return errno;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    return sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr) < 0 ? errno : 0;
}

static void try_all_file_systems(int *result)
{
    int ends[2];
    char byte;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return;
    struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET,
                              .exit_signal = SIGCHLD};
    pid_t pid = sys_clone3(&args);
    if (pid == 0) {
        close(ends[0]);
        try_file_systems(result, uid, gid, ends[1]);
    }
    close(ends[1]);
    if (pid > 0 && read(ends[0], &byte, 1) == 1) /* a user namespace needs its map for this */
        result[FS_IDMAP] = try_idmapped_mount(pid);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
}

static void judge_file_systems(struct list *l)
{
    int *result = mmap(NULL, FS_COUNT * sizeof *result, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        return;
    for (int i = 0; i < FS_COUNT; i++)
        result[i] = NOT_TRIED;
    try_all_file_systems(result);

    static const struct {
        enum fs_try what;
        const char *group, *name, *fix;
    } tries[] = {
        {FS_MAP, "mount", "id map", "see /proc, and the settings of user namespaces, above"},
        {FS_TMPFS, "mount", "tmpfs", "Linux 6.1 or later; no filter that hides fsopen"},
        {FS_PROC, "mount", "proc",
         "a /proc here that nothing is mounted over (a container's masked paths are in the way): "
         "run outside of that container, or unmask /proc there"},
        {FS_DEVPTS, "mount", "devpts", "a kernel with CONFIG_UNIX98_PTYS"},
        {FS_OVERLAY, "mount", "overlay in a user namespace",
         "modprobe overlay; Linux 5.11 or later (only -v SRC:DST:O and tmpcopyup need it)"},
        {FS_IDMAP, "mount", "idmapped mounts",
         "only root can make them; as root: a file system that supports them at /usr "
         "(an ordinary user's volumes keep their owner without)"},
    };
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        int rc = result[tries[i].what];
        struct sandbox_ability *a = add(l, tries[i].group, tries[i].name, rc == 0);
        if (rc == 0)
            continue;
        put(a->detail, "%s", rc == NOT_TRIED ? "could not be tried" : strerror(rc));
        put(a->fix, "%s", tries[i].fix);
    }
    munmap(result, FS_COUNT * sizeof *result);
}

/* --- the rest ----------------------------------------------------------------------------------
 */

static void judge_kernel(struct list *l)
{
    struct error err = ERROR_INIT;
    struct sandbox_ability *a = add(l, "kernel", "/proc", proc_check(&err) == 0);
    if (!a->usable) {
        put(a->detail, "%.255s", err.message);
        put(a->fix, "%.255s", err.hint);
    }

    int clone_error = try_clone(0);
    a = add(l, "kernel", "clone3", clone_error == 0);
    if (clone_error != 0)
        put(a->fix, "Linux 5.3 or later, and no filter that hides it");

    _cleanup_close_ int pidfd = sys_pidfd_open(getpid(), 0);
    a = add(l, "kernel", "pidfd", pidfd >= 0);
    if (pidfd < 0)
        put(a->fix, "Linux 5.3 or later, and no filter that hides it");

    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    a = add(l, "kernel", "seccomp filter", sys_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    if (!a->usable)
        put(a->fix, "a kernel with CONFIG_SECCOMP_FILTER");
    action = SECCOMP_RET_USER_NOTIF;
    a = add(l, "kernel", "seccomp notify", sys_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    if (!a->usable)
        put(a->fix, "Linux 5.0 or later (a blocked call then ends the program without its name)");

    int abi = landlock_abi();
    a = add(l, "kernel", "Landlock", abi > 0);
    if (abi > 0)
        put(a->detail, "ABI %d", abi);
    else
        put(a->fix, "boot with lsm=landlock,... on a kernel with CONFIG_SECURITY_LANDLOCK");
}

static void judge_cgroups(struct list *l)
{
    struct cgroup_ability found[8];
    int count = cgroup_abilities(found, 8);
    for (int i = 0; i < count; i++) {
        struct sandbox_ability *a = add(l, "cgroup", found[i].controller, found[i].usable);
        if (found[i].version != 0)
            put(a->detail, "v%d, %.240s", found[i].version, found[i].where);
        else
            put(a->detail, "not there");
        if (!found[i].usable)
            put(a->fix, "%.255s", found[i].fix);
    }
}

static bool on_path(const char *program)
{
    static const char *const places[] = {"/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"};
    char path[64];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static void judge_ids(struct list *l)
{
    static const char *const files[] = {"/etc/subuid", "/etc/subgid"};
    static const char *const helpers[] = {"newuidmap", "newgidmap"};
    bool root = geteuid() == 0 && idmap_all_ids(NULL) != 0;
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)geteuid());
    const struct passwd *pw = root ? NULL : getpwuid(geteuid());
    const char *owner = root ? "cloche" : pw != NULL ? pw->pw_name : number;
    for (size_t i = 0; i < 2; i++) {
        uint64_t first, size;
        bool has = idmap_subid_range(files[i], owner, root ? owner : number, 1, &first, &size);
        struct sandbox_ability *a = add(l, "ids", files[i], has || root);
        if (has)
            put(a->detail, "%llu ids of %s from %llu", (unsigned long long)size, owner,
                (unsigned long long)first);
        else if (root)
            put(a->detail, "no range of cloche: blocks from 1879048192 upward");
        else
            put(a->fix,
                "usermod --add-sub%s 100000-165535 %s (only additional groups and id "
                "mappings need it)",
                i == 0 ? "uids" : "gids", owner);
    }
    for (size_t i = 0; i < 2 && !root; i++) {
        bool has = on_path(helpers[i]);
        struct sandbox_ability *a = add(l, "ids", helpers[i], has);
        if (!has)
            put(a->fix, "install the package uidmap (only additional groups and id mappings need "
                        "it)");
    }
}

int sandbox_abilities(struct sandbox_ability *ret, int max)
{
    struct list l = {.items = ret, .max = max};
    judge_kernel(&l);
    judge_namespaces(&l);
    judge_settings(&l);
    judge_file_systems(&l);
    judge_cgroups(&l);
    judge_ids(&l);
    return l.count;
}
