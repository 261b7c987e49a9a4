/* Who is who inside: a block of ids of one's own for root, one's own id for an ordinary user.
 *
 * Blocks are handed out by byte locks: byte N of <run>/ids-M.lock, M being N % 64, locked means
 * that block N is in use. A lock belongs to the open file description, so it ends with the
 * sandbox's parent, however that dies. The kernel goes through all locks of a file for a new one,
 * and whenever any process closes the file: hence not one file, where a thousand sandboxes live. */
#include "base/io.h"
#include "base/state.h"
#include "base/syscalls.h"
#include "isolation/plan.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sched.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define BLOCK_SIZE  65536U
#define BLOCK_FIRST 1879048192U /* 0x70000000 */
#define BLOCK_COUNT 32766U /* up to 0xefff0000, below the ids that systemd and others reserve */
/* not 65536: the kernel keeps users in 128 lists, by the lowest 7 bits of uid + (uid >> 7), and all
 * sandboxes' would be in one, which every change of ids goes through */
#define BLOCK_EVERY 65537U
#define LOCK_FILES  64U

bool idmap_subid_range(const char *file, const char *owner, const char *owner_number, uint64_t need,
                       uint64_t *ret_first, uint64_t *ret_size)
{
    _cleanup_fclose_ FILE *f = fopen(file, "re");
    if (f == NULL)
        return false;
    char line[256];
    while (fgets(line, sizeof line, f) != NULL) {
        char *save, *name = strtok_r(line, ":\n", &save);
        char *first = strtok_r(NULL, ":\n", &save), *size = strtok_r(NULL, ":\n", &save);
        if (size == NULL || (strcmp(name, owner) != 0 && strcmp(name, owner_number) != 0))
            continue;
        if (io_parse_u64(first, ret_first) && io_parse_u64(size, ret_size) && *ret_size >= need &&
            *ret_first + *ret_size <= UINT32_MAX)
            return true;
    }
    return false;
}

static int open_locks(int dir, unsigned number, struct error *err)
{
    char name[24];
    snprintf(name, sizeof name, "ids-%u.lock", number);
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        return fd;
    error_set(err, "ids.lock", errno, "cannot open the file \"%s\" of the run directory", name);
    return error_hint(err, "set CLOCHE_RUN to a directory you can write, with some space left");
}

static int lock_block(uint64_t blocks, uint64_t *ret_index, struct error *err)
{
    _cleanup_close_ int dir = state_open_run_dir(NULL, err);
    if (dir < 0)
        return -1;

    /* neighbours start at different places, so that the first try mostly succeeds */
    uint64_t start = (uint64_t)getpid() * 7;
    for (unsigned tried = 0; tried < LOCK_FILES; tried++) {
        unsigned number = (unsigned)((start + tried) % LOCK_FILES);
        if (number >= blocks)
            continue;
        _cleanup_close_ int fd = open_locks(dir, number, err);
        if (fd < 0)
            return -1;
        uint64_t count = (blocks - number - 1) / LOCK_FILES + 1;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t index = (start / LOCK_FILES + i) % count * LOCK_FILES + number;
            struct flock lock = {
                .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)index, .l_len = 1};
            if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
                *ret_index = index;
                return TAKE_FD(fd);
            }
            if (errno != EAGAIN && errno != EACCES)
                return error_set(err, "ids.lock", errno, "cannot lock a block of user ids");
        }
    }
    error_set(err, "ids.exhausted", 0, "all %llu blocks of user ids are in use",
              (unsigned long long)blocks);
    return error_hint(err,
                      "end some sandboxes, or give user `cloche` a larger range in /etc/subuid");
}

static void map_add(struct arena *a, struct spec_id_map **map, size_t *count, uint32_t inside,
                    uint32_t outside, uint32_t size)
{
    *map = arena_grow(a, *map, *count, sizeof **map);
    (*map)[(*count)++] = (struct spec_id_map){inside, outside, size};
}

static bool mapped(const struct spec_id_map *map, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (id >= map[i].container_id && id - map[i].container_id < map[i].size)
            return true;
    }
    return false;
}

bool idmap_has_gid(const struct idmap *m, uint32_t gid)
{
    return m->gid_count == 0 || mapped(m->gid, m->gid_count, gid);
}

static int choose_block(struct idmap *m, struct arena *a, struct error *err)
{
    uint64_t first, size, gid_first, gid_size, blocks = BLOCK_COUNT, every = BLOCK_EVERY;
    if (idmap_subid_range("/etc/subuid", "cloche", "cloche", BLOCK_SIZE, &first, &size)) {
        if (!idmap_subid_range("/etc/subgid", "cloche", "cloche", BLOCK_SIZE, &gid_first,
                               &gid_size) ||
            gid_first != first) {
            error_set(err, "ids.subgid", 0,
                      "user cloche has a range in /etc/subuid but not the same in /etc/subgid");
            return error_hint(err, "give cloche the same line in both files");
        }
        blocks = (gid_size < size ? gid_size : size) / BLOCK_SIZE;
        every = BLOCK_SIZE; /* all that was given */
    } else {
        first = BLOCK_FIRST;
    }
    uint64_t index = 0;
    m->lock_fd = lock_block(blocks, &index, err);
    if (m->lock_fd < 0)
        return -1;
    uint32_t base = (uint32_t)(first + index * every);
    map_add(a, &m->uid, &m->uid_count, 0, base, BLOCK_SIZE);
    map_add(a, &m->gid, &m->gid_count, 0, base, BLOCK_SIZE);
    return 0;
}

/** An ordinary user: its own id under the program's id, and, when the spec needs more than that one
 * (further groups), the ranges that /etc/subuid and /etc/subgid give it. */
static int choose_own(struct idmap *m, const struct spec *spec, struct arena *a, struct error *err)
{
    map_add(a, &m->uid, &m->uid_count, spec->uid, geteuid(), 1);
    map_add(a, &m->gid, &m->gid_count, spec->gid, getegid(), 1);
    if (spec->additional_gid_count == 0) {
        m->deny_setgroups = true;
        return 0;
    }
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)geteuid());
    const struct passwd *pw = getpwuid(geteuid());
    uint64_t first, size;
    if (!idmap_subid_range("/etc/subgid", pw != NULL ? pw->pw_name : number, number,
                           spec->additional_gid_count, &first, &size)) {
        error_set(err, "ids.subgid", 0,
                  "user %s has no range in /etc/subgid for the additional groups", number);
        return error_hint(
            err, "usermod --add-subgids 100000-165535 %s, or leave out the additional groups",
            pw != NULL ? pw->pw_name : number);
    }
    for (size_t i = 0; i < spec->additional_gid_count; i++) {
        gid_t gid = spec->additional_gids[i];
        if (!mapped(m->gid, m->gid_count, gid))
            map_add(a, &m->gid, &m->gid_count, gid, (uint32_t)(first + i), 1);
    }
    m->by_helper = true;
    return 0;
}

static int read_map(struct arena *a, pid_t pid, const char *file, struct spec_id_map **ret,
                    size_t *ret_count, struct error *err)
{
    char path[48], text[16384];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    ssize_t n = io_read_file_at(AT_FDCWD, path, text, sizeof text);
    char *at = n > 0 ? text : NULL;
    while (at != NULL && *at != '\0') {
        unsigned inside, outside, size;
        int used = 0;
        if (sscanf(at, " %u %u %u %n", &inside, &outside, &size, &used) != 3)
            break;
        map_add(a, ret, ret_count, inside, outside, size);
        at += used;
    }
    if (at != NULL && *at == '\0' && *ret_count > 0)
        return 0;
    error_set(err, "ids.map", n < 0 ? errno : 0, "the user namespace to join has no id maps (%s)",
              file);
    return error_hint(err, "write them before anybody joins");
}

_Noreturn void idmap_stay(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(1);
    for (;;)
        pause();
}

static _Noreturn void stay_in(int userns, int ready, pid_t parent)
{
    /* in there somebody else may be root */
    int failed = prctl(PR_SET_DUMPABLE, 0) < 0 || setns(userns, CLONE_NEWUSER) < 0 ? errno : 0;
    if (write(ready, &failed, sizeof failed) < 0)
        _exit(1);
    idmap_stay(parent);
}

/** The maps of a namespace can be read of a process in it only: one that lives for that moment. */
static int choose_joined(struct idmap *m, const struct spec *spec, int userns, struct arena *a,
                         struct error *err)
{
    int ready[2], failed = 0;
    char path[48], groups[16];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return error_set(err, "ids.map", errno, "cannot look into the user namespace to join");
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t parent = getpid(), pid = sys_clone3(&args);
    if (pid == 0)
        stay_in(userns, ready[1], parent);
    int saved = errno;
    close(ready[1]);
    ssize_t got = pid < 0 ? -1 : read(ready[0], &failed, sizeof failed);
    close(ready[0]);
    int rc = 0;
    if (got != (ssize_t)sizeof failed || failed != 0) {
        error_set(err, "sandbox.namespace", pid < 0 ? saved : failed,
                  "cannot join user namespace \"%s\"", spec->ns_path[NS_USER]);
        error_path(err, spec->ns_path[NS_USER]);
        rc = error_hint(err, "it takes root, or a user namespace that this user made");
    } else if (read_map(a, pid, "uid_map", &m->uid, &m->uid_count, err) < 0 ||
               read_map(a, pid, "gid_map", &m->gid, &m->gid_count, err) < 0) {
        rc = -1;
    }
    snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
    m->deny_setgroups = rc == 0 && io_read_file_at(AT_FDCWD, path, groups, sizeof groups) > 0 &&
                        strncmp(groups, "deny", 4) == 0;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
    }
    m->joined = true;
    if (rc == 0 && m->deny_setgroups && spec->additional_gid_count > 0) {
        error_set(err, "ids.groups", 0, "the user namespace to join denies additional groups");
        rc = error_hint(err, "leave process.user.additionalGids out");
    }
    return rc;
}

int idmap_choose(struct idmap *m, const struct spec *spec, int joined, bool privileged,
                 struct arena *a, struct error *err)
{
    m->lock_fd = -1;
    if (joined >= 0) {
        if (choose_joined(m, spec, joined, a, err) < 0)
            return -1;
    } else if (spec->uid_map_count != 0) {
        m->uid = spec->uid_maps;
        m->uid_count = spec->uid_map_count;
        m->gid = spec->gid_maps;
        m->gid_count = spec->gid_map_count;
        bool single = m->uid_count == 1 && m->gid_count == 1 && m->uid[0].size == 1 &&
                      m->gid[0].size == 1 && m->uid[0].host_id == geteuid() &&
                      m->gid[0].host_id == getegid();
        m->by_helper = !privileged && !single;
        m->deny_setgroups = !privileged && single;
    } else if (privileged) {
        if (choose_block(m, a, err) < 0)
            return -1;
    } else if (choose_own(m, spec, a, err) < 0) {
        return -1;
    }
    if (!mapped(m->uid, m->uid_count, spec->uid) || !mapped(m->gid, m->gid_count, spec->gid)) {
        error_set(err, "ids.unmapped", 0,
                  "user %u:%u of the program is not in the id maps of the sandbox",
                  (unsigned)spec->uid, (unsigned)spec->gid);
        return error_hint(err, "choose ids below 65536, or give linux.uidMappings and "
                               "linux.gidMappings that hold them");
    }
    m->setup_uid = mapped(m->uid, m->uid_count, 0) ? 0 : spec->uid;
    m->setup_gid = mapped(m->gid, m->gid_count, 0) ? 0 : spec->gid;
    return 0;
}

void idmap_release(struct idmap *m)
{
    if (m->lock_fd >= 0)
        close(m->lock_fd);
    m->lock_fd = -1;
}

int proc_check(struct error *err)
{
    struct statfs fs;
    char self[16] = "", own[16];
    snprintf(own, sizeof own, "%d", (int)getpid());
    if (statfs("/proc", &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
        error_set(err, "proc.missing", 0, "there is no procfs at /proc");
    } else if (readlink("/proc/self", self, sizeof self - 1) < 0 || strcmp(self, own) != 0) {
        error_set(err, "proc.foreign", 0, "the procfs at /proc is another PID namespace's");
    } else if ((fs.f_flags & ST_RDONLY) != 0) {
        error_set(err, "proc.read_only", 0, "/proc is mounted read-only");
        return error_hint(err, "mount -o remount,bind,rw /proc");
    } else {
        return 0;
    }
    return error_hint(err, "mount -t proc proc /proc");
}

#define INITIAL_USERNS 0xEFFFFFFDU /* linux/proc_ns.h: PROC_USER_INIT_INO */

int idmap_all_ids(struct error *err)
{
    struct stat userns;
    if (stat("/proc/self/ns/user", &userns) == 0)
        return userns.st_ino == INITIAL_USERNS;
    int saved = errno;
    if (proc_check(err) < 0)
        return error_wrap(err, "cannot write the id map of the sandbox");
    return error_set(err, "ids.map", saved, "cannot find one's own user namespace");
}

static int write_map(pid_t pid, const char *file, const struct spec_id_map *map, size_t count,
                     struct error *err)
{
    char path[64], text[4096];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(text + used, sizeof text - used, "%u %u %u\n", map[i].container_id,
                         map[i].host_id, map[i].size);
        if (n < 0 || (size_t)n >= sizeof text - used)
            return error_set(err, "ids.map", E2BIG, "too many id mappings");
        used += (size_t)n;
    }
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    if (io_write_file_at(AT_FDCWD, path, text) < 0) {
        error_set(err, "ids.map", errno, "cannot write the id map of the sandbox (%s)", path);
        return error_hint(err, "cloche doctor shows which ids this user may map");
    }
    return 0;
}

static int run_helper(const char *program, pid_t pid, const struct spec_id_map *map, size_t count,
                      struct error *err)
{
    char numbers[64][3][12], pid_text[12];
    char *argv[2 + 64 * 3 + 1];
    size_t n = 0;
    if (count > 64)
        return error_set(err, "ids.map", E2BIG, "too many id mappings");
    char name[32];
    snprintf(name, sizeof name, "%s", program);
    snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
    argv[n++] = name;
    argv[n++] = pid_text;
    for (size_t i = 0; i < count; i++) {
        const uint32_t values[3] = {map[i].container_id, map[i].host_id, map[i].size};
        for (int j = 0; j < 3; j++) {
            snprintf(numbers[i][j], sizeof numbers[i][j], "%u", values[j]);
            argv[n++] = numbers[i][j];
        }
    }
    argv[n] = NULL;

    pid_t helper;
    char *env[] = {NULL};
    int status, rc = posix_spawnp(&helper, program, NULL, NULL, argv, env);
    if (rc != 0) {
        error_set(err, "ids.helper", rc, "cannot run %s", program);
        return error_hint(err, "install the package uidmap");
    }
    pid_t waited;
    do
        waited = waitpid(helper, &status, 0);
    while (waited < 0 && errno == EINTR);
    /* ECHILD: the caller ignores SIGCHLD, and init finds out */
    if ((waited < 0 && errno != ECHILD) || (waited >= 0 && status != 0)) {
        error_set(err, "ids.helper", 0, "%s refused the id mappings of the sandbox", program);
        return error_hint(err, "give this user matching ranges in /etc/subuid and /etc/subgid");
    }
    return 0;
}

int idmap_write(const struct idmap *m, pid_t pid, struct error *err)
{
    if (m->joined)
        return 0;
    /* in another PID namespace's, this number is another process */
    if (proc_check(err) < 0)
        return error_wrap(err, "cannot write the id map of the sandbox");
    if (m->by_helper) {
        if (run_helper("newuidmap", pid, m->uid, m->uid_count, err) < 0)
            return -1;
        return run_helper("newgidmap", pid, m->gid, m->gid_count, err);
    }
    if (m->deny_setgroups) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
        if (io_write_file_at(AT_FDCWD, path, "deny") < 0)
            return error_set(err, "ids.map", errno, "cannot write %s", path);
    }
    if (write_map(pid, "uid_map", m->uid, m->uid_count, err) < 0)
        return -1;
    return write_map(pid, "gid_map", m->gid, m->gid_count, err);
}
