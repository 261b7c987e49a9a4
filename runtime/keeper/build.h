/**
 * From sources to a stored version: steps 2 to 5 of a reload, beside the loop.
 *
 * Theory of operation. build_start() forks a builder; the keeper's loop goes on at once. The
 * builder
 *
 *   snapshot   reads the sources once; when they are those of the newest version it stops there:
 *              BUILD_UNCHANGED
 *   compile    in a jail, through the cache of artifacts (compiler/compiler.h)
 *   verify     reads the artifact's ELF structures against the module's policy (versions/elf.h)
 *   publish    executes this program anew as a publisher, since SQLite must not be carried over a
 *              fork, which opens the store, writes the version and its row PUBLISHED
 *
 * and answers by one frame on a socket; that frame is what @done is called with, from the loop. A
 * builder that hears its socket close (build_cancel, or the keeper's death) ends its jail, cleans
 * up and is gone; one that does not end within a second is killed.
 *
 * A build may be begun ahead, before anybody is sure to want it: a save is most often the last
 * event of its change, so it is compiled and verified while the debounce runs. Such a builder says
 * whether the sources changed, goes on up to the publish, and waits there to be taken (or for the
 * end of its socket).
 *
 * A source that is an ELF file already, or ends in ".so", is not compiled: verify and publish only.
 *
 * Nothing of what the builder reads is trusted in the keeper: the answer is a frame of texts and
 * numbers.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_BUILD_H
#define CLOCHE_RUNTIME_KEEPER_BUILD_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper;
struct build;

/** What is built. Everything is copied; fds are duplicated. */
struct build_source {
    const char *path; /* a file (with the headers beside it), a directory, or a shared object */
    const char *cwd;  /* what a relative @path is relative to; diagnostics then say @path as given.
                         NULL: @path is absolute */
    int fd;           /* instead of @path: a regular file that a client opened, or -1; @path is then
                         what it is called ("counter.c") */
    const char *toolchain;                     /* NULL: by the ending of the sources */
    const char *const *flags, *const *defines; /* NULL-terminated, or NULL */
};

struct build_options {
    struct build_source source;
    uint64_t attempt; /* of the history; its row PUBLISHED is written with the version. 0: none */
    bool same_source_stop; /* sources and tools as those of the newest version: BUILD_UNCHANGED
                              without compiling (what a watched save wants) */
    bool best_effort;
    bool no_publish; /* stop after verify: BUILD_VERIFIED */
    bool ahead;      /* with same_source_stop: nobody wants it yet. First BUILD_CHANGED is told, or
                        BUILD_UNCHANGED, which is the end; nothing is answered, logged or published
                        before build_take() */
    /* Instead of a build, a change of the store, since that is a write, too: "import" of the
     * archive source.fd, or "pin" of version @number: @pinned. BUILD_PUBLISHED is success. */
    const char *change;
    uint32_t number;
    bool pinned;
};

enum build_status {
    BUILD_CHANGED,   /* of one begun ahead: it goes on, and @done is called again */
    BUILD_STEP,      /* of one with an attempt: it has come to @step; as above */
    BUILD_PUBLISHED, /* as version @number */
    BUILD_UNCHANGED, /* the bytes are those of the newest version, @number */
    BUILD_VERIFIED,  /* with no_publish */
    BUILD_FAILED     /* @error; no number was taken */
};

/** Valid until the callback returns. */
struct build_result {
    enum build_status status;
    uint32_t number;
    const char *step;     /* the last one: "snapshot", "compile", "verify", "publish" */
    struct error error;   /* build.compile, build.limit (the verdict is in the message), verify.*,
                             store.*, compile.*, toolchain.* */
    const char *verdict;  /* of the compile: "ok", "compile_error", ...; "" when none ran */
    const char *imported; /* JSON array of {from, version, known}; "[]" */
    const char *diagnostics; /* JSON array, the first ones; "[]" */
    const char *text;        /* the same for people, its first 16 KiB */
    const char *toolchain;   /* its name, or "" for an artifact */
    const char *sha256;      /* of the artifact, or "" */
    uint32_t schema, flags;  /* of the module's ABI block */
    bool cached;             /* nothing had to be compiled */
    uint64_t snapshot_us, compile_us, verify_us, publish_us, total_us;
    uint64_t waited_us; /* for build_take(); not in the total */
};
typedef void build_done_fn(void *context, const struct build_result *result);

/** Start building @module. @done is called once, from the loop, never from within this call; not
 * after build_cancel(). (Of one that goes on: again.) -1:
 * nothing was started (build.start). The policy is the module's: its profile's and its own
 * (modules.h). The whole log is kept as log/<module>.build.log. */
struct build *build_start(struct keeper *k, const char *module, const struct build_options *options,
                          build_done_fn *done, void *context, struct error *err);

/** One that was begun ahead is wanted: by @attempt, and @done from now on. */
void build_take(struct build *b, uint64_t attempt, build_done_fn *done, void *context);

/** Forget it: @done will not be called. What it published already stays published. */
void build_cancel(struct build *b);

/** Cancel all, and wait for their ends: before the keeper goes. */
void build_end_all(struct keeper *k);

#endif
