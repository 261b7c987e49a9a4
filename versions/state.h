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
 * state.c needs nothing but libc and is linked into the worker; checkpoint.c needs nettle.
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

/** Integers in the order of the machine: a snapshot never leaves it. */
struct state_header {
    uint32_t magic;
    uint16_t format, header_bytes;
    uint32_t version, schema; /* of the module that wrote it */
    uint64_t length_bytes;    /* behind the header */
    uint64_t sequence;        /* requests that it contains, as the keeper counts them */
    uint64_t saved_ms;        /* since 1970 */
    uint32_t has_digest, reserved;
    char module[STATE_MODULE_BYTES]; /* padded with zeros; no NUL when all are used */
    uint8_t digest[STATE_DIGEST_BYTES];
};

/** What the receiver knows. */
struct state_expect {
    const char *module;
    uint32_t version;   /* 0: any */
    bool any_schema;    /* else: */
    uint32_t schema;    /* exactly this one */
    uint64_t cap_bytes; /* of the bytes behind the header; 0: STATE_DEFAULT_CAP */
};

/* --- snapshots: state.c ---------------------------------------------------------------------- */

/** Give &w.api to save_state or migrate. */
struct state_writer {
    struct cloche_writer api;
    int fd;
    bool failed;
    struct error error; /* what the first failing write was about */
    uint64_t cap_bytes;
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

/** Judge a snapshot of unknown origin. state.foreign (not a sealed memfd, of another module or
 * version), state.torn (lengths that disagree), state.too_large, state.schema. */
int state_check(int fd, const struct state_expect *expect, struct state_header *ret,
                struct error *err);

/** Give &r.api to load_state or migrate. The descriptor may be closed afterwards. */
struct state_reader {
    struct cloche_reader api;
    struct state_header header;
    const unsigned char *map;
    size_t map_bytes;
};

int state_reader_open(struct state_reader *r, int fd, const struct state_expect *expect,
                      struct error *err);
void state_reader_close(struct state_reader *r);

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
