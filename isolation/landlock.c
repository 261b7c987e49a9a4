#include "isolation/landlock.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define VERSION_QUERY 1U /* LANDLOCK_CREATE_RULESET_VERSION */

#define FS(name)   LANDLOCK_ACCESS_FS_##name
#define FS_READ    (FS(READ_FILE) | FS(READ_DIR))
#define FS_DEVICES (FS(MAKE_CHAR) | FS(MAKE_BLOCK) | FS(IOCTL_DEV))
#define FS_WRITE                                                                                   \
    (FS(WRITE_FILE) | FS(TRUNCATE) | FS(REMOVE_DIR) | FS(REMOVE_FILE) | FS(MAKE_DIR) |             \
     FS(MAKE_REG) | FS(MAKE_SOCK) | FS(MAKE_FIFO) | FS(MAKE_SYM) | FS(REFER))
/* what the kernel accepts for an object that is not a directory */
#define FS_OF_FILE (FS(EXECUTE) | FS(WRITE_FILE) | FS(READ_FILE) | FS(TRUNCATE) | FS(IOCTL_DEV))

/* Rights by the ABI that brought them. A right that a kernel knows is always handled: REFER is
 * refused by every ruleset that does not handle it. */
static const struct {
    int abi;
    uint64_t fs, net, scoped;
} generations[] = {
    {1,
     FS(EXECUTE) | FS_READ | (FS_WRITE & ~(FS(REFER) | FS(TRUNCATE))) | FS(MAKE_CHAR) |
         FS(MAKE_BLOCK),
     0, 0},
    {2, FS(REFER), 0, 0},
    {3, FS(TRUNCATE), 0, 0},
    {4, 0, LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP, 0},
    {5, FS(IOCTL_DEV), 0, 0},
    {6, 0, 0, CLOCHE_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | CLOCHE_LANDLOCK_SCOPE_SIGNAL},
};

int landlock_abi(void)
{
    int abi = sys_landlock_create_ruleset(NULL, 0, VERSION_QUERY);
    return abi < 0 ? 0 : abi;
}

/* --- the parent's part --- */

static bool is_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    if (n == 1)
        return true;
    return strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static void add_rule(struct landlock_plan *plan, struct arena *a, const char *path, uint64_t access,
                     bool optional)
{
    uint64_t inherited = 0;
    for (size_t i = 0; i < plan->rule_count; i++) {
        if (is_below(path, plan->rules[i].path))
            inherited |= plan->rules[i].access;
    }
    access &= plan->handled_fs;
    if ((access & ~inherited) == 0)
        return;
    plan->rules = arena_grow(a, plan->rules, plan->rule_count, sizeof *plan->rules);
    plan->rules[plan->rule_count++] = (struct landlock_rule){path, access, optional};
}

/* What a mount with these attributes lets through. */
static uint64_t access_of(uint64_t attributes)
{
    uint64_t access = FS_READ | FS(EXECUTE) | FS(IOCTL_DEV);
    if ((attributes & MOUNT_ATTR_RDONLY) == 0)
        access |= FS_WRITE | FS_DEVICES;
    if ((attributes & MOUNT_ATTR_NOEXEC) != 0)
        access &= ~(uint64_t)FS(EXECUTE);
    if ((attributes & MOUNT_ATTR_NODEV) != 0)
        access &= ~(uint64_t)FS_DEVICES;
    return access;
}

static void derive_root(struct landlock_plan *plan, const struct spec *spec, struct arena *a)
{
    static const char *const programs[] = {"/usr",   "/bin",   "/sbin",  "/lib",
                                           "/lib32", "/lib64", "/libx32"};
    uint64_t attributes = MOUNT_ATTR_NODEV | (spec->rootfs_readonly ? MOUNT_ATTR_RDONLY : 0);
    if (spec->rootfs != ROOTFS_HOST) {
        add_rule(plan, a, "/", access_of(attributes), false);
        return;
    }
    add_rule(plan, a, "/", access_of(attributes | MOUNT_ATTR_NOEXEC), false);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct stat st; /* most of these lead into /usr today */
        if (lstat(programs[i], &st) == 0 && S_ISDIR(st.st_mode))
            add_rule(plan, a, programs[i], access_of(MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY), true);
    }
}

static void derive(struct landlock_plan *plan, const struct spec *spec, struct arena *a)
{
    derive_root(plan, spec, a);
    /* /dev, and /dev/pts and /dev/shm in it, unless the spec brings its own */
    add_rule(plan, a, "/dev", access_of(MOUNT_ATTR_NOEXEC), true);
    for (size_t i = 0; i < spec->mount_count; i++) {
        const struct spec_mount *m = &spec->mounts[i];
        add_rule(plan, a, m->destination, access_of(m->attr_set | m->attr_set_recursive), true);
    }
}

static void add_given(struct landlock_plan *plan, const struct strings *paths, uint64_t access,
                      struct arena *a)
{
    for (size_t i = 0; i < paths->count; i++)
        add_rule(plan, a, paths->items[i], access, false);
}

static int unsupported(int abi, int needed, const char *what, struct error *err)
{
    if (abi == 0) {
        error_set(err, "landlock.unsupported", 0,
                  "cloche.landlock: this kernel has no Landlock, or it is disabled at boot");
        return error_hint(err, "boot with lsm=landlock,..., or leave cloche.landlock out: the "
                               "mounts and the syscall filter hold without it");
    }
    error_set(err, "landlock.unsupported", 0,
              "cloche.landlock.%s needs Landlock ABI %d, this kernel has %d", what, needed, abi);
    return error_hint(err, "leave %s out, or use a newer kernel", what);
}

int landlock_plan_for(struct landlock_plan *ret, const struct spec *spec, int abi, struct arena *a,
                      struct error *err)
{
    const struct spec_landlock *given = &spec->landlock;
    bool paths = given->given && given->read.count + given->write.count + given->execute.count > 0;
    *ret = (struct landlock_plan){0};
    if (given->given && abi == 0)
        return unsupported(abi, 1, "", err);
    if (given->tcp_given && abi < 4)
        return unsupported(abi, 4, "tcp_bind and tcp_connect", err);
    /* ABI 1 cannot let anybody rename between directories: worse than no second wall */
    if (!given->given && (abi < 2 || !spec->ns_new[NS_MOUNT]))
        return 0;

    struct landlock_plan plan = {.abi = abi};
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        if (generations[i].abi > abi)
            break;
        plan.handled_fs |= generations[i].fs;
        plan.handled_net |= generations[i].net;
        plan.scoped |= generations[i].scoped;
    }
    if (!given->tcp_given)
        plan.handled_net = 0;
    plan.tcp_bind = given->tcp_bind;
    plan.tcp_bind_count = given->tcp_given ? given->tcp_bind_count : 0;
    plan.tcp_connect = given->tcp_connect;
    plan.tcp_connect_count = given->tcp_given ? given->tcp_connect_count : 0;
    if (paths) {
        add_given(&plan, &given->read, FS_READ, a);
        add_given(&plan, &given->write, FS_WRITE | FS(IOCTL_DEV), a);
        add_given(&plan, &given->execute, FS(EXECUTE) | FS_READ, a);
    } else {
        derive(&plan, spec, a);
    }
    *ret = plan;
    return 0;
}

int landlock_plan_make(struct landlock_plan *ret, const struct spec *spec, struct arena *a,
                       struct error *err)
{
    return landlock_plan_for(ret, spec, landlock_abi(), a, err);
}

/* --- the program's part: no malloc, no stdio --- */

static int allow_fd(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    return sys_landlock_add_rule(ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule);
}

static int allow_path(int ruleset, int root, const struct landlock_rule *rule)
{
    uint64_t resolve = RESOLVE_NO_MAGICLINKS | (root == AT_FDCWD ? 0U : RESOLVE_IN_ROOT);
    _cleanup_close_ int fd = sys_openat2(root, rule->path, O_PATH, 0, resolve);
    if (fd < 0)
        return rule->optional && (errno == ENOENT || errno == ENOTDIR) ? 0 : -1;
    if (allow_fd(ruleset, fd, rule->access) == 0)
        return 0;
    /* a file, which has no rights of directories */
    uint64_t access = rule->access & FS_OF_FILE;
    if (errno != EINVAL || access == rule->access)
        return -1;
    return access == 0 ? 0 : allow_fd(ruleset, fd, access);
}

/* A stream that is a file or a terminal of the host lies outside every path of the sandbox, but
 * programs open it again through /dev/stderr. */
static int allow_stream(int ruleset, int fd, uint64_t handled)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) != 0 || fstat(fd, &st) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
        return 0;
    uint64_t access = FS(IOCTL_DEV);
    if ((flags & O_ACCMODE) != O_WRONLY)
        access |= FS(READ_FILE);
    if ((flags & O_ACCMODE) != O_RDONLY)
        access |= FS(WRITE_FILE) | FS(TRUNCATE);
    if (allow_fd(ruleset, fd, access & handled) == 0 || errno == EBADFD)
        return 0; /* EBADFD: an unnamed pipe, which Landlock does not judge */
    return -1;
}

static int allow_ports(int ruleset, const uint16_t *ports, size_t count, uint64_t access)
{
    for (size_t i = 0; i < count; i++) {
        struct sys_landlock_net_port rule = {.allowed_access = access, .port = ports[i]};
        if (sys_landlock_add_rule(ruleset, LANDLOCK_RULE_NET_PORT, &rule) < 0)
            return -1;
    }
    return 0;
}

int landlock_apply(const struct landlock_plan *plan, int root, const char **ret_path)
{
    if (ret_path != NULL)
        *ret_path = NULL;
    if (plan->abi == 0)
        return 0;
    const struct sys_landlock_ruleset attr = {plan->handled_fs, plan->handled_net, plan->scoped};
    _cleanup_close_ int ruleset = sys_landlock_create_ruleset(&attr, sizeof attr, 0);
    if (ruleset < 0)
        return -1;
    for (size_t i = 0; i < plan->rule_count; i++) {
        if (allow_path(ruleset, root, &plan->rules[i]) < 0) {
            if (ret_path != NULL)
                *ret_path = plan->rules[i].path;
            return -1;
        }
    }
    for (int fd = 0; fd < 3; fd++) {
        if (allow_stream(ruleset, fd, plan->handled_fs) < 0)
            return -1;
    }
    if (allow_ports(ruleset, plan->tcp_bind, plan->tcp_bind_count, LANDLOCK_ACCESS_NET_BIND_TCP) <
            0 ||
        allow_ports(ruleset, plan->tcp_connect, plan->tcp_connect_count,
                    LANDLOCK_ACCESS_NET_CONNECT_TCP) < 0)
        return -1;
    return sys_landlock_restrict_self(ruleset);
}
