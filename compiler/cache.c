#include "compiler/cache.h"

#include "base/io.h"
#include "base/state.h"

#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

struct counters {
    uint64_t magic, bytes, hits, misses, stored, evicted, poisoned;
};
#define COUNTERS_MAGIC 0x31737461747363ULL

struct cache {
    int dir;   /* <state>/cache/artifacts */
    int stats; /* -1: counters cannot be kept */
    uint64_t max_bytes;
};

/* --- digests ------------------------------------------------------------------------------------
 */

void digest_to_hex(const unsigned char digest[32], char ret_hex[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[64] = '\0';
}

void digest_bytes(const void *data, size_t size, char ret_hex[65])
{
    struct sha256_ctx ctx;
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, size, data);
    sha256_digest(&ctx, sizeof digest, digest);
    digest_to_hex(digest, ret_hex);
}

int digest_fd(int fd, char ret_hex[65], uint64_t *ret_size)
{
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    uint64_t at = 0;
    unsigned char buf[8192];
    for (;;) {
        ssize_t n = pread(fd, buf, sizeof buf, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        sha256_update(&ctx, (size_t)n, buf);
        at += (uint64_t)n;
    }
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_digest(&ctx, sizeof digest, digest);
    digest_to_hex(digest, ret_hex);
    *ret_size = at;
    return 0;
}

/* --- opening and counting --- */

struct cache *cache_open(struct error *err)
{
    _cleanup_close_ int top = state_open_dir("cache/artifacts", err);
    if (top < 0)
        return NULL;
    int dir = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        error_set(err, "cache.open", errno, "cannot open the cache directory");
        return NULL;
    }
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(dir);
        return NULL;
    }
    c->dir = dir;
    c->stats = openat(dir, "../artifacts.stats", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    c->max_bytes = CACHE_BYTES_DEFAULT;
    const char *max = getenv("CLOCHE_CACHE_BYTES");
    uint64_t bytes;
    if (max != NULL && io_parse_u64(max, &bytes))
        c->max_bytes = bytes;
    return c;
}

void cache_close(struct cache *c)
{
    if (c == NULL)
        return;
    close(c->dir);
    if (c->stats >= 0)
        close(c->stats);
    free(c);
}

static void counters_read(const struct cache *c, struct counters *n)
{
    if (c->stats < 0 || pread(c->stats, n, sizeof *n, 0) != sizeof *n || n->magic != COUNTERS_MAGIC)
        *n = (struct counters){.magic = COUNTERS_MAGIC};
}

static void counters_write(const struct cache *c, const struct counters *n)
{
    if (c->stats >= 0 && pwrite(c->stats, n, sizeof *n, 0) < 0)
        return; /* a full disk costs the count, nothing else */
}

static void lock(const struct cache *c)
{
    while (c->stats >= 0 && flock(c->stats, LOCK_EX) < 0 && errno == EINTR)
        ;
}

static void unlock(const struct cache *c)
{
    if (c->stats >= 0)
        flock(c->stats, LOCK_UN);
}

static void count(struct cache *c, size_t offset)
{
    struct counters n;
    lock(c);
    counters_read(c, &n);
    (*(uint64_t *)((char *)&n + offset))++;
    counters_write(c, &n);
    unlock(c);
}
#define COUNT(c, member) count(c, offsetof(struct counters, member))

/* --- lookup and store --- */

static uint64_t remove_entry(int dir, const char *name)
{
    static const char *const files[] = {"entry", "artifact"};
    uint64_t bytes = 0;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    for (size_t i = 0; fd >= 0 && i < 2; i++) {
        if (fstatat(fd, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            unlinkat(fd, files[i], S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0)
            bytes += (uint64_t)st.st_size;
    }
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno == ENOTDIR)
        unlinkat(dir, name, 0); /* somebody else's file, or a link */
    return bytes;
}

static bool deps_hold(const struct cache_entry *e, cache_project_fn *project, const void *data)
{
    for (size_t i = 0; i < e->dep_count; i++) {
        const struct cache_dep *d = &e->deps[i];
        struct stat st;
        if (d->digest != NULL) {
            const char *now = project == NULL ? NULL : project(data, d->path);
            if (now == NULL || strcmp(now, d->digest) != 0)
                return false;
        } else if (stat(d->path, &st) < 0 || (uint64_t)st.st_size != d->size ||
                   st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec != d->mtime_ns) {
            return false;
        }
    }
    return true;
}

static void poisoned(struct cache *c, const char *key)
{
    struct counters n;
    lock(c);
    counters_read(c, &n);
    uint64_t bytes = remove_entry(c->dir, key);
    n.bytes -= bytes < n.bytes ? bytes : n.bytes;
    n.poisoned++;
    counters_write(c, &n);
    unlock(c);
}

/* 1 good, 0 nothing there, -1 bad; @ret_inode says which directory was read */
static int read_once(struct cache *c, struct arena *a, const char *key, struct cache_entry *e,
                     ino_t *ret_inode)
{
    _cleanup_close_ int dir = openat(c->dir, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : -1;
    struct stat st;
    if (fstat(dir, &st) == 0)
        *ret_inode = st.st_ino;
    _cleanup_close_ int fd = openat(dir, "entry", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : -1; /* being removed */
    if (!S_ISREG(st.st_mode) || st.st_size < 0 || st.st_size > CACHE_ENTRY_MAX)
        return -1;
    size_t size = (size_t)st.st_size;
    char *text = arena_alloc(a, size + 1);
    if (io_read_full(fd, text, size) != (ssize_t)size || !entry_read(a, text, size, e))
        return -1;
    /* the entry's time of last use, for eviction */
    futimens(fd, NULL);
    e->artifact_fd = -1;
    if (e->digest[0] == '\0')
        return 1;

    _cleanup_close_ int artifact =
        openat(dir, "artifact", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char digest[65];
    uint64_t bytes;
    if (artifact < 0 || fstat(artifact, &st) < 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != e->artifact_bytes || digest_fd(artifact, digest, &bytes) < 0 ||
        strcmp(digest, e->digest) != 0)
        return -1;
    e->artifact_fd = TAKE_FD(artifact);
    return 1;
}

/* An entry that is replaced or evicted under the reader looks torn; it is bad only when it is still
 * the one that stands there. */
static int read_whole(struct cache *c, struct arena *a, const char *key, struct cache_entry *e)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        ino_t inode = 0;
        struct stat now;
        *e = (struct cache_entry){.artifact_fd = -1};
        int found = read_once(c, a, key, e, &inode);
        if (found >= 0)
            return found;
        if (fstatat(c->dir, key, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            (inode == 0 || now.st_ino == inode))
            return -1;
    }
    return 0;
}

int cache_lookup(struct cache *c, struct arena *a, const char key[65], cache_project_fn *project,
                 const void *data, struct cache_entry *ret)
{
    if (c == NULL)
        return 0;
    struct cache_entry e = {.artifact_fd = -1};
    int found = read_whole(c, a, key, &e);
    if (found < 0)
        poisoned(c, key);
    if (found > 0 && deps_hold(&e, project, data)) {
        COUNT(c, hits);
        *ret = e;
        return 1;
    }
    if (e.artifact_fd >= 0)
        close(e.artifact_fd);
    COUNT(c, misses);
    return 0;
}

struct candidate {
    char name[65];
    struct timespec used;
    uint64_t bytes;
};

static int older_first(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->used.tv_sec != b->used.tv_sec)
        return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
    return a->used.tv_nsec < b->used.tv_nsec ? -1 : a->used.tv_nsec > b->used.tv_nsec;
}

static bool is_key(const char *name)
{
    return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* Every entry; the array is malloc'ed. Stale stages of killed writers are swept when @sweep. */
static struct candidate *list_entries(const struct cache *c, bool sweep, size_t *ret_count)
{
    struct candidate *list = NULL;
    size_t n = 0, room = 0;
    int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (sweep && strncmp(e->d_name, "stage-", 6) == 0)
            remove_entry(c->dir, e->d_name);
        if (!is_key(e->d_name))
            continue;
        if (n == room) {
            room = room == 0 ? 256 : room * 2;
            struct candidate *grown = realloc(list, room * sizeof *list);
            if (grown == NULL)
                break;
            list = grown;
        }
        struct candidate *k = &list[n++];
        *k = (struct candidate){0};
        memcpy(k->name, e->d_name, sizeof k->name);
        char path[128];
        struct stat st;
        snprintf(path, sizeof path, "%s/artifact", k->name);
        if (fstatat(c->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            k->bytes += (uint64_t)st.st_size;
        snprintf(path, sizeof path, "%s/entry", k->name);
        if (fstatat(c->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            k->bytes += (uint64_t)st.st_size;
            k->used = st.st_mtim;
        }
    }
    *ret_count = n;
    return list;
}

/* Down to nine tenths, the longest unused first, so that not every store has to look. */
static void evict(struct cache *c, struct counters *n)
{
    size_t count_;
    _cleanup_free_ struct candidate *list = list_entries(c, false, &count_);
    if (list == NULL)
        return;
    qsort(list, count_, sizeof *list, older_first);
    n->bytes = 0;
    for (size_t i = 0; i < count_; i++)
        n->bytes += list[i].bytes;
    uint64_t goal = c->max_bytes - c->max_bytes / 10;
    for (size_t i = 0; i < count_ && n->bytes > goal; i++) {
        remove_entry(c->dir, list[i].name);
        n->bytes -= list[i].bytes;
        n->evicted++;
    }
}

static int copy_fd(int from, int to, uint64_t size)
{
    off_t at = 0;
    while ((uint64_t)at < size) {
        ssize_t n = sendfile(to, from, &at, size - (uint64_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
    }
    return 0;
}

static int write_stage(int stage, const char *text, size_t size, const struct cache_entry *e)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    if (e->artifact_fd >= 0) {
        _cleanup_close_ int fd = openat(stage, "artifact", flags, 0400);
        if (fd < 0 || copy_fd(e->artifact_fd, fd, e->artifact_bytes) < 0)
            return -1;
    }
    _cleanup_close_ int fd = openat(stage, "entry", flags, 0600);
    return fd < 0 ? -1 : io_write_all(fd, text, size);
}

void cache_store(struct cache *c, const char key[65], const struct cache_entry *e)
{
    if (c == NULL || e->artifact_bytes > c->max_bytes / 4)
        return;
    size_t size;
    _cleanup_free_ char *text = entry_write(e, &size);
    if (text == NULL)
        return;
    static unsigned serial;
    char name[64];
    snprintf(name, sizeof name, "stage-%d-%u", (int)getpid(), serial++);
    if (mkdirat(c->dir, name, 0700) < 0)
        return;
    _cleanup_close_ int stage = openat(c->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stage < 0 || write_stage(stage, text, size, e) < 0) {
        remove_entry(c->dir, name);
        return;
    }

    struct counters n;
    lock(c);
    counters_read(c, &n);
    uint64_t old = 0;
    bool placed = renameat(c->dir, name, c->dir, key) == 0;
    if (!placed && renameat2(c->dir, name, c->dir, key, RENAME_EXCHANGE) == 0) {
        placed = true;
        old = remove_entry(c->dir, name);
    }
    if (placed) {
        n.stored++;
        n.bytes += size + e->artifact_bytes;
        n.bytes -= old < n.bytes ? old : n.bytes;
        if (n.bytes > c->max_bytes)
            evict(c, &n);
        counters_write(c, &n);
    } else {
        remove_entry(c->dir, name);
    }
    unlock(c);
}

/* --- for people ---------------------------------------------------------------------------------
 */

static void fill_stats(struct cache *c, const struct counters *n, const struct candidate *list,
                       size_t entries, struct cache_stats *ret)
{
    *ret = (struct cache_stats){.entries = entries,
                                .max_bytes = c->max_bytes,
                                .hits = n->hits,
                                .misses = n->misses,
                                .stored = n->stored,
                                .evicted = n->evicted,
                                .poisoned = n->poisoned};
    for (size_t i = 0; i < entries; i++)
        ret->bytes += list[i].bytes;
}

int cache_stats(struct cache_stats *ret, struct error *err)
{
    _cleanup_cache_ struct cache *c = cache_open(err);
    if (c == NULL)
        return -1;
    struct counters n;
    counters_read(c, &n);
    size_t entries;
    _cleanup_free_ struct candidate *list = list_entries(c, false, &entries);
    fill_stats(c, &n, list, entries, ret);
    return 0;
}

int cache_clear(struct error *err)
{
    _cleanup_cache_ struct cache *c = cache_open(err);
    if (c == NULL)
        return -1;
    lock(c);
    size_t entries;
    _cleanup_free_ struct candidate *list = list_entries(c, true, &entries);
    for (size_t i = 0; i < entries; i++)
        remove_entry(c->dir, list[i].name);
    size_t left;
    free(list_entries(c, false, &left));
    struct counters n;
    counters_read(c, &n);
    n.bytes = 0;
    counters_write(c, &n);
    unlock(c);
    if (left > 0)
        return error_set(err, "cache.clear", 0, "%zu of %zu cache entries cannot be removed", left,
                         entries);
    return (int)entries;
}

int cache_verify(struct cache_stats *ret, struct error *err)
{
    _cleanup_cache_ struct cache *c = cache_open(err);
    if (c == NULL)
        return -1;
    size_t entries;
    int bad = 0;
    _cleanup_free_ struct candidate *list = list_entries(c, false, &entries);
    for (size_t i = 0; i < entries; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct cache_entry e = {.artifact_fd = -1};
        struct timespec used[2] = {{.tv_nsec = UTIME_OMIT}, list[i].used};
        char path[128];
        if (read_whole(c, a, list[i].name, &e) < 0) {
            poisoned(c, list[i].name);
            bad++;
            continue;
        }
        if (e.artifact_fd >= 0)
            close(e.artifact_fd);
        snprintf(path, sizeof path, "%s/entry", list[i].name);
        utimensat(c->dir, path, used, AT_SYMLINK_NOFOLLOW);
    }
    struct counters n;
    counters_read(c, &n);
    _cleanup_free_ struct candidate *rest = list_entries(c, false, &entries);
    fill_stats(c, &n, rest, entries, ret);
    return bad;
}
