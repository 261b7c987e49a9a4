/* Arenas: state.h has their life. */
#include "versions/state.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Short against a request (about 0.2 ms where memory is fresh), long against the calls it takes. */
#define PIECE (128u * 1024)

_Static_assert(STATE_ARENA_AT % STATE_ARENA_PAGE == 0, "it is mapped");

/** A part of @a's place is what @fd holds there. */
static int map_part(const struct state_arena *a, uint64_t from, uint64_t to, int fd, int flags)
{
    void *at = mmap(a->at + from, to - from, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
                    fd < 0 ? 0 : (off_t)(STATE_ARENA_AT + from));
    /* a child that kept it could write when its parent has given it away */
    return at == MAP_FAILED || madvise(at, to - from, MADV_DONTFORK) < 0 ? -1 : 0;
}

static int new_file(uint64_t bytes)
{
    _cleanup_close_ int fd = memfd_create("cloche-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)(STATE_ARENA_AT + bytes)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return -1;
    return TAKE_FD(fd);
}

int state_arena_open(struct state_arena *a, uint64_t bytes, struct error *err)
{
    *a = (struct state_arena){.bytes = bytes, .fd = new_file(bytes), .fresh = true, .next = -1};
    void *at =
        a->fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at != MAP_FAILED) {
        a->at = at;
        if (map_part(a, 0, bytes, a->fd, MAP_SHARED) == 0)
            return 0;
    }
    error_set(err, "state.memfd", errno, "cannot make an arena of %llu bytes",
              (unsigned long long)bytes);
    state_arena_close(a);
    return -1;
}

void state_arena_close(struct state_arena *a)
{
    if (a->at != NULL)
        munmap(a->at, a->bytes);
    cleanup_close(&a->fd);
    cleanup_close(&a->next);
    *a = (struct state_arena){.fd = -1, .next = -1};
}

int state_arena_load(struct state_arena *a, int snapshot, const struct state_header *h,
                     struct error *err)
{
    uint64_t given = (uint64_t)h->arena_pages * STATE_ARENA_PAGE;
    _cleanup_close_ int fd = fcntl(snapshot, F_DUPFD_CLOEXEC, 3);
    if (given > a->bytes)
        return error_set(err, "state.too_large", 0, "an arena of %llu bytes, here it has %llu",
                         (unsigned long long)given, (unsigned long long)a->bytes);
    if (fd < 0 || map_part(a, 0, given, fd, MAP_PRIVATE) < 0 ||
        (given < a->bytes && map_part(a, given, a->bytes, -1, MAP_PRIVATE | MAP_ANONYMOUS) < 0))
        return error_set(err, "state.memfd", errno, "cannot map an arena");
    cleanup_close(&a->fd);
    cleanup_close(&a->next);
    a->fd = TAKE_FD(fd);
    a->next = -1;
    a->fresh = false;
    return 0;
}

/** Is there anything but zeroes that were never touched? In doubt, yes. */
static bool has_data(const struct state_arena *a, uint64_t from, uint64_t to)
{
    static int pagemap = -2;
    uint64_t pages[PIECE / STATE_ARENA_PAGE];
    size_t bytes = (size_t)((to - from) / STATE_ARENA_PAGE) * sizeof *pages;
    off_t data = lseek(a->fd, (off_t)(STATE_ARENA_AT + from), SEEK_DATA);
    if (data >= 0 && (uint64_t)data < STATE_ARENA_AT + to)
        return true;
    if (pagemap == -2)
        pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)(a->at + from) / STATE_ARENA_PAGE * sizeof *pages);
    if (pagemap < 0 || pread(pagemap, pages, bytes, at) != (ssize_t)bytes)
        return true;
    for (size_t i = 0; i < bytes / sizeof *pages; i++) {
        if (pages[i] >> 62 != 0) /* present, or swapped out */
            return true;
    }
    return false;
}

int state_arena_step(struct state_arena *a)
{
    if (a->fresh)
        return 1;
    if (a->next < 0) {
        a->next = new_file(a->bytes);
        a->moved = 0;
    }
    if (a->next < 0)
        return -1;
    uint64_t from = a->moved, to = a->bytes - from < PIECE ? a->bytes : from + PIECE;
    int populate = 0;
    if (has_data(a, from, to)) {
        for (uint64_t at = from; at < to;) {
            ssize_t n = pwrite(a->next, a->at + at, to - at, (off_t)(STATE_ARENA_AT + at));
            if (n <= 0)
                return -1;
            at += (uint64_t)n;
        }
        populate = MAP_POPULATE;
    }
    if (map_part(a, from, to, a->next, MAP_SHARED | populate) < 0)
        return -1;
    a->moved = to;
    if (to < a->bytes)
        return 0;
    cleanup_close(&a->fd);
    a->fd = a->next;
    a->next = -1;
    a->fresh = true;
    return 1;
}

int state_arena_detach(struct state_arena *a)
{
    if (map_part(a, 0, a->bytes, a->fd, MAP_PRIVATE) < 0)
        return -1;
    a->fresh = false;
    return 0;
}

int state_arena_seal(struct state_arena *a)
{
    if (a->fresh || a->next >= 0) {
        errno = EBUSY;
        return -1;
    }
    return state_arena_detach(a) < 0 ? -1 : io_seal(a->fd, STATE_SEALS);
}

int state_writer_open_arena(struct state_writer *w, const char *module, uint32_t version,
                            uint32_t schema, const struct state_arena *a, bool give,
                            struct error *err)
{
    state_writer_begin(w, module, version, schema, STATE_ARENA_AT - sizeof w->header);
    w->header.arena_pages = (uint32_t)(a->bytes / STATE_ARENA_PAGE);
    if (give)
        w->seals = STATE_SEALS_GIVEN;
    w->fd = a->fresh ? fcntl(a->fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (w->fd < 0 || lseek(w->fd, sizeof w->header, SEEK_SET) < 0) {
        error_set(err, "state.memfd", errno, "cannot write the state of \"%s\"", module);
        state_writer_close(w);
        return -1;
    }
    return 0;
}

bool state_arena_empty(int snapshot, const struct state_header *h)
{
    return h->arena_pages == 0 || lseek(snapshot, STATE_ARENA_AT, SEEK_DATA) < 0;
}

int state_reader_arena(struct state_reader *r, int fd, struct error *err)
{
    size_t size = (size_t)r->header.arena_pages * STATE_ARENA_PAGE;
    if (size == 0)
        return 0;
    void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, STATE_ARENA_AT);
    if (at == MAP_FAILED)
        return error_set(err, "state.memfd", errno, "cannot map an arena");
    r->api.arena = r->arena = at;
    r->api.arena_size = size;
    return 0;
}
