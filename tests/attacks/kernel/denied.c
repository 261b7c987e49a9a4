/* Calls that a program has no business with. Each is made with arguments that the kernel itself
 * answers otherwise than by EPERM or ENOSYS where that is possible, so that any other answer has
 * come from behind the filter. argv[1] picks the group. */
#include "tests/attacks/attack.h"
#include "tests/attacks/kernel/calls.h"

#include <linux/keyctl.h>

struct call {
    const char *group, *name;
    long number, args[6];
};

#define CALL(group, call, ...)                                                                     \
    {                                                                                              \
        group, #call, SYS_##call,                                                                  \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static char scratch[4096];
#define BUFFER ((long)scratch)
#define ROOT   ((long)"/")
#define HERE   ((long)".")

static const struct call calls[] = {
    /* the file-system tree */
    CALL("mounts", mount, (long)"none", (long)"/tmp", (long)"tmpfs", 0, 0),
    CALL("mounts", umount2, ROOT, 2),
    CALL("mounts", pivot_root, HERE, HERE),
    CALL("mounts", chroot, HERE),
    CALL("mounts", open_tree, AT_FDCWD, ROOT, 1),
    CALL("mounts", open_tree, AT_FDCWD, ROOT, 0),
    CALL("mounts", move_mount, -1, (long)"", -1, (long)"", 4),
    CALL("mounts", fsopen, (long)"tmpfs", 0),
    CALL("mounts", fsconfig, -1, 6, 0, 0, 0),
    CALL("mounts", fsmount, -1, 0, 0),
    CALL("mounts", fspick, AT_FDCWD, ROOT, 0),
    CALL("mounts", mount_setattr, AT_FDCWD, ROOT, 0, 0, 0),
    CALL("mounts", open_tree_attr, AT_FDCWD, ROOT, 0, 0, 0),
    CALL("mounts", statmount, 0, 0, 0, 0),
    CALL("mounts", listmount, 0, 0, 0, 0),
    CALL("mounts", name_to_handle_at, AT_FDCWD, ROOT, BUFFER, BUFFER + 256, 0),
    CALL("mounts", open_by_handle_at, -1, BUFFER, 0),
    CALL("mounts", fanotify_init, 0, 0),
    CALL("mounts", fanotify_mark, -1, 1, 1, AT_FDCWD, ROOT),
    CALL("mounts", setns, -1, 0),
    CALL("mounts", listns, 0, 0, 0, 0),
    /* other processes, memory tricks */
    CALL("memory", process_madvise, -1, 0, 0, 0, 0),
    CALL("memory", process_mrelease, -1, 0),
    CALL("memory", pidfd_getfd, -1, 0, 0),
    CALL("memory", kcmp, 1, 1, 9, 0, 0),
    CALL("memory", modify_ldt, 0, BUFFER, 16),
    CALL("memory", remap_file_pages, BUFFER, 4096, 0, 0, 0),
    CALL("memory", migrate_pages, 0, 0, 0, 0),
    CALL("memory", move_pages, 0, 0, 0, 0, 0, 0),
    CALL("memory", mbind, 0, 0, 0, 0, 0, 0),
    CALL("memory", set_mempolicy, 0, 0, 0),
    CALL("memory", set_mempolicy_home_node, 0, 0, 0, 0),
    CALL("memory", memfd_secret, 0),
    CALL("memory", map_shadow_stack, 0, 0, 0),
    CALL("memory", vmsplice, -1, 0, 0, 0),
    /* parts of the kernel with a history */
    CALL("surface", io_uring_setup, 8, BUFFER),
    CALL("surface", io_uring_enter, -1, 0, 0, 0, 0, 0),
    CALL("surface", io_uring_register, -1, 0, 0, 0),
    CALL("surface", add_key, (long)"user", (long)"x", (long)"x", 1, KEY_SPEC_SESSION_KEYRING),
    CALL("surface", request_key, (long)"user", (long)"x", 0, KEY_SPEC_SESSION_KEYRING),
    CALL("surface", keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1),
    CALL("surface", lsm_get_self_attr, 100, 0, 0, 0),
    CALL("surface", lsm_set_self_attr, 100, 0, 0, 0),
    CALL("surface", lsm_list_modules, 0, 0, 0),
    CALL("surface", file_getattr, AT_FDCWD, ROOT, BUFFER, 24, 0),
    CALL("surface", file_setattr, AT_FDCWD, ROOT, BUFFER, 24, 0),
    CALL("host", adjtimex, 0),
    CALL("host", clock_adjtime, 0, 0),
    CALL("host", syslog, 10, 0, 0),
    CALL("host", sync),
    CALL("surface", io_setup, 1, BUFFER),
    CALL("surface", io_submit, 0, 0, 0),
    CALL("surface", io_destroy, 0),
    CALL("surface", io_getevents, 0, 0, 0, 0, 0),
    /* what looks at other programs through the page cache, or slows the whole machine */
    CALL("neighbourly", mincore, BUFFER, 4096, 0),
    CALL("neighbourly", cachestat, -1, 0, 0, 0),
    CALL("neighbourly", syncfs, -1),
    CALL("neighbourly", ioprio_set, 1, 0, 1 << 13),
    /* leftovers */
    CALL("obsolete", sysfs, 3),
    CALL("obsolete", ustat, 0, 0),
    CALL("obsolete", uselib, HERE),
    CALL("obsolete", _sysctl, 0),
    CALL("obsolete", afs_syscall),
    CALL("obsolete", tuxcall),
    CALL("obsolete", security),
    CALL("obsolete", vserver),
    CALL("obsolete", getpmsg),
    CALL("obsolete", putpmsg),
    CALL("obsolete", epoll_ctl_old),
    CALL("obsolete", epoll_wait_old),
    CALL("obsolete", not_yet_known),
};

int main(int argc, char **argv)
{
    int tried = 0;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const struct call *c = &calls[i];
        long result;

        if (argc > 1 && strcmp(argv[1], c->group) != 0)
            continue;
        memset(scratch, 0, sizeof(scratch));
        tried++;
        result = syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4],
                         c->args[5]);
        if (result >= 0)
            breach("%s succeeded", c->name);
        else if (errno != EPERM && errno != ENOSYS)
            breach("%s reached the kernel: %s", c->name, strerror(errno));
    }
    if (tried == 0)
        skip("no group of that name");
    return verdict();
}
