/**
 * Memory that lives and dies together. A spec, a job or a parsed file allocates all of its strings
 * and arrays from one arena and is freed by one call. Running out of memory ends the process: there
 * is nothing sensible to do without it, and every other error path stays honest.
 */
#ifndef CLOCHE_BASE_ARENA_H
#define CLOCHE_BASE_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);

/** Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));

/** Make room for one more in an array of @count elements of @size bytes; returns the (moved) array,
 * whose element @count is zeroed. The caller raises its count. */
void *arena_grow(struct arena *a, void *array, size_t count, size_t size);

static inline void cleanup_arena(struct arena **a)
{
    arena_free(*a);
}
#define _cleanup_arena_ __attribute__((cleanup(cleanup_arena), unused))

#endif
