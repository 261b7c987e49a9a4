/* Idmapped mounts: whose files a volume holds, as seen from inside.
 *
 * A rootfs of the host is shown with its own numbers: host uid 0 is uid 0 inside. In a volume the
 * owner of the volume's top directory and the program's user change places, so that the program may
 * do there what the owner may, and what it makes belongs to the owner. Such an exchange needs a
 * user namespace of its own as the map's carrier: a process that lives for the moment of opening
 * it. */
#include "base/cleanup.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <sys/wait.h>

static int apply(int tree, int userns)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) == 0)
        return 0;
    /* a submount of a kind that cannot be mapped (proc, another idmap) stays as it is */
    return sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr);
}

static int open_userns(pid_t pid)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void add(struct spec_id_map *map, size_t *count, uint32_t inside, uint32_t outside,
                uint32_t size)
{
    if (size != 0)
        map[(*count)++] = (struct spec_id_map){inside, outside, size};
}

/** The block [0, size) at @base with ids @a (owner) and @b (program) exchanged. At most five lines.
 */
static size_t exchange(struct spec_id_map *map, const struct spec_id_map *block, uint32_t owner,
                       uint32_t program)
{
    size_t n = 0;
    uint32_t low = owner < program ? owner : program, high = owner < program ? program : owner;
    uint32_t base = block->host_id, size = block->size;
    if (owner == program) {
        add(map, &n, 0, base, size);
        return n;
    }
    if (high >= size) { /* an owner beyond the block takes the program's place alone */
        add(map, &n, 0, base, program);
        add(map, &n, program + 1, base + program + 1, size - program - 1);
        add(map, &n, owner, base + program, 1);
        return n;
    }
    add(map, &n, 0, base, low);
    add(map, &n, low, base + high, 1);
    add(map, &n, low + 1, base + low + 1, high - low - 1);
    add(map, &n, high, base + low, 1);
    add(map, &n, high + 1, base + high + 1, size - high - 1);
    return n;
}

/** A user namespace with these maps, as an fd. */
static int make_userns(const struct idmap *m, struct error *err)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    pid_t parent = getpid(), pid = sys_clone3(&args);
    if (pid == 0)
        idmap_stay(parent);
    if (pid < 0)
        return error_set(err, "mount.idmap", errno,
                         "cannot make a user namespace for the owners of a volume");
    int fd = -1;
    if (idmap_write(m, pid, err) == 0) {
        fd = open_userns(pid);
        if (fd < 0)
            error_set(err, "mount.idmap", errno, "cannot open the user namespace of a volume");
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return fd;
}

static int userns_of(const struct plan *p, const struct plan_mount *m, int own, struct error *err)
{
    const struct spec *spec = p->spec;
    struct idmap map = {.lock_fd = -1};
    struct spec_id_map uid[5], gid[5];
    map.uid = uid;
    map.gid = gid;
    if (m->spec->uid_map_count != 0) {
        map.uid = m->spec->uid_maps;
        map.uid_count = m->spec->uid_map_count;
        map.gid = m->spec->gid_maps;
        map.gid_count = m->spec->gid_map_count;
        return make_userns(&map, err);
    }
    if (spec->uid_map_count != 0 || p->idmap.joined ||
        (m->owner_uid == spec->uid && m->owner_gid == spec->gid))
        return own;
    map.uid_count = exchange(uid, p->idmap.uid, m->owner_uid, spec->uid);
    map.gid_count = exchange(gid, p->idmap.gid, m->owner_gid, spec->gid);
    return make_userns(&map, err);
}

int rootfs_map_ids(struct plan *p, pid_t init, struct error *err)
{
    _cleanup_close_ int own = open_userns(init);
    if (own < 0)
        return error_set(err, "mount.idmap", errno,
                         "cannot open the user namespace of the sandbox");
    static const char fix[] =
        "use a file system with idmapped mounts (ext4, xfs, btrfs; tmpfs from Linux 6.3)";

    if (p->root_idmap && apply(p->root_fd, own) < 0 && !p->spec->rootfs_readonly) {
        error_set(err, "mount.idmap", errno, "cannot map the owners of root file system \"%s\"",
                  p->spec->rootfs_path);
        return error_hint(err, "%s, or --read-only", fix);
    }
    for (size_t i = 0; i < p->mount_count; i++) {
        const struct plan_mount *m = &p->mounts[i];
        if (!m->idmap)
            continue;
        int userns = userns_of(p, m, own, err);
        if (userns < 0)
            return -1;
        int rc = apply(m->fd, userns), saved = errno;
        if (userns != own)
            close(userns);
        if (rc < 0 && m->idmap_needed) {
            error_set(err, "mount.idmap", saved, "cannot map the owners of volume \"%s\"",
                      m->source);
            error_path(err, m->source);
            return error_hint(err, "mount it read-only (:ro), or %s", fix);
        }
    }
    return 0;
}
