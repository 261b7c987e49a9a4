/* malloc of the start program: some fifty small pieces for one run, from one piece of memory.
 *
 * musl's own puts every size class on pages of its own and gives them back one by one: 45 page
 * faults and 20 mappings of the 140 and 60 that a whole start took, for memory that the exit gives
 * back anyway. Here pieces stand one behind the other; only the last one can shrink, grow or go.
 * What does not fit gets a mapping of its own. There are no threads in this program. */
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define POOL_BYTES 262144

struct piece {
    size_t size; /* of data, rounded up */
    alignas(16) unsigned char data[];
};
_Static_assert(sizeof(struct piece) == offsetof(struct piece, data),
               "piece_of() goes back by the size");

static alignas(16) unsigned char pool[POOL_BYTES];
static size_t used, dirty; /* what lies above @dirty was never handed out: still zero */

static struct piece *piece_of(void *p)
{
    return (struct piece *)((unsigned char *)p - sizeof(struct piece));
}

static int is_pooled(const struct piece *b)
{
    return (uintptr_t)b >= (uintptr_t)pool && (uintptr_t)b < (uintptr_t)pool + POOL_BYTES;
}

static int is_last(const struct piece *b)
{
    return is_pooled(b) && b->data + b->size == pool + used;
}

void *malloc(size_t size)
{
    size_t total;
    if (__builtin_add_overflow(size, sizeof(struct piece) + 15, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    total &= ~(size_t)15;
    struct piece *b;
    if (total <= POOL_BYTES - used) {
        b = (struct piece *)(pool + used);
        used += total;
    } else {
        b = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED)
            return NULL;
    }
    b->size = total - sizeof(struct piece);
    if (used > dirty)
        dirty = used;
    return b->data;
}

void *calloc(size_t count, size_t size)
{
    size_t bytes, clean = dirty;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    unsigned char *p = malloc(bytes);
    if (p != NULL && is_pooled(piece_of(p)) && p < pool + clean) {
        size_t old = (size_t)(pool + clean - p);
        memset(p, 0, old < bytes ? old : bytes);
    }
    return p;
}

void free(void *p)
{
    if (p == NULL)
        return;
    struct piece *b = piece_of(p);
    if (!is_pooled(b))
        munmap(b, b->size + sizeof *b);
    else if (is_last(b))
        used = (size_t)((unsigned char *)b - pool);
}

void *realloc(void *p, size_t size)
{
    if (p == NULL)
        return malloc(size);
    struct piece *b = piece_of(p);
    if (size <= b->size)
        return p;
    /* data begins at a multiple of 16, and so does what is left behind it */
    if (is_last(b) && size <= POOL_BYTES - (size_t)(b->data - pool)) {
        b->size = (size + 15) & ~(size_t)15;
        used = (size_t)(b->data + b->size - pool);
        if (used > dirty)
            dirty = used;
        return p;
    }
    void *moved = malloc(size);
    if (moved != NULL) {
        memcpy(moved, p, b->size);
        free(p);
    }
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (alignment <= 16)
        return malloc(size);
    errno = ENOMEM;
    return NULL;
}
