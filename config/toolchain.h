/**
 * How sources become an artifact and how it is run, as data: one JSON file a language.
 *
 * Looked up by name in $XDG_CONFIG_HOME/cloche/toolchains, /etc/cloche/toolchains, then among the
 * files built in; the first found counts alone. Strict: an unknown property is an error, so that a
 * misspelt one is not a silent difference.
 *
 * Templates are argument lists. An argument that is exactly "{sources}", "{objects}", "{flags}",
 * "{libraries}" or "{defines}" becomes any number of arguments; "{output}", "{source}",
 * "{depfile}" and "{program}" are replaced wherever they stand. Programs are named without a
 * directory and found in TOOLCHAIN_PATH, never in the caller's PATH.
 */
#ifndef CLOCHE_CONFIG_TOOLCHAIN_H
#define CLOCHE_CONFIG_TOOLCHAIN_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"

#include <stdbool.h>
#include <stdio.h>

#define TOOLCHAIN_PATH "/usr/local/bin:/usr/bin:/bin"

struct toolchain {
    struct arena *arena;
    const char *origin; /* the file's path, or "built in" */
    const char *name, *description;
    const char *package;            /* what to install */
    struct strings extensions;      /* ".c": what is compiled */
    struct strings includes;        /* ".h": what is only there to be included */
    struct strings programs;        /* needed in TOOLCHAIN_PATH; the first is the tool itself */
    struct strings located;         /* where they are, once toolchain_check() has looked */
    struct strings compile, module; /* sources -> {output} in one step */
    struct strings object, module_object; /* {source} -> {output}, for directories */
    struct strings link, module_link;     /* {objects} -> {output} */
    struct strings run;                   /* {program} */
    struct strings version;               /* prints it on the first line */
    const char *diagnostics;              /* "gcc-json", "clang", "plain" */
    struct strings env;                   /* "KEY=VALUE" of the compile */
    struct strings paths;                 /* what of the host the tool may see, read-only */
    struct strings identity;      /* glob patterns: files that belong to the tool's identity */
    struct strings default_flags; /* when the job gives no flags */
    struct strings flags;         /* glob patterns: what a job may give */
    struct strings denied_flags;  /* glob patterns: exceptions to flags */
    struct strings werror;        /* added for warnings_as_errors */
    const char *define;           /* "-D{define}"; NULL: defines are refused */
    const char *artifact_name;    /* "program", "main.py" */
    const char *source_name;      /* name that a single source gets inside, or NULL */
    bool artifact_is_source;      /* interpreted: the compile step only checks */
    uint64_t memory_bytes;        /* least memory limit of a compile; 0: the profile's */
    uint64_t processes;           /* the same for processes */
};

/** toolchain.unknown (lists the names), toolchain.invalid, toolchain.unreadable. */
int toolchain_load(struct toolchain **ret, const char *name, struct error *err);

/** The toolchain whose extensions have that of @path. toolchain.unknown lists the extensions,
 * which takes reading all of them: not without an @err. */
int toolchain_for_file(struct toolchain **ret, const char *path, struct error *err);

/** One file's text. */
int toolchain_parse(struct toolchain **ret, const char *text, size_t size, const char *origin,
                    struct error *err);
void toolchain_free(struct toolchain *tc);

/** A row of the table of properties after the other, each text with a NUL behind it: how the build
 * keeps the built-in ones, whose JSON would be a fifth of the time of a cache hit. */
void toolchain_pack(const struct toolchain *tc, FILE *out);

/** All names, installed and built in, sorted. */
void toolchain_names(struct arena *a, struct strings *ret);

/** Where a program of TOOLCHAIN_PATH is; NULL when it is not installed. */
const char *toolchain_find_program(struct arena *a, const char *program);

/** 0 when every program is there; else toolchain.missing, the hint names the package. */
int toolchain_check(struct toolchain *tc, struct error *err);

/** Whether @path ends with one of @extensions. */
bool toolchain_has_extension(const struct strings *extensions, const char *path);

/** compile.flag unless the toolchain allows @flag. */
int toolchain_check_flag(const struct toolchain *tc, const char *flag, struct error *err);

struct toolchain_values {
    const struct strings *sources, *objects, *flags, *libraries, *defines;
    const char *output, *source, *depfile, *program;
};

/** Fill a template. The first argument becomes the program's path. */
int toolchain_expand(struct arena *a, const struct strings *argv_template,
                     const struct toolchain_values *values, struct strings *ret, struct error *err);

static inline void cleanup_toolchain(struct toolchain **tc)
{
    toolchain_free(*tc);
}
#define _cleanup_toolchain_ __attribute__((cleanup(cleanup_toolchain)))

#endif
