/**
 * Hostile sources -> an artifact: one struct in (compile_job), one struct out (compile_result).
 *
 * Theory of operation. compile_run() walks a job as data:
 *
 *   sources   are read once, by fd, into memory (the snapshot): what is hashed is what is compiled,
 *             whatever happens to the files meanwhile. Links, devices and giants are refused here.
 *   key       SHA-256 over the snapshot, flags, toolchain (resolved program, size, mtime, version)
 *             and profile. The cache (cache.h) answers with an entry whose system headers are
 *             unchanged and whose digests still hold, or with nothing.
 *   jail      a one-shot sandbox with profile "compile": an empty root, the toolchain's directories
 *             and the sources (/src) read-only, scratch on a tmpfs, no network, fixed environment.
 *   artifact  the parent makes a memfd, the tool inside writes to it as /proc/self/fd/3. No path
 *             leads out: nothing inside can put a link, a FIFO or a device in its place, its memory
 *             is accounted to the jail, its size is capped by RLIMIT_FSIZE, and nobody waits on it.
 *             When the tree is dead the parent seals it, so what is hashed is what is delivered.
 *   result    diagnostics as data with the user's own paths, figures, and the artifact as an fd.
 *
 * A directory of several sources is compiled an object each, side by side, each object with a
 * cache entry of its own that knows which headers it read; one link follows.
 *
 * What runs inside is never trusted: dependency lists, diagnostics and artifacts are bytes from a
 * stranger, bounds-checked, and only ever data to the code out here.
 */
#ifndef CLOCHE_COMPILER_COMPILER_H
#define CLOCHE_COMPILER_COMPILER_H

#include "base/arena.h"
#include "base/error.h"
#include "config/toolchain.h"
#include "isolation/sandbox.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cJSON;

/* --- diagnostics ---------------------------------------------------------------------------- */

enum severity { SEVERITY_FATAL, SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE };

/** "fatal error", "error", "warning", "note" */
const char *severity_name(enum severity s);

/** Replace what stands from line:column up to, not including, end_line:end_column by @text. */
struct fixit {
    const char *file;
    unsigned line, column, end_line, end_column;
    const char *text;
};

struct diagnostic {
    enum severity severity;
    const char *file;      /* as the user named it; NULL: of the tool as a whole */
    unsigned line, column; /* from 1, columns in bytes; 0: not known */
    unsigned end_column;   /* last column of a range on that line; 0: none */
    const char *message;   /* UTF-8 without control characters */
    const char *option;    /* "-Wunused-variable", or NULL */
    const char *source;    /* the line concerned, cut at 400 bytes, or NULL */
    struct diagnostic *notes;
    size_t note_count;
    struct fixit *fixits;
    size_t fixit_count;
};

struct diagnostics {
    struct arena *arena;
    struct diagnostic *items;
    size_t count, errors, warnings;
    bool truncated; /* there were more than are kept */
};

struct diagnostics *diagnostics_new(void);
void diagnostics_free(struct diagnostics *d);

/** As a compiler shows them: file:line:column, severity, message, the line and a caret. */
void diagnostics_print(const struct diagnostics *d, FILE *out, bool color);

/** [{"severity", "file", "line", "column", "end_column", "message", "option", "source", "notes",
 * "fixits"}]; the caller deletes it. */
struct cJSON *diagnostics_to_json(const struct diagnostics *d);

/* --- the job -------------------------------------------------------------------------------- */

enum compile_kind { COMPILE_PROGRAM, COMPILE_MODULE };

struct compile_source {
    const char *path; /* a regular file or a directory; or the name (relative) of @data */
    const char *data; /* in memory when not NULL */
    size_t size;
};

struct compile_job {
    const char *toolchain; /* NULL: by the extension of the sources */
    const struct compile_source *sources;
    size_t source_count;
    const struct compile_source *headers; /* found by <NAME>; kept by the caller, as texts */
    size_t header_count;
    const char *const *flags; /* each must be on the toolchain's list */
    size_t flag_count;
    const char *const *defines; /* "NAME" or "NAME=VALUE" */
    size_t define_count;
    bool warnings_as_errors;
    enum compile_kind kind;
    bool no_cache;
    bool best_effort; /* compile even where a limit cannot be enforced */
    unsigned jobs;    /* objects at a time; 0: as many as processors */
    uint64_t wall_ms; /* 0: the profile's; the same for those below */
    uint64_t cpu_ms;
    uint64_t memory_bytes;
    uint64_t artifact_bytes;   /* 0: 256 MiB */
    const char *unless_source; /* nothing is compiled when the snapshot has this @source_digest */
};

#define COMPILE_ARTIFACT_MAX (256ULL << 20)
#define COMPILE_SOURCE_MAX   (16ULL << 20) /* a file */
#define COMPILE_SOURCES_MAX  (64ULL << 20) /* all of them */
#define COMPILE_FILES_MAX    4096

struct compile_result {
    enum verdict verdict; /* ok, compile_error, time_limit, memory_limit, ... */
    int artifact_fd;      /* read-only, at offset 0; -1 when there is none */
    uint64_t artifact_bytes;
    char digest[65];           /* SHA-256 of the artifact, hex; "" when there is none */
    const char *toolchain;     /* its name, of the arena */
    const char *artifact_name; /* what the artifact wants to be called: "program", "main.py" */
    struct strings run;        /* argv template of the toolchain: {program} */
    struct strings paths;      /* what of the host the toolchain needs to be seen */
    double wall_ms, cpu_ms;
    uint64_t memory_peak_bytes;
    bool cache_hit;            /* nothing was compiled */
    unsigned compiled, reused; /* objects of a directory; 1 and 0 for a single step */
    char source_digest[65]; /* SHA-256 of all that was known before compiling: sources, flags, tool
                             */
    bool unchanged;         /* it is job's unless_source: no artifact, verdict ok */
    const char *version;    /* of the tool, its first line */
    struct diagnostics *diagnostics;
    const char *log; /* what the tools wrote, paths as the user knows them; never NULL */
    size_t log_size;
    char detail[256]; /* one sentence when the verdict is not ok */
    struct arena *arena;
};

/** Compile. 0: @ret is filled (also when the sources do not compile: see verdict); -1: nothing was
 * compiled: compile.source (unreadable, empty, link, too large), compile.flag, compile.toolchain,
 * toolchain.*, and what sandbox_create says. Free with compile_result_free(). */
int compile_run(const struct compile_job *job, struct compile_result *ret, struct error *err);
void compile_result_free(struct compile_result *r);

/** Verdict, digest, figures and diagnostics; the caller deletes it. */
struct cJSON *compile_result_to_json(const struct compile_result *r);

/** The same as objects of a loop: begin, wait for compile_event_fd() to be readable, dispatch until
 * it returns 1, finish. A job that the cache answers is done at once (begin returns 1). */
struct compile;
int compile_begin(struct compile **ret, const struct compile_job *job, struct error *err);
int compile_event_fd(const struct compile *c);
int compile_dispatch(struct compile *c, struct error *err);
int compile_finish(struct compile *c, struct compile_result *ret, struct error *err);
/** Only now what was compiled enters the cache, and the jail's files go: the result need not wait
 * for that. */
void compile_free(struct compile *c);

/** Version text of a toolchain's own tool, first line, asked inside a sandbox and remembered while
 * the tool's file is the same. -1: not installed (toolchain.missing names the package) or does not
 * work here. */
int compile_toolchain_version(struct toolchain *tc, char *buf, size_t size, struct error *err);

/* --- the cache ------------------------------------------------------------------------------- */

struct cache_stats {
    uint64_t entries, bytes, max_bytes;
    uint64_t hits, misses, stored, evicted, poisoned;
};

int cache_stats(struct cache_stats *ret, struct error *err);

/** Remove every entry; the number removed. */
int cache_clear(struct error *err);

/** Check every entry's digests and remove the bad ones; the number of bad ones. */
int cache_verify(struct cache_stats *ret, struct error *err);

#endif
