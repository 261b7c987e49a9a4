/** Inside of compile_run(). Private to compiler/. */
#ifndef CLOCHE_COMPILER_JOB_H
#define CLOCHE_COMPILER_JOB_H

#include "base/workdir.h"
#include "compiler/cache.h"
#include "compiler/jail.h"
#include "compiler/sources.h"

#include <nettle/sha2.h>
#include <time.h>

enum step_state { STEP_WAITING, STEP_RUNNING, STEP_DONE };

/* One command: the whole compile of a small program, an object, or a link. */
struct step {
    enum step_state state;
    const char *name;                   /* of the source, for messages; NULL: the whole */
    bool is_object, is_link, hit, keep; /* keep: for the cache */
    char key[65];
    struct jail_run run;
    struct jail *jail;
    struct cache_entry entry;
};

struct compile {
    struct arena *arena;
    struct toolchain *tc;
    struct sources sources;
    struct cache *cache;
    struct workdir workdir;
    bool has_sources, has_headers;
    struct sha256_ctx base; /* what every key of this job starts with */
    char source_digest[65];
    const char *version;
    bool unchanged;
    struct strings flags, libraries, defines;
    enum compile_kind kind;
    bool best_effort;
    uint64_t wall_ms, cpu_ms, memory_bytes, artifact_bytes;
    struct compile_source *headers; /* the texts are the caller's */
    size_t header_count;
    struct step *steps; /* the objects, and the link last; or one for all */
    size_t step_count;
    unsigned jobs, running;
    int epoll;
    bool done;
    struct timespec began;
};

/** From the job to its steps: toolchain, flags, snapshot, identity, keys. */
int compile_plan(struct compile *c, const struct compile_job *job, struct error *err);

/** The key of the link, known when every object is there. */
void compile_link_key(struct compile *c, struct step *s);

#endif
