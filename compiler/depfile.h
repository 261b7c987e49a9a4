/**
 * The list of files that a compiler read, from the make rule that -MD writes. Private to compiler/.
 *
 * The rule comes from inside the jail. It decides only what is looked at (stat) before a cached
 * artifact is used again, and only below the toolchain's own directories: a path anywhere else, a
 * name that cannot be told, or a list too long makes the result one that is not kept.
 */
#ifndef CLOCHE_COMPILER_DEPFILE_H
#define CLOCHE_COMPILER_DEPFILE_H

#include "compiler/cache.h"
#include "compiler/sources.h"

#define DEPFILE_MAX (4U << 20)

/** Add to @deps what @text names. @project: files of the snapshot are listed by digest, too. False:
 * the result must not be kept. */
bool depfile_parse(struct arena *a, const char *text, size_t size, const struct sources *s,
                   const struct strings *roots, bool project, struct cache_dep **deps,
                   size_t *count);

/** Fill size and mtime; false when it is not there. */
bool depfile_stamp(struct cache_dep *d);

#endif
