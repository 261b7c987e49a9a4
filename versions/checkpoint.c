#include "versions/state.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "config/spec.h"
#include "versions/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define KEPT        "left-"
#define ARENA_BLOCK (64u * 1024) /* a divisor of STATE_ARENA_AT */

static const char *const slot_names[] = {[STATE_GOOD] = "good", [STATE_PROBATION] = "probation"};

/* Of the header without it, the bytes, and the arena's blocks that are not all zero, each with its
 * number in front: which of the others are holes is each file system's own affair. */
static void digest_begin(struct sha256_ctx *sha, const struct state_header *header,
                         const unsigned char *bytes, size_t size)
{
    struct state_header h = *header;
    memset(h.digest, 0, sizeof h.digest);
    sha256_init(sha);
    sha256_update(sha, sizeof h, (const uint8_t *)&h);
    sha256_update(sha, size, bytes);
}

/** The arena of @from into @to, which is as long already, and into the digest; holes stay holes. */
static int copy_arena(int from, int to, uint64_t arena_bytes, struct sha256_ctx *sha)
{
    static const unsigned char zero[ARENA_BLOCK];
    _cleanup_free_ unsigned char *block = malloc(ARENA_BLOCK);
    uint64_t end = STATE_ARENA_AT + arena_bytes;
    if (block == NULL)
        return -1;
    for (off_t at = STATE_ARENA_AT;; at += ARENA_BLOCK) {
        at = lseek(from, at, SEEK_DATA);
        if (at < 0 && errno == ENXIO)
            return 0;
        if (at < 0)
            return -1;
        at = at / ARENA_BLOCK * ARENA_BLOCK;
        if ((uint64_t)at >= end)
            return 0;
        size_t size = end - (uint64_t)at < ARENA_BLOCK ? (size_t)(end - (uint64_t)at) : ARENA_BLOCK;
        const uint64_t number = (uint64_t)at / ARENA_BLOCK;
        if (pread(from, block, size, at) != (ssize_t)size) {
            errno = errno != 0 ? errno : EIO;
            return -1;
        }
        if (memcmp(block, zero, size) == 0)
            continue;
        sha256_update(sha, sizeof number, (const uint8_t *)&number);
        sha256_update(sha, size, block);
        if (pwrite(to, block, size, at) != (ssize_t)size)
            return -1;
    }
}

static int make_dir(int dir, const char *path, const char *parent)
{
    if (disk_mkdir(dir, path, 0700) == 0)
        return disk_fsync_dir(dir, parent);
    return errno == EEXIST ? 0 : -1;
}

/* state/<module> of the sandbox, made when missing and wanted */
static int open_slots(int dir, const char *module, bool make, struct error *err)
{
    char path[128];
    if (!spec_valid_id(module))
        return error_set(err, "state.foreign", 0, "\"%s\" is not a module name", module);
    snprintf(path, sizeof path, "state/%s", module);
    if (make && (make_dir(dir, "state", ".") < 0 || make_dir(dir, path, "state") < 0))
        return error_set(err, errno == ENOSPC ? "state.full" : "state.unwritable", errno,
                         "cannot make the checkpoint directory of module \"%s\"", module);
    int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno == ENOENT ? "state.none" : "state.unreadable", errno,
                         "checkpoints of module \"%s\"", module);
    return fd;
}

/** Behind what is in the staged file already; then the digest, which is known only now. */
static int write_arena(int slots, const char *staged, int snapshot, struct state_header *h,
                       struct sha256_ctx *sha)
{
    uint64_t bytes = (uint64_t)h->arena_pages * STATE_ARENA_PAGE;
    if (disk_check("write", staged) < 0)
        return -1;
    _cleanup_close_ int fd = openat(slots, staged, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(STATE_ARENA_AT + bytes)) < 0 ||
        copy_arena(snapshot, fd, bytes, sha) < 0)
        return -1;
    sha256_digest(sha, sizeof h->digest, h->digest);
    return pwrite(fd, h, sizeof *h, 0) == (ssize_t)sizeof *h ? 0 : -1;
}

static int write_slot(int slots, const char *name, const unsigned char *data, size_t size,
                      int snapshot, struct state_header *h, struct sha256_ctx *sha, bool durable)
{
    char staged[32];
    snprintf(staged, sizeof staged, ".%s.new", name);
    unlinkat(slots, staged, 0);
    if (disk_write_file(slots, staged, data, size, 0600) < 0)
        return -1;
    if ((h->arena_pages != 0 && write_arena(slots, staged, snapshot, h, sha) < 0) ||
        (durable && disk_fsync_file(slots, staged) < 0) ||
        disk_rename(slots, staged, slots, name) < 0) {
        int errnum = errno;
        unlinkat(slots, staged, 0);
        errno = errnum;
        return -1;
    }
    return durable ? disk_fsync_dir(slots, ".") : 0;
}

static int save_as(int dir, const char *name, int snapshot, const struct state_expect *expect,
                   bool durable, struct error *err)
{
    struct state_reader r;
    _cleanup_close_ int slots = open_slots(dir, expect->module, true, err);
    if (slots < 0 || state_reader_open(&r, snapshot, expect, err) < 0)
        return -1;
    struct state_header h = r.header;
    size_t length = (size_t)h.length_bytes, size = sizeof h + length;
    _cleanup_free_ unsigned char *data = malloc(size);
    int rc = data == NULL ? -1 : cloche_read(&r.api, data + sizeof h, length);
    state_reader_close(&r);
    if (rc < 0)
        /* cppcheck-suppress memleak ; _cleanup_free_ */
        return error_set(err, "state.unwritable", ENOMEM, "checkpoint of module \"%s\"",
                         expect->module);
    struct sha256_ctx sha;
    h.has_digest = 1;
    digest_begin(&sha, &h, data + sizeof h, length);
    if (h.arena_pages == 0)
        sha256_digest(&sha, sizeof h.digest, h.digest);
    memcpy(data, &h, sizeof h);

    if (write_slot(slots, name, data, size, snapshot, &h, &sha, durable) < 0)
        return error_set(
            err, errno == ENOSPC || errno == EDQUOT ? "state.full" : "state.unwritable", errno,
            "cannot write the %s checkpoint of module \"%s\"", name, expect->module);
    return 0;
}

int state_save(int dir, enum state_slot slot, int snapshot, const struct state_expect *expect,
               bool durable, struct error *err)
{
    return save_as(dir, slot_names[slot], snapshot, expect, durable, err);
}

/* a sealed copy, so that what is loaded is judged by the same rules as what is handed over */
static int to_snapshot(const void *data, size_t size, int file, const struct state_header *h,
                       struct sha256_ctx *sha, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("cloche-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint64_t arena = (uint64_t)h->arena_pages * STATE_ARENA_PAGE;
    if (fd < 0 || io_write_all(fd, data, size) < 0 ||
        (arena > 0 && (ftruncate(fd, (off_t)(STATE_ARENA_AT + arena)) < 0 ||
                       copy_arena(file, fd, arena, sha) < 0)) ||
        io_seal(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_set(err, "state.memfd", errno, "cannot hold a checkpoint in memory");
    return TAKE_FD(fd);
}

/** All of a checkpoint but its arena, and the header when there is a whole one. EFBIG: it is not
 * worth reading. */
static ssize_t read_head(int file, uint64_t cap, const struct state_expect *expect, char **ret,
                         struct state_header *ret_header)
{
    struct state_header h;
    struct stat st;
    bool whole = pread(file, &h, sizeof h, 0) == (ssize_t)sizeof h && fstat(file, &st) == 0;
    uint64_t arena = whole ? (uint64_t)h.arena_pages * STATE_ARENA_PAGE : 0;
    if (arena > expect->arena_bytes) {
        errno = EFBIG;
        return -1;
    }
    if (whole)
        *ret_header = h;
    if (arena == 0)
        return io_read_to_end(file, (size_t)cap + sizeof h, ret);
    /* state_check() says so of the copy, whatever the lengths say */
    size_t size =
        sizeof h + (h.length_bytes < STATE_ARENA_AT - sizeof h ? (size_t)h.length_bytes : 0);
    *ret = malloc(size);
    if (*ret == NULL || (uint64_t)st.st_size != STATE_ARENA_AT + arena)
        ret_header->arena_pages = 0;
    return *ret == NULL ? -1 : pread(file, *ret, size, 0);
}

static int load_from(int dir, const char *name, const struct state_expect *expect, int *ret_fd,
                     struct state_header *ret, struct error *err)
{
    _cleanup_close_ int slots = open_slots(dir, expect->module, false, err);
    if (slots < 0)
        return -1;
    _cleanup_close_ int file = openat(slots, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return error_set(err, errno == ENOENT ? "state.none" : "state.unreadable", errno,
                         "%s checkpoint of module \"%s\"", name, expect->module);

    uint64_t cap = expect->cap_bytes != 0 ? expect->cap_bytes : STATE_DEFAULT_CAP;
    _cleanup_free_ char *data = NULL;
    struct state_header h = {0};
    ssize_t size = read_head(file, cap, expect, &data, &h);
    if (size < 0)
        return error_set(err, errno == EFBIG ? "state.too_large" : "state.unreadable", errno,
                         "%s checkpoint of module \"%s\"", name, expect->module);
    uint8_t digest[STATE_DIGEST_BYTES];
    struct sha256_ctx sha;
    size_t head = (size_t)size < sizeof h ? (size_t)size : sizeof h;
    digest_begin(&sha, &h, (const unsigned char *)data + head, (size_t)size - head);
    _cleanup_close_ int fd = to_snapshot(data, (size_t)size, file, &h, &sha, err);
    if (fd < 0 || state_check(fd, expect, &h, err) < 0)
        return -1;
    sha256_digest(&sha, sizeof digest, digest);
    if (h.has_digest != 1 || memcmp(digest, h.digest, sizeof digest) != 0)
        return error_set(err, "state.digest", 0, "the %s checkpoint of module \"%s\" is damaged",
                         name, expect->module);
    *ret = h;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int state_load(int dir, enum state_slot slot, const struct state_expect *expect, int *ret_fd,
               struct state_header *ret, struct error *err)
{
    return load_from(dir, slot_names[slot], expect, ret_fd, ret, err);
}

/* --- what was left --- */

static const char *kept_name(char *buf, size_t size, uint32_t version)
{
    snprintf(buf, size, KEPT "%u", version);
    return buf;
}

int state_keep(int dir, int snapshot, const struct state_expect *expect, struct error *err)
{
    char name[32];
    return save_as(dir, kept_name(name, sizeof name, expect->version), snapshot, expect, false,
                   err);
}

int state_kept(int dir, const struct state_expect *expect, int *ret_fd, struct state_header *ret,
               struct error *err)
{
    char name[32];
    return load_from(dir, kept_name(name, sizeof name, expect->version), expect, ret_fd, ret, err);
}

int state_prune(int dir, const char *module, bool (*wanted)(void *context, uint32_t version),
                void *context, struct error *err)
{
    struct error e = ERROR_INIT;
    int slots = open_slots(dir, module, false, &e);
    _cleanup_closedir_ DIR *d = slots < 0 ? NULL : fdopendir(slots);
    if (d == NULL) {
        if (slots < 0 && strcmp(e.code, "state.none") == 0)
            return 0;
        cleanup_close(&slots);
        return error_set(err, "state.unreadable", errno, "checkpoints of module \"%s\"", module);
    }
    for (struct dirent *f; (f = readdir(d)) != NULL;) {
        uint64_t version;
        if (strncmp(f->d_name, KEPT, sizeof KEPT - 1) == 0 &&
            io_parse_u64(f->d_name + sizeof KEPT - 1, &version) && version <= UINT32_MAX &&
            !wanted(context, (uint32_t)version))
            unlinkat(dirfd(d), f->d_name, 0);
    }
    return 0;
}

static int change_slots(int dir, const char *module, bool promote, enum state_slot slot,
                        struct error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_close_ int slots = open_slots(dir, module, false, &e);
    if (slots < 0) {
        if (strcmp(e.code, "state.none") == 0)
            return 0;
        if (err != NULL)
            *err = e;
        return -1;
    }
    int r = promote ? disk_rename(slots, slot_names[STATE_PROBATION], slots, slot_names[STATE_GOOD])
                    : disk_unlink(slots, slot_names[slot]);
    if ((r < 0 && errno != ENOENT) || (r == 0 && disk_fsync_dir(slots, ".") < 0))
        return error_set(err, "state.unwritable", errno, "cannot %s a checkpoint of module \"%s\"",
                         promote ? "promote" : "drop", module);
    return 0;
}

int state_promote(int dir, const char *module, struct error *err)
{
    return change_slots(dir, module, true, STATE_GOOD, err);
}

int state_drop(int dir, const char *module, enum state_slot slot, struct error *err)
{
    return change_slots(dir, module, false, slot, err);
}

int state_recover(int dir, const char *module, uint32_t good, struct error *err)
{
    const struct state_expect any = {
        .module = module, .version = good, .any_schema = true, .cap_bytes = SIZE_MAX / 2};
    struct state_header h;
    int fd = -1;
    if (good != 0 && state_load(dir, STATE_PROBATION, &any, &fd, &h, NULL) == 0) {
        close(fd);
        return state_promote(dir, module, err);
    }
    return state_drop(dir, module, STATE_PROBATION, err);
}
