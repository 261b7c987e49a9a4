/**
 * Compiled once, answered many times. Private to compiler/; stats, clear, verify are in compiler.h.
 *
 * <state>/cache/artifacts/<key>/entry     what came out, which files it depends on, diagnostics,
 * log <state>/cache/artifacts/<key>/artifact  the bytes <state>/cache/artifacts.stats counters; its
 * flock orders writers
 *
 * A key covers everything known before compiling (sources, flags, tool). What only the compile
 * tells, the headers it read, stands in the entry and is compared on every lookup: files of the
 * system by size and mtime, files of the project by content.
 *
 * An entry is staged beside its place and renamed into it, so a reader sees a whole one or none;
 * readers take no lock. `entry` ends with the SHA-256 of itself and names that of the artifact:
 * both are checked on every hit, and an entry that fails is removed and counted as poisoned.
 * Nothing here is needed for a compile to succeed: a cache that cannot be read or written is a
 * cache that never hits.
 */
#ifndef CLOCHE_COMPILER_CACHE_H
#define CLOCHE_COMPILER_CACHE_H

#include "compiler/compiler.h"

#define CACHE_BYTES_DEFAULT (1ULL << 30) /* CLOCHE_CACHE_BYTES overrides */
#define CACHE_ENTRY_MAX     (16U << 20)
#define CACHE_DEPS_MAX      20000

struct cache_dep {
    const char *path;   /* host path; or path in the snapshot when @digest is set */
    const char *digest; /* SHA-256 (hex) of a project file; NULL: a system file */
    uint64_t size;
    int64_t mtime_ns;
};

struct cache_entry {
    enum verdict verdict;
    int artifact_fd; /* -1: none */
    uint64_t artifact_bytes;
    char digest[65];
    double wall_ms, cpu_ms;
    uint64_t memory_peak_bytes;
    struct cache_dep *deps;
    size_t dep_count;
    const char *diagnostics; /* JSON, "" for none */
    size_t diagnostics_size;
    const char *log;
    size_t log_size;
    const char *detail;
};

struct cache;

/** NULL when there is no usable cache: every other call accepts that. */
struct cache *cache_open(struct error *err);
void cache_close(struct cache *c);

/** The current digest of a project file, or NULL when it is gone. */
typedef const char *cache_project_fn(const void *data, const char *path);

/** 1: a hit, @ret is filled (its memory in @a, its fd the caller's); 0: a miss. */
int cache_lookup(struct cache *c, struct arena *a, const char key[65], cache_project_fn *project,
                 const void *data, struct cache_entry *ret);

/** Keep it, replacing what was there. Failures are silent: see above. */
void cache_store(struct cache *c, const char key[65], const struct cache_entry *entry);

/** The text of an entry, to be freed by the caller; NULL when it is not one that is kept. */
char *entry_write(const struct cache_entry *e, size_t *ret_size);

/** Back from @text, which is changed and stays part of @e. False: torn or tampered with. */
bool entry_read(struct arena *a, char *text, size_t size, struct cache_entry *e);

/** SHA-256 of everything an fd has, from its start, and the size. -1 with errno. */
int digest_fd(int fd, char ret_hex[65], uint64_t *ret_size);
void digest_bytes(const void *data, size_t size, char ret_hex[65]);
void digest_to_hex(const unsigned char digest[32], char ret_hex[65]);

static inline void cleanup_cache(struct cache **c)
{
    cache_close(*c);
}
#define _cleanup_cache_ __attribute__((cleanup(cleanup_cache)))

#endif
