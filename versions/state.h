/**
 * State on its way from one version of a module to the next.
 *
 * Theory of operation. A snapshot is a memfd: a header of fixed size, then the bytes that
 * save_state wrote, then seals that keep everybody, its writer included, from changing it. It is
 * passed by descriptor, so a hand-over copies nothing. The one who made it runs untrusted code:
 * state_check() believes nothing but the seals and the sizes it measured itself, and compares the
 * header with what the receiver knows (module, version, schema, cap).
 *
 * A sealed memfd cannot be torn, so it carries no digest: hashing 64 KiB would cost as much as the
 * rest of the pause. A checkpoint on disk can be torn, and has one (SHA-256 over header and bytes).
 *
 * Checkpoints stand in state/<module>/ of a sandbox, in two slots, so that a version on probation
 * never overwrites what the last GOOD version can come back to. When N is confirmed, the row GOOD
 * is committed first and the slot promoted second; state_recover() finishes what a crash cut
 * between the two.
 *
 * An arena (CLOCHE_STATE_ARENA) lies in such a file from the beginning: at STATE_ARENA_AT, behind
 * header and bytes, mapped by the worker that serves. Its life:
 *
 *   fresh    mapped shared, not sealed: what the module writes is in the file
 *   given    header and bytes are written, F_SEAL_FUTURE_WRITE: nobody else can write, and the
 *            giver, who still has its mapping, is trusted not to. The pause ends here: nothing
 *            was done page by page
 *   sealed   the giver has made its mapping private and added F_SEAL_WRITE, which the kernel
 *            refuses as long as anybody could write: a snapshot like any other
 *
 * Who loads it, and the giver if it serves again, map it privately (copy on write); before it can
 * be given again it moves to a fresh file, a piece at a time between two requests.
 *
 * state.c and state_arena.c need nothing but libc and are linked into the worker; checkpoint.c
 * needs nettle.
 */
#ifndef CLOCHE_VERSIONS_STATE_H
#define CLOCHE_VERSIONS_STATE_H

#include "base/error.h"
#include "versions/module.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_MAGIC        0x54534c43u /* "CLST" */
#define STATE_FORMAT       1
#define STATE_MODULE_BYTES 64
#define STATE_DIGEST_BYTES 32
#define STATE_DEFAULT_CAP  (64ull * 1024 * 1024)
#define STATE_ARENA_AT     (2u * 1024 * 1024)
#define STATE_ARENA_PAGE   4096u

/** Integers in the order of the machine: a snapshot never leaves it. */
struct state_header {
    uint32_t magic;
    uint16_t format, header_bytes;
    uint32_t version, schema; /* of the module that wrote it */
    uint64_t length_bytes;    /* behind the header */
    uint64_t sequence;        /* requests that it contains, as the keeper counts them */
    uint64_t saved_ms;        /* since 1970 */
    uint32_t has_digest;
    uint32_t arena_pages; /* at STATE_ARENA_AT; 0: there is none, the bytes end the file */
    char module[STATE_MODULE_BYTES]; /* padded with zeros; no NUL when all are used */
    uint8_t digest[STATE_DIGEST_BYTES];
};

/** What the receiver knows. */
struct state_expect {
    const char *module;
    uint32_t version;     /* 0: any */
    bool any_schema;      /* else: */
    uint32_t schema;      /* exactly this one */
    uint64_t cap_bytes;   /* of the bytes behind the header; 0: STATE_DEFAULT_CAP */
    uint64_t arena_bytes; /* the largest arena; 0: none */
    bool given;           /* an arena may still be its giver's to write */
};

/* what makes a snapshot, and the arena of one that is on its way */
#define STATE_SEALS       (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define STATE_SEALS_GIVEN (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)

/* --- snapshots: state.c ---------------------------------------------------------------------- */

/** Give &w.api to save_state or migrate. */
struct state_writer {
    struct cloche_writer api;
    int fd;
    int seals;
    bool failed;
    struct error error; /* what the first failing write was about */
    uint64_t cap_bytes;
    uint64_t file_bytes; /* what the file is long already, and may be too long */
    struct state_header header;
    size_t buffered;
    unsigned char buffer[16384];
};

/** state.memfd */
int state_writer_open(struct state_writer *w, const char *module, uint32_t version, uint32_t schema,
                      uint64_t cap_bytes, struct error *err);

/** Write the header, seal, pass the descriptor on. state.too_large when the cap was passed,
 * state.memfd. The writer is closed either way. */
int state_writer_seal(struct state_writer *w, uint64_t sequence, int *ret_fd, struct error *err);
void state_writer_close(struct state_writer *w);
/** All of state_writer_open() but the file: what both kinds begin with. */
void state_writer_begin(struct state_writer *w, const char *module, uint32_t version,
                        uint32_t schema, uint64_t cap_bytes);

/** Judge a snapshot of unknown origin. state.foreign (not a sealed memfd, of another module or
 * version), state.torn (lengths that disagree), state.too_large, state.schema. */
int state_check(int fd, const struct state_expect *expect, struct state_header *ret,
                struct error *err);

/** Give &r.api to load_state or migrate. The descriptor may be closed afterwards. */
struct state_reader {
    struct cloche_reader api;
    struct state_header header;
    int fd;
    void *arena;
    uint64_t buffered_at; /* where in the file the buffer is from */
    size_t buffered;
    unsigned char buffer[16384];
};

int state_reader_open(struct state_reader *r, int fd, const struct state_expect *expect,
                      struct error *err);
void state_reader_close(struct state_reader *r);

/* --- arenas: state_arena.c -------------------------------------------------------------------- */

struct state_arena {
    unsigned char *at; /* stays where it is; NULL: there is none */
    uint64_t bytes;
    int fd; /* the file that it lies in, or is a private view of */
    bool fresh;
    int next; /* the one that it moves to, or -1 */
    uint64_t moved;
};

/** A fresh one, zeroed. state.memfd */
int state_arena_open(struct state_arena *a, uint64_t bytes, struct error *err);
void state_arena_close(struct state_arena *a);
/** A private view of a snapshot's arena instead of what it was; the rest is zero. */
int state_arena_load(struct state_arena *a, int snapshot, const struct state_header *h,
                     struct error *err);
/** Move one more piece to a fresh file: 1: all is there, or was; 0; -1 with errno. */
int state_arena_step(struct state_arena *a);
/** Let nothing that is written from here on reach the file. */
int state_arena_detach(struct state_arena *a);
/** Seal the file of one that was given. */
int state_arena_seal(struct state_arena *a);
/** The writer of a snapshot whose arena this is; it must be fresh. @give: leave it mapped. */
int state_writer_open_arena(struct state_writer *w, const char *module, uint32_t version,
                            uint32_t schema, const struct state_arena *a, bool give,
                            struct error *err);
/** Nothing was ever written to it. */
bool state_arena_empty(int snapshot, const struct state_header *h);
/** Let migrate see the arena of what it reads. */
int state_reader_arena(struct state_reader *r, int fd, struct error *err);

/* --- checkpoints: checkpoint.c --------------------------------------------------------------- */

enum state_slot { STATE_GOOD, STATE_PROBATION };

/** Write a snapshot into a slot of the sandbox at @dir, whole or not at all. @durable: on disk when
 * this returns (two fsyncs; never within a pause). state.full, state.unwritable, and those of
 * state_check. */
int state_save(int dir, enum state_slot slot, int snapshot, const struct state_expect *expect,
               bool durable, struct error *err);

/** The slot's content as a new snapshot. state.none when the slot is empty, state.digest when it is
 * damaged, state.unreadable, and those of state_check. */
int state_load(int dir, enum state_slot slot, const struct state_expect *expect, int *ret_fd,
               struct state_header *ret, struct error *err);

/** The state of a version when it was left, for a rollback that wants exactly that. One a version.
 */
int state_keep(int dir, int snapshot, const struct state_expect *expect, struct error *err);
int state_kept(int dir, const struct state_expect *expect, int *ret_fd, struct state_header *ret,
               struct error *err);
/** Forget those of versions that @wanted does not want. */
int state_prune(int dir, const char *module, bool (*wanted)(void *context, uint32_t version),
                void *context, struct error *err);

/** Probation becomes GOOD; nothing to promote is fine. */
int state_promote(int dir, const char *module, struct error *err);

/** Forget a slot; an empty one is fine. */
int state_drop(int dir, const char *module, enum state_slot slot, struct error *err);

/** After a crash, with @good the last GOOD version: promote the probation slot if it is that
 * version's, drop it otherwise. Then state_load(STATE_GOOD) says what there is to start from. */
int state_recover(int dir, const char *module, uint32_t good, struct error *err);

#endif
