/* A snapshot as a worker hands it over, with and without an arena. The first byte says how it is
 * sealed, and how far the file goes behind what is given. */
#include "versions/state.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA 65536u

static const struct state_expect expect = {
    .module = "m", .any_schema = true, .cap_bytes = 4096, .arena_bytes = ARENA};

/** What was believed can be read, all of it and no more. */
static void read_all(int fd, const struct state_expect *e)
{
    struct state_reader r;
    struct state_arena a;
    struct error err = ERROR_INIT;
    unsigned char piece[100];
    if (state_reader_open(&r, fd, e, &err) < 0)
        return;
    uint64_t left = r.header.length_bytes;
    for (; left > 0; left -= left < sizeof piece ? left : sizeof piece) {
        if (cloche_read(&r.api, piece, left < sizeof piece ? (size_t)left : sizeof piece) < 0)
            abort();
    }
    if (cloche_read(&r.api, piece, 1) == 0)
        abort();
    if (r.header.arena_pages != 0) {
        if (state_arena_open(&a, ARENA, &err) < 0 ||
            state_arena_load(&a, fd, &r.header, &err) < 0 || state_reader_arena(&r, fd, &err) < 0)
            abort();
        a.at[r.header.arena_pages * STATE_ARENA_PAGE - 1]++;
        while (state_arena_step(&a) == 0)
            continue;
        state_arena_close(&a);
    }
    state_reader_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct state_expect e = expect;
    e.given = (data[0] & 1) != 0;
    _cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    off_t end =
        (data[0] & 2) != 0 ? STATE_ARENA_AT + (off_t)(data[0] >> 4) * 4096 : (off_t)size - 1;
    if (fd < 0 || pwrite(fd, data + 1, size - 1, 0) != (ssize_t)size - 1 ||
        ftruncate(fd, end) < 0 ||
        fcntl(fd, F_ADD_SEALS, (data[0] & 4) != 0 ? STATE_SEALS_GIVEN : STATE_SEALS) < 0)
        abort();
    read_all(fd, &e);
    return 0;
}
