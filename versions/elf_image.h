/**
 * An ELF64 file as the dynamic loader would map it: bounds-checked access by address. Private to
 * versions/; shared by the reader of modules and the reader of libraries.
 */
#ifndef CLOCHE_VERSIONS_ELF_IMAGE_H
#define CLOCHE_VERSIONS_ELF_IMAGE_H

#include "base/error.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define ELF_HOST_MACHINE  EM_X86_64
#define ELF_RELATIVE      R_X86_64_RELATIVE
#define ELF_ABSOLUTE      R_X86_64_64
#define ELF_HOST_LIB_DIR  "x86_64-linux-gnu"
#define ELF_MACHINE_NAMED "x86-64"
#elif defined(__aarch64__)
#define ELF_HOST_MACHINE  EM_AARCH64
#define ELF_RELATIVE      R_AARCH64_RELATIVE
#define ELF_ABSOLUTE      R_AARCH64_ABS64
#define ELF_HOST_LIB_DIR  "aarch64-linux-gnu"
#define ELF_MACHINE_NAMED "aarch64"
#else /* a machine that nobody has named yet: every file is refused as another machine's */
#define ELF_HOST_MACHINE  EM_NONE
#define ELF_RELATIVE      1
#define ELF_ABSOLUTE      2
#define ELF_HOST_LIB_DIR  "."
#define ELF_MACHINE_NAMED "unknown"
#endif

#define ELF_MAX_SEGMENTS 64
#define ELF_MAX_NEEDED   256

/** Dynamic entries that count, by position in elf_image.dyn. */
enum elf_dyn {
    DYN_HASH,
    DYN_GNU_HASH,
    DYN_STRTAB,
    DYN_STRSZ,
    DYN_SYMTAB,
    DYN_SYMENT,
    DYN_RELA,
    DYN_RELASZ,
    DYN_RELAENT,
    DYN_JMPREL,
    DYN_PLTRELSZ,
    DYN_PLTREL,
    DYN_RELR,
    DYN_RELRSZ,
    DYN_RELRENT,
    DYN_REL,
    DYN_RELSZ,
    DYN_SONAME,
    DYN_RPATH,
    DYN_RUNPATH,
    DYN_TEXTREL,
    DYN_FLAGS,
    DYN_FLAGS_1,
    DYN_AUDIT,
    DYN_DEPAUDIT,
    DYN_FILTER,
    DYN_AUXILIARY,
    DYN_COUNT
};

struct elf_image {
    const unsigned char *data;
    size_t size;
    struct elf_segment {
        uint64_t address, offset, file_bytes, memory_bytes;
        uint32_t flags;
    } loads[ELF_MAX_SEGMENTS];
    size_t load_count;
    bool has_stack_header;
    uint32_t stack_flags;
    uint64_t dyn[DYN_COUNT];
    bool dyn_set[DYN_COUNT];
    uint64_t needed[ELF_MAX_NEEDED]; /* offsets in the string table */
    size_t needed_count;
    uint64_t symbol_count; /* as the hash tables have it; all of them lie within the file */
};

/** Header, segments, dynamic section and symbol table, each of them inside the file. */
int elf_image_open(struct elf_image *e, const void *data, size_t size, struct error *err);

/** The bytes at an address, or NULL unless all of them come from one segment of the file. They may
 * be unaligned: memcpy. */
const void *elf_image_at(const struct elf_image *e, uint64_t address, uint64_t size);

/** Symbol by index; false past the file's end. */
bool elf_image_symbol(const struct elf_image *e, uint64_t index, Elf64_Sym *ret);

/** A NUL-terminated string of the dynamic string table, or NULL. */
const char *elf_image_string(const struct elf_image *e, uint64_t offset);

/** A NUL-terminated string at an address, or NULL; at most @max bytes. */
const char *elf_image_text_at(const struct elf_image *e, uint64_t address, size_t max);

#endif
