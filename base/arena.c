#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Small at first, for the many that hold a few strings: a block is zeroed, so each of its pages is
 * a page fault. */
#define FIRST_BYTES 2048
#define BLOCK_BYTES 16384

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    struct block *head;
};

static struct block *block_new(size_t size)
{
    size_t total;
    struct block *b = NULL;
    if (!__builtin_add_overflow(size, sizeof *b, &total))
        b = calloc(1, total);
    if (b == NULL) {
        fputs("cloche: out of memory\n", stderr);
        _exit(125); /* not abort: a core file would hold what the caller holds */
    }
    b->size = size;
    return b;
}

struct arena *arena_new(void)
{
    struct block *b = block_new(FIRST_BYTES);
    struct arena *a = (struct arena *)b->data;
    b->used = (sizeof *a + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    a->head = b;
    return a;
}

void arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    /* the arena itself stands in its first block, which is the last of the list */
    for (struct block *b = a->head, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t mask = alignof(max_align_t) - 1;
    size_t need = size > SIZE_MAX - mask ? SIZE_MAX : (size + mask) & ~mask;
    struct block *b = a->head;
    if (b->size - b->used < need) {
        size_t usual = b->size < BLOCK_BYTES / 2 ? b->size * 2 : BLOCK_BYTES;
        b = block_new(need > usual ? need : usual);
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += need;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = arena_alloc(a, len + 1);
    memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    /* into what is left of the block, where it nearly always fits */
    char *rest = (char *)a->head->data + a->head->used;
    size_t room = a->head->size - a->head->used;
    int n = vsnprintf(rest, room, fmt, ap);
    va_end(ap);
    bool fits = n >= 0 && (size_t)n < room;
    if (!fits)
        memset(rest, 0, room);
    char *p = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    if (n >= 0 && !fits)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void *arena_grow(struct arena *a, void *array, size_t count, size_t size)
{
    /* room doubles at powers of two, so growing stays linear in all */
    if (count != 0 && (count & (count - 1)) != 0)
        return (char *)memset((char *)array + count * size, 0, size) - count * size;
    size_t room = count == 0 ? 1 : count * 2, bytes;
    if (__builtin_mul_overflow(room, size, &bytes))
        bytes = SIZE_MAX;
    void *moved = arena_alloc(a, bytes);
    if (count != 0)
        memcpy(moved, array, count * size);
    return moved;
}
