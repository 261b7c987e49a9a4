#include "versions/state.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

_Static_assert(sizeof(struct state_header) == 144, "snapshots pass between programs");

#define SEALS STATE_SEALS

static int writer_fail(struct state_writer *w, const char *code, int errnum, const char *what)
{
    if (!w->failed)
        error_set(&w->error, code, errnum, "state of module \"%.64s\": %s", w->header.module, what);
    w->failed = true;
    return -1;
}

static int writer_flush(struct state_writer *w)
{
    size_t size = w->buffered;
    w->buffered = 0;
    if (io_write_all(w->fd, w->buffer, size) < 0)
        return writer_fail(w, "state.memfd", errno, "cannot be written");
    return 0;
}

static int writer_write(struct cloche_writer *api, const void *data, size_t size)
{
    struct state_writer *w = api->opaque;
    uint64_t length;
    if (w->failed)
        return -1;
    if (__builtin_add_overflow(w->header.length_bytes, size, &length) || length > w->cap_bytes) {
        char what[96];
        snprintf(what, sizeof what,
                 "is larger than the %llu bytes it may have; an arena takes more",
                 (unsigned long long)w->cap_bytes);
        return writer_fail(w, "state.too_large", 0, what);
    }
    w->header.length_bytes = length;
    if (size > sizeof w->buffer - w->buffered && writer_flush(w) < 0)
        return -1;
    if (size > sizeof w->buffer) {
        if (io_write_all(w->fd, data, size) < 0)
            return writer_fail(w, "state.memfd", errno, "cannot be written");
    } else if (size > 0) {
        memcpy(w->buffer + w->buffered, data, size);
        w->buffered += size;
    }
    return 0;
}

void state_writer_begin(struct state_writer *w, const char *module, uint32_t version,
                        uint32_t schema, uint64_t cap_bytes)
{
    w->fd = -1;
    w->seals = SEALS;
    w->failed = false;
    w->buffered = 0;
    w->file_bytes = 0;
    w->cap_bytes = cap_bytes != 0 ? cap_bytes : STATE_DEFAULT_CAP;
    w->api = (struct cloche_writer){
        .struct_size = sizeof w->api, .schema = schema, .opaque = w, .write = writer_write};
    w->header = (struct state_header){.magic = STATE_MAGIC,
                                      .format = STATE_FORMAT,
                                      .header_bytes = sizeof w->header,
                                      .version = version,
                                      .schema = schema};
    memcpy(w->header.module, module, strnlen(module, sizeof w->header.module));
}

int state_writer_open(struct state_writer *w, const char *module, uint32_t version, uint32_t schema,
                      uint64_t cap_bytes, struct error *err)
{
    state_writer_begin(w, module, version, schema, cap_bytes);
    w->fd = memfd_create("cloche-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (w->fd < 0 || lseek(w->fd, sizeof w->header, SEEK_SET) < 0) {
        error_set(err, "state.memfd", errno, "cannot make memory for the state of \"%s\"", module);
        state_writer_close(w);
        return -1;
    }
    return 0;
}

int state_writer_seal(struct state_writer *w, uint64_t sequence, int *ret_fd, struct error *err)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    w->header.sequence = sequence;
    w->header.saved_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t end = sizeof w->header + w->header.length_bytes;
    if (!w->failed && writer_flush(w) == 0 &&
        ((w->file_bytes > end && ftruncate(w->fd, (off_t)end) < 0) ||
         pwrite(w->fd, &w->header, sizeof w->header, 0) != (ssize_t)sizeof w->header ||
         io_seal(w->fd, w->seals) < 0))
        writer_fail(w, "state.memfd", errno, "cannot be sealed");
    if (w->failed) {
        if (err != NULL)
            *err = w->error;
        state_writer_close(w);
        return -1;
    }
    *ret_fd = TAKE_FD(w->fd);
    return 0;
}

void state_writer_close(struct state_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

static int check_header(const struct state_header *h, uint64_t file_bytes,
                        const struct state_expect *e, struct error *err)
{
    uint64_t cap = e->cap_bytes != 0 ? e->cap_bytes : STATE_DEFAULT_CAP;
    uint64_t arena = (uint64_t)h->arena_pages * STATE_ARENA_PAGE;
    uint64_t end = arena == 0 ? sizeof *h + h->length_bytes : STATE_ARENA_AT + arena;
    if (h->magic != STATE_MAGIC || h->format != STATE_FORMAT || h->header_bytes != sizeof *h)
        return error_set(err, "state.foreign", 0, "not a state (magic 0x%08x, format %u)", h->magic,
                         h->format);
    if (file_bytes != end || h->length_bytes > end - sizeof *h ||
        (arena > 0 && h->length_bytes > STATE_ARENA_AT - sizeof *h))
        return error_set(err, "state.torn", 0, "says %llu bytes and has %llu",
                         (unsigned long long)h->length_bytes,
                         (unsigned long long)(file_bytes - sizeof *h));
    if (arena > e->arena_bytes)
        return error_set(err, "state.too_large", 0, "has an arena of %llu bytes, the cap is %llu",
                         (unsigned long long)arena, (unsigned long long)e->arena_bytes);
    if (h->length_bytes > cap)
        return error_set(err, "state.too_large", 0, "has %llu bytes, the cap is %llu",
                         (unsigned long long)h->length_bytes, (unsigned long long)cap);

    char name[STATE_MODULE_BYTES] = {0};
    memcpy(name, e->module, strnlen(e->module, sizeof name));
    if (memcmp(name, h->module, sizeof name) != 0 || (e->version != 0 && e->version != h->version))
        return error_set(err, "state.foreign", 0, "was written by another module or version");
    if (!e->any_schema && e->schema != h->schema)
        return error_set(err, "state.schema", 0, "has schema %u, expected %u", h->schema,
                         e->schema);
    return 0;
}

int state_check(int fd, const struct state_expect *expect, struct state_header *ret,
                struct error *err)
{
    struct stat st;
    struct state_header h;
    int seals = fcntl(fd, F_GET_SEALS);
    int wanted =
        expect->given && seals >= 0 && (seals & SEALS) != SEALS ? STATE_SEALS_GIVEN : SEALS;
    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_set(err, "state.foreign", 0, "not a sealed memfd");
    } else if (st.st_size < (off_t)sizeof h || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h) {
        error_set(err, "state.torn", 0, "%lld bytes are less than a header", (long long)st.st_size);
    } else if (wanted != SEALS && h.arena_pages == 0) {
        error_set(err, "state.foreign", 0, "not a sealed memfd");
    } else if (check_header(&h, (uint64_t)st.st_size, expect, err) == 0) {
        *ret = h;
        return 0;
    }
    return error_wrap(err, "state of module \"%s\"", expect->module);
}

static int reader_read(struct cloche_reader *api, void *data, size_t size)
{
    struct state_reader *r = api->opaque;
    unsigned char *to = data;
    /* `remaining` is the module's to see, not to trust */
    if (size > api->remaining || api->remaining > r->header.length_bytes)
        return -1;
    uint64_t at = sizeof r->header + r->header.length_bytes - api->remaining, end = at + size;
    while (at < end) {
        size_t wanted = (size_t)(end - at), inside = (size_t)(at - r->buffered_at);
        if (at >= r->buffered_at && inside < r->buffered) {
            size_t n = r->buffered - inside < wanted ? r->buffered - inside : wanted;
            memcpy(to, r->buffer + inside, n);
            to += n;
            at += n;
            continue;
        }
        /* read and not mapped: a mapping costs its faults, and a flush when it goes */
        bool direct = wanted >= sizeof r->buffer;
        ssize_t n =
            pread(r->fd, direct ? to : r->buffer, direct ? wanted : sizeof r->buffer, (off_t)at);
        if (n <= 0)
            return -1;
        if (direct) {
            to += n;
            at += (size_t)n;
        } else {
            r->buffered_at = at;
            r->buffered = (size_t)n;
        }
    }
    api->remaining -= size;
    return 0;
}

int state_reader_open(struct state_reader *r, int fd, const struct state_expect *expect,
                      struct error *err)
{
    r->fd = -1;
    r->arena = NULL;
    r->buffered = 0;
    if (state_check(fd, expect, &r->header, err) < 0)
        return -1;
    r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (r->fd < 0)
        return error_set(err, "state.memfd", errno, "cannot read the state of \"%s\"",
                         expect->module);
    r->buffered_at = 0;
    r->api = (struct cloche_reader){.struct_size = sizeof r->api,
                                    .schema = r->header.schema,
                                    .remaining = r->header.length_bytes,
                                    .opaque = r,
                                    .read = reader_read};
    return 0;
}

void state_reader_close(struct state_reader *r)
{
    if (r->arena != NULL)
        munmap(r->arena, r->api.arena_size);
    cleanup_close(&r->fd);
    r->fd = -1;
    r->arena = NULL;
}
