/**
 * The modules of a sandbox: what the keeper knows of each beside what is on disk.
 *
 * A module is known when a child of kind "module" names it, when the spec's "modules" describes it,
 * or when the store has versions of it. modules_open() is called once, before the tree is started:
 * it opens the store (k->versions), finishes what a crash cut in two (versions_recover) and makes
 * the list. modules_prepare() then builds version 1 of every module that has a source and no
 * version, so that whoever starts a module's child finds a version to start: @start_version.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_MODULES_H
#define CLOCHE_RUNTIME_KEEPER_MODULES_H

#include "config/spec.h"
#include "runtime/keeper/build.h"
#include "runtime/keeper/keeper.h"
#include "versions/versions.h"

struct watch;
struct service;

#define ARENA_DEFAULT (16ull * 1024 * 1024)

enum module_state_mode { STATE_MIGRATE, STATE_KEEP, STATE_EMPTY };

struct module {
    struct module *next;
    struct keeper *keeper;
    const char *name;
    const char *source, *toolchain; /* absolute path; NULL: none was named yet */
    const char *watch_wanted;       /* directory or file to watch from the start, or NULL */
    struct strings flags, defines, depends;
    struct strings deny_symbols, allow_libraries;
    uint64_t size_cap_bytes;
    uint64_t probation_ms; /* UINT64_MAX: not given */
    uint64_t arena_bytes;  /* of a version that keeps its state in one */
    unsigned keep;         /* versions kept; 0: the store's default */
    enum module_state_mode state_mode;
    uint32_t active;        /* serves now; 0: none. Kept by reload.c */
    uint32_t start_version; /* the last GOOD one, else the newest that is not BAD; 0: none */
    struct {                /* the last build, in microseconds */
        uint64_t snapshot, compile, verify, publish, total;
    } took;
    char *diagnostics, *build_text; /* of the last compile: JSON, and for people */
    struct build *first;            /* the build of version 1, while it runs */
    struct watch *watch;            /* watch.h */
    struct service *service;        /* service.h: worker, queue, transaction */
};

/** A sandbox without modules: 0, and k->versions stays NULL until one is imported or loaded. */
int modules_open(struct keeper *k, struct error *err);
void modules_close(struct keeper *k);
/** Last: no session and no worker speaks of a module any more. */
void modules_free(struct keeper *k);

/** Build what has no version yet, side by side; @done is called from the loop: NULL, or why the
 * first one failed. */
void modules_prepare(struct keeper *k, void (*done)(struct keeper *k, const struct error *err));

/** Forget those builds: the tree goes. @done is not called any more. */
void modules_cancel(struct keeper *k);

/** module.unknown names those there are. */
struct module *modules_find(struct keeper *k, const char *name, struct error *err);
/** The same, made when missing; for reload of a module that is new. module.bad_name */
struct module *modules_add(struct keeper *k, const char *name, struct error *err);

/** k->versions, opened now when it was not. */
struct versions *modules_store(struct keeper *k, struct error *err);

/** What a build of @m's own source is told; @ret borrows from it. */
void module_build_options(const struct module *m, struct build_options *ret);

/** Whose libraries modules find. */
const char *modules_root(const struct keeper *k);

/** What @m must fulfil; @ret borrows from it. */
void module_policy(const struct module *m, struct elf_policy *ret);

#endif
