/**
 * What a module is, read from its file without loading it.
 *
 * Theory of operation. The file is the attacker's. It is read once into memory (elf_read_file), and
 * that buffer is what is inspected, digested and published: nobody can change it in between. Every
 * offset, count and string is checked against the buffer before it is used.
 *
 * The dynamic loader sees a module through its program headers and PT_DYNAMIC only, so this reader
 * does too; section headers, which may tell another story, are never looked at. Addresses are
 * translated to file offsets by PT_LOAD as the loader maps them; segments that share a page would
 * make that ambiguous and are refused. Undefined symbols are collected from the symbol table and
 * from every relocation, because the hash tables that bound the symbol table may lie.
 *
 * What this is for: one clear reason before anything runs. It is not the wall; a module can reach
 * any system call without importing a symbol. The sandbox is the wall.
 */
#ifndef CLOCHE_VERSIONS_ELF_H
#define CLOCHE_VERSIONS_ELF_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"
#include "versions/module.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ELF_DEFAULT_SIZE_CAP (32u * 1024 * 1024)

struct elf_import {
    const char *name;
    bool weak;
};

/** All memory is the arena's; nothing points into the file. */
struct elf_info {
    struct cloche_abi abi;
    const char *name;
    const char *label; /* "" when there is none */
    const char *soname;
    struct strings needed;
    struct elf_import *imports; /* in the order of the symbol table */
    size_t import_count;
    bool has_save_state, has_load_state, has_migrate, has_health, has_extensions;
    uint64_t size_bytes;
};

struct elf_exports;

struct elf_policy {
    const char *name;                      /* the module must be called so; NULL: any */
    const char *file;                      /* what messages call the file; NULL: "module" */
    uint64_t size_cap_bytes;               /* 0: ELF_DEFAULT_SIZE_CAP */
    const struct strings *allow_libraries; /* patterns of fnmatch(3); NULL or empty: the C and C++
                                              run-time libraries */
    const struct strings *deny_symbols;    /* patterns of fnmatch(3); NULL: none */
    struct elf_exports *exports; /* when set, every symbol must be defined by a needed library */
};

/** Read a regular file into a fresh buffer, at most the policy's cap of it; verify.size,
 * verify.unreadable, verify.garbage (not a regular file). */
int elf_read_file(int fd, const struct elf_policy *policy, void **ret_data, size_t *ret_size,
                  struct error *err);

/** Is it a module that this host could run? Fills @ret from @a. The one reason why not:
 * verify.truncated, .garbage, .class, .machine, .type, .layout, .rwx, .exec_stack, .textrel,
 * .runpath, .no_symbol, .magic, .major, .minor, .abi, .incomplete. */
int elf_inspect(struct arena *a, const void *data, size_t size, struct elf_info *ret,
                struct error *err);

/** Does the policy allow it? verify.size, .name, .library, .symbol, .undefined. */
int elf_judge(const struct elf_info *info, const struct elf_policy *policy, struct error *err);

/** Both; the error's path is the policy's file. */
int elf_verify(struct arena *a, const void *data, size_t size, const struct elf_policy *policy,
               struct elf_info *ret, struct error *err);

/** A set of libraries' defined symbols, to tell an undefined symbol before the loader does. One set
 * serves every verification of a keeper; libraries are read at first need from the directories of
 * a rootfs (@root: "/" or "/proc/PID/root"), which are trusted. NULL only with @err filled. */
struct elf_exports *elf_exports_new(const char *root, struct error *err);
void elf_exports_free(struct elf_exports *x);
/** The root's fd, which a copy of the process must keep open; -1 for NULL. */
int elf_exports_fd(const struct elf_exports *x);

/** Each strong import must be defined by libc or by something in the closure of @info's needed
 * libraries; verify.undefined names those that are not, verify.library what was not found. */
int elf_exports_check(struct elf_exports *x, const struct elf_info *info, struct error *err);

#endif
