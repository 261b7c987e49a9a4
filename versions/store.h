/**
 * The store: numbered, immutable artifacts.
 *
 * A number is taken by an artifact that was verified, never before, and never again: the high-water
 * mark is in the database and only grows, also past numbers whose directories a crash left without
 * a row. Publishing is stage, fsync, rename, fsync, commit; whatever fails on the way is removed,
 * and the versions that exist are never touched.
 */
#ifndef CLOCHE_VERSIONS_STORE_H
#define CLOCHE_VERSIONS_STORE_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"
#include "versions/elf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct versions;

enum version_status {
    VERSION_PUBLISHED, /* stored; not judged */
    VERSION_GOOD,      /* survived probation */
    VERSION_BAD,       /* failed, with a reason */
    VERSION_SUSPECT,   /* failed on a request that its predecessor failed on too */
    VERSION_STATUSES
};

const char *version_status_name(enum version_status status);

struct version {
    uint32_t number;
    enum version_status status;
    bool pinned, collected;
    const char *reason, *label, *sha256;
    uint64_t size_bytes, published_ms, good_ms;
    uint32_t schema, schema_min, flags;
    struct strings depends;
};

struct store_artifact {
    const void *data; /* as elf_read_file gave it: the bytes that were verified */
    size_t size;
    const struct elf_info *elf;
    /* for the manifest; NULL where not known */
    const char *toolchain, *compiler, *source_sha256;
    const struct strings *depends; /* modules that this one calls */
    const char *log;               /* of the build; may be NULL */
    size_t log_size;
    uint32_t number_wanted; /* kept when it is above the high-water mark; 0: the next */
};

/** 0: published as *ret_number. 1: the same bytes as the newest version, *ret_number, which keeps
 * its verdict. With @attempt, its row PUBLISHED is committed together with the version. store.full,
 * store.unwritable, store.corrupt; nothing remains of what failed. */
int store_publish(struct versions *v, const char *module, const struct store_artifact *artifact,
                  uint64_t attempt, uint32_t *ret_number, struct error *err);

/** store.unknown_version names what there is. Collected ones are found too, and say so. */
int store_find(struct versions *v, struct arena *a, const char *module, uint32_t number,
               struct version *ret, struct error *err);

/** Oldest first; @all: collected ones too. */
int store_list(struct versions *v, struct arena *a, const char *module, bool all,
               struct version **ret, size_t *ret_count, struct error *err);

/** Names of modules that ever had a version. */
int store_modules(struct versions *v, struct arena *a, struct strings *ret, struct error *err);

/** The version that is GOOD and serves after a crash; 0: none. */
int store_good(struct versions *v, const char *module, uint32_t *ret, struct error *err);

/** module.so of a version, read-only. store.collected, store.unknown_version. */
int store_open(struct versions *v, const char *module, uint32_t number, struct error *err);

/** Do the bytes still have their digest? store.damaged. */
int store_check(struct versions *v, const char *module, uint32_t number, struct error *err);

/** Let `current` point at @number, for people. */
int store_set_current(struct versions *v, const char *module, uint32_t number, struct error *err);

/** A pinned version is never collected. */
int store_pin(struct versions *v, const char *module, uint32_t number, bool pinned,
              struct error *err);

struct store_keep {
    const uint32_t *in_use; /* serving, parked, on probation */
    size_t in_use_count;
    unsigned good;  /* those that were GOOD last; 0: 5 */
    unsigned total; /* versions in all, unless more are protected; 0: 10 */
};

/** Collect the oldest unprotected versions beyond the total, never the newest. Journalled: a crash
 * in between is finished at the next start. */
int store_collect(struct versions *v, const char *module, const struct store_keep *keep,
                  size_t *ret_removed, struct error *err);

/** All kept versions of a module as one tar, to @fd; `tar tf` reads it. */
int store_export(struct versions *v, const char *module, int fd, struct error *err);

struct store_imported {
    uint32_t from, to; /* the number in the archive, and here */
    bool known;        /* the bytes were here already, as @to */
};

/** Publish the versions of such a tar into @module, each verified again by @policy; all of it is
 * judged before the first is published. Numbers are kept where they are above the high-water mark.
 * Nothing imported is GOOD: it has not served here. archive.invalid, verify.*, store.*. */
int store_import(struct versions *v, struct arena *a, const char *module,
                 const struct elf_policy *policy, int fd, struct store_imported **ret,
                 size_t *ret_count, struct error *err);

#endif
