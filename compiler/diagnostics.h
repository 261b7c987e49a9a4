/**
 * What tools print -> diagnostics as data. Private to compiler/; what others see is in compiler.h.
 *
 * The text comes from inside the jail: any byte may stand in it. Everything kept is bounded
 * (DIAGNOSTICS_MAX items, MESSAGE_MAX bytes a message), and cleaned: control characters become
 * blanks, broken UTF-8 becomes U+FFFD, so that a terminal or a JSON reader is never handed them.
 */
#ifndef CLOCHE_COMPILER_DIAGNOSTICS_H
#define CLOCHE_COMPILER_DIAGNOSTICS_H

#include "compiler/compiler.h"

#define DIAGNOSTICS_MAX   500
#define NOTES_MAX         32
#define FIXITS_MAX        16
#define MESSAGE_MAX       4000
#define SOURCE_LINE_MAX   400
#define DIAGNOSTICS_INPUT (4U << 20)

/** How paths and lines of the jail are turned into those of the user. */
struct diagnostics_map {
    const void *data;
    /** The user's name of @path, or NULL to keep it. */
    const char *(*path)(const void *data, struct arena *a, const char *path);
    /** Line @line (from 1) of the file that the jail calls @path; NULL when it is not known. */
    const char *(*line)(const void *data, const char *path, unsigned line, size_t *ret_size);
};

enum diagnostics_format { DIAGNOSTICS_PLAIN, DIAGNOSTICS_GCC_JSON, DIAGNOSTICS_CLANG };

/** "gcc-json", "clang", "plain"; -1: no such format. */
int diagnostics_format_parse(const char *name);

/** Add what @text tells to @d. Never fails: what is not understood is left out (the log has it). */
void diagnostics_parse(struct diagnostics *d, enum diagnostics_format format, const char *text,
                       size_t size, const struct diagnostics_map *map);

/** Back from diagnostics_to_json(), for the cache; file names go through @map (or NULL). -1: not
 * that shape. */
int diagnostics_from_json(struct diagnostics *d, const char *text, size_t size,
                          const struct diagnostics_map *map);

/** A cleaned copy of @n bytes. */
const char *diagnostics_clean(struct arena *a, const char *text, size_t n, size_t max);

/** Room for one more, counted by its severity; NULL when the list is full. A note goes to the item
 * before it, if there is one. */
struct diagnostic *diagnostics_add(struct diagnostics *d, enum severity severity);

/** Set file, line, column and source of @item from what the jail said. */
void diagnostics_place(struct diagnostics *d, struct diagnostic *item, const char *file,
                       size_t file_size, unsigned line, unsigned column,
                       const struct diagnostics_map *map);

void diagnostics_parse_gcc(struct diagnostics *d, const char *line, size_t size,
                           const struct diagnostics_map *map);

static inline void cleanup_diagnostics(struct diagnostics **d)
{
    diagnostics_free(*d);
}
#define _cleanup_diagnostics_ __attribute__((cleanup(cleanup_diagnostics)))

#endif
