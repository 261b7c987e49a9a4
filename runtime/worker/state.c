/* The state of a module: saved, given away, taken over, migrated; and its arena (versions/state.h),
 * whose pieces move when there is nothing else to do. */
#include "runtime/worker/host.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPARE_MAX  (1024u * 1024)
#define WARM_BYTES (96 * 1024) /* less than what malloc maps, and unmaps, by itself */
#define WAIT_NS    5000000     /* a worker that is never idle moves a piece this often */

uint64_t host_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct state_reader loaded; /* not on the stack, whose pages would be touched first then */

int host_arena_open(struct host *h, struct error *err)
{
    if ((h->module->abi.flags & CLOCHE_STATE_ARENA) == 0)
        return 0;
    if (state_arena_open(&h->arena, h->init.arena_bytes, err) < 0)
        return -1;
    h->api.arena = h->arena.at;
    h->api.arena_size = h->arena.bytes;
    return 0;
}

static int settle(struct host *h)
{
    int r = 0;
    while (h->arena.at != NULL && r == 0)
        r = state_arena_step(&h->arena);
    return r < 0 ? -1 : 0;
}

static int open_writer(struct host *h, struct state_writer *w, bool give, struct error *err)
{
    const struct cloche_module *m = h->module;
    if (h->arena.at == NULL && h->spare < 0)
        return state_writer_open(w, h->name, h->init.version, m->abi.state_schema,
                                 h->init.state_cap, err);
    if (h->arena.at == NULL) {
        state_writer_begin(w, h->name, h->init.version, m->abi.state_schema, h->init.state_cap);
        w->fd = TAKE_FD(h->spare);
        w->file_bytes = h->spare_bytes;
        return 0;
    }
    if (settle(h) < 0)
        return error_set(err, "state.memfd", errno, "no memory for a copy of its arena");
    return state_writer_open_arena(w, h->name, h->init.version, m->abi.state_schema, &h->arena,
                                   give, err);
}

/** [@from, @to) is written to in a moment, and each page of it that is not there costs a fault. */
static void populate(uintptr_t from, uintptr_t to)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (from + page - 1) & -page;
    if (to > first)
        madvise((void *)first, to - first < WARM_BYTES ? to - first : WARM_BYTES,
                MADV_POPULATE_WRITE);
}

static int warm_object(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    if (info->dlpi_addr != *(uintptr_t *)context)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W) != 0)
            populate(at + p->p_filesz, at + p->p_memsz);
    }
    return 1;
}

void host_warm(uintptr_t module)
{
    dl_iterate_phdr(warm_object, &module);
    memset(&loaded, 0, sizeof loaded);
    uintptr_t heap = (uintptr_t)malloc(WARM_BYTES);
    if (heap != 0)
        populate(heap, heap + WARM_BYTES);
    free((void *)heap);
}

/** The next state is most often as large, and all wait for it: half of its time would go for this.
 * Written, and not only reserved: the first write to a page costs more than the copy. */
static void make_spare(struct host *h, uint64_t size)
{
    static char zeros[16384];
    _cleanup_close_ int fd =
        size > SPARE_MAX ? -1 : memfd_create("cloche-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool good = fd >= 0;
    for (uint64_t left = size, n; good && left > 0; left -= n) {
        n = left < sizeof zeros ? left : sizeof zeros;
        good = io_write_all(fd, zeros, n) == 0;
    }
    if (!good || lseek(fd, sizeof(struct state_header), SEEK_SET) < 0)
        return;
    h->spare = TAKE_FD(fd);
    h->spare_bytes = size;
}

void host_save(struct host *h, const struct wire_record *r)
{
    static struct state_writer w;
    const struct cloche_module *m = h->module;
    struct error err = ERROR_INIT;
    int fd = -1;
    bool give = r->type == WIRE_GIVE;
    if (m->save_state == NULL || open_writer(h, &w, give, &err) < 0) {
        host_refuse(h, WIRE_FAIL_SAVE,
                    m->save_state == NULL ? "it has no save_state" : err.message);
        return;
    }
    host_stage(h, WIRE_FAIL_SAVE);
    int rc = m->save_state(h->self, &w.api);
    if (rc != 0 && !w.failed) {
        char text[64];
        snprintf(text, sizeof text, "save_state answered %d", rc);
        state_writer_close(&w);
        host_refuse(h, WIRE_FAIL_SAVE, text);
        return;
    }
    if (h->arena.at != NULL && !w.failed && !give && state_arena_detach(&h->arena) < 0) {
        state_writer_close(&w);
        host_refuse(h, WIRE_FAIL_SAVE, "its arena cannot be given up");
        return;
    }
    if (state_writer_seal(&w, r->value, &fd, &err) < 0) {
        host_refuse(h, WIRE_FAIL_SAVE, err.message);
        return;
    }
    h->arena.fresh = h->arena.fresh && !give;
    h->arena_touched = false;
    host_done(h, WIRE_OK, NULL, fd);
    if (h->arena.at == NULL && r->type == WIRE_COPY)
        make_spare(h, sizeof w.header + w.header.length_bytes);
}

/** @from rewritten as schema @schema; -1: refused, and the keeper told. */
static int migrate(struct host *h, struct state_reader *from, int snapshot, uint32_t schema)
{
    static struct state_writer w;
    const struct cloche_module *m = h->module;
    struct error err = ERROR_INIT;
    int fd = -1, rc;
    char text[96];
    uint32_t old = from->header.schema;
    if (m->migrate == NULL || (schema == m->abi.state_schema && old < m->abi.state_schema_min)) {
        snprintf(text, sizeof text, "this version cannot migrate schema %u to %u", old, schema);
        host_refuse(h, WIRE_FAIL_MIGRATE, text);
        return -1;
    }
    struct state_arena arena = {.fd = -1, .next = -1};
    bool with_arena = from->header.arena_pages != 0 || (m->abi.flags & CLOCHE_STATE_ARENA) != 0;
    if (state_reader_arena(from, snapshot, &err) < 0 ||
        (with_arena ? state_arena_open(&arena, h->init.arena_bytes, &err) < 0 ||
                          state_writer_open_arena(&w, h->name, h->init.version, schema, &arena,
                                                  false, &err) < 0
                    : state_writer_open(&w, h->name, h->init.version, schema, h->init.state_cap,
                                        &err) < 0)) {
        state_arena_close(&arena);
        host_refuse(h, WIRE_FAIL_MIGRATE, err.message);
        return -1;
    }
    w.api.arena = arena.at;
    w.api.arena_size = arena.bytes;
    host_stage(h, WIRE_FAIL_MIGRATE);
    rc = m->migrate(old, schema, &from->api, &w.api);
    state_arena_close(&arena); /* its file is the writer's */
    if (rc != 0 && !w.failed) {
        snprintf(text, sizeof text, "migrate of schema %u to %u answered %d", old, schema, rc);
        state_writer_close(&w);
        host_refuse(h, WIRE_FAIL_MIGRATE, text);
        return -1;
    }
    if (state_writer_seal(&w, from->header.sequence, &fd, &err) < 0) {
        host_refuse(h, WIRE_FAIL_MIGRATE, err.message);
        return -1;
    }
    return fd;
}

bool host_healthy(struct host *h)
{
    const struct cloche_module *m = h->module;
    host_stage(h, WIRE_FAIL_HEALTH);
    int rc = m->health != NULL ? m->health(h->self) : 0;
    char text[64];
    if (rc == 0)
        return true;
    snprintf(text, sizeof text, "health answered %d", rc);
    host_refuse(h, WIRE_FAIL_HEALTH, text);
    return false;
}

void host_load(struct host *h, int snapshot)
{
    const struct cloche_module *m = h->module;
    const struct state_expect any = {.module = h->name,
                                     .any_schema = true,
                                     .cap_bytes = h->init.state_cap,
                                     .arena_bytes = h->init.arena_bytes,
                                     .given = true};
    struct state_reader *r = &loaded;
    struct error err = ERROR_INIT;
    _cleanup_close_ int migrated = -1;
    if (m->load_state == NULL) {
        host_refuse(h, WIRE_FAIL_LOAD, "it has no load_state");
        return;
    }
    if (state_reader_open(r, snapshot, &any, &err) < 0) {
        host_refuse(h, WIRE_FAIL_LOAD, err.message);
        return;
    }
    if (r->header.schema != m->abi.state_schema) {
        migrated = migrate(h, r, snapshot, m->abi.state_schema);
        state_reader_close(r);
        if (migrated < 0)
            return;
        if (state_reader_open(r, migrated, &any, &err) < 0) {
            host_refuse(h, WIRE_FAIL_LOAD, err.message);
            return;
        }
    }
    int from = migrated >= 0 ? migrated : snapshot;
    if (h->arena.at == NULL && !state_arena_empty(from, &r->header)) {
        state_reader_close(r);
        host_refuse(h, WIRE_FAIL_LOAD,
                    "the state has an arena, and this version of its schema none");
        return;
    }
    if (r->header.arena_pages != 0 && h->arena.at != NULL &&
        state_arena_load(&h->arena, from, &r->header, &err) < 0) {
        state_reader_close(r);
        host_refuse(h, WIRE_FAIL_LOAD, err.message);
        return;
    }
    host_stage(h, WIRE_FAIL_LOAD);
    int rc = m->load_state(h->self, &r->api);
    state_reader_close(r);
    if (rc != 0) {
        char text[64];
        snprintf(text, sizeof text, "load_state answered %d", rc);
        host_refuse(h, WIRE_FAIL_LOAD, text);
        return;
    }
    if (host_healthy(h))
        host_done(h, WIRE_OK, NULL, -1);
}

void host_migrate(struct host *h, const struct wire_record *r, int snapshot)
{
    const struct state_expect any = {.module = h->name,
                                     .any_schema = true,
                                     .cap_bytes = h->init.state_cap,
                                     .arena_bytes = h->init.arena_bytes,
                                     .given = true};
    struct state_reader reader;
    struct error err = ERROR_INIT;
    if (state_reader_open(&reader, snapshot, &any, &err) < 0) {
        host_refuse(h, WIRE_FAIL_MIGRATE, err.message);
        return;
    }
    int fd = migrate(h, &reader, snapshot, (uint32_t)r->value);
    state_reader_close(&reader);
    if (fd >= 0)
        host_done(h, WIRE_OK, NULL, fd);
}

/* --- what waits until the arena has moved ---------------------------------------------------- */

static void done_waiting(struct host *h)
{
    const struct wire_record r = h->waiting;
    h->waiting.type = 0;
    if (r.type == WIRE_SAVE || r.type == WIRE_COPY)
        host_save(h, &r);
    else if (r.type == WIRE_SETTLE)
        host_done(h, WIRE_OK, NULL, -1); /* when it failed, GIVE will say so */
}

void host_defer(struct host *h, const struct wire_record *r)
{
    h->waiting = *r;
    if (!host_arena_moves(h))
        done_waiting(h);
}

void host_finish(struct host *h)
{
    if (h->waiting.type != 0)
        settle(h);
    done_waiting(h);
}

void host_arena_move(struct host *h, bool idle)
{
    uint64_t now = host_now_ns();
    if (!idle && h->waiting.type == 0 && now - h->arena_ns < WAIT_NS)
        return;
    h->arena_ns = now;
    int r = state_arena_step(&h->arena);
    if (r < 0)
        h->arena_touched = false; /* memory is short: not before the next request */
    if (r != 0)
        done_waiting(h);
}

void host_seal(struct host *h)
{
    if (h->arena.at == NULL || state_arena_seal(&h->arena) < 0)
        host_refuse(h, WIRE_FAIL_SAVE, "its arena cannot be sealed");
    else
        host_done(h, WIRE_OK, NULL, -1);
}
