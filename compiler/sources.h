/**
 * The snapshot: every source read once, by fd, into memory. Private to compiler/.
 *
 * Inside the jail the snapshot stands below /src; files keep their places relative to the deepest
 * directory that holds them all, so that #include "../common/x.h" works. Symbolic links, devices,
 * FIFOs and giants are refused: a submission may be a link to a file that only its grader may read.
 */
#ifndef CLOCHE_COMPILER_SOURCES_H
#define CLOCHE_COMPILER_SOURCES_H

#include "compiler/compiler.h"
#include "compiler/diagnostics.h"

#define SOURCES_INSIDE "/src"
#define OBJECTS_INSIDE "/obj"

struct source_file {
    const char *inside; /* below /src */
    const char *given;  /* the user's name of it */
    const char *data;   /* NUL-terminated beyond @size */
    size_t size;
    char digest[65];
    bool compiled; /* false: only there to be included */
};

struct sources {
    struct arena *arena;
    struct source_file *files; /* sorted by @inside */
    size_t count, compiled;
    size_t *line_budget; /* bytes that may still be searched for lines to show */
};

/** The toolchain for the job: the one it names, or the one of most of its files. */
int sources_toolchain(const struct compile_job *job, struct toolchain **ret, struct error *err);

int sources_read(struct sources *s, const struct compile_job *job, const struct toolchain *tc,
                 struct error *err);

/** By the name the jail uses (/src/x.c, or relative to /src); NULL when it is not one of them. */
const struct source_file *sources_find(const struct sources *s, const char *path);

/** For the parsers of diagnostics; @sources must outlive it. */
struct diagnostics_map sources_map(const struct sources *s);

/** A copy of @text in which every "/src/NAME" of the snapshot reads as the user named it. */
const char *sources_translate(const struct sources *s, struct arena *a, const char *text,
                              size_t size, size_t *ret_size);

#endif
