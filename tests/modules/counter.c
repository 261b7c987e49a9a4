/* A counter with every fault that a reload has to survive. What it does is said by its build:
 *
 *   -DSCHEMA=1|2       32 or 64 bits of state; 2 migrates both ways unless -DONE_WAY
 *   -DFLAGS=...        CLOCHE_* flags (default CLOCHE_DETERMINISTIC)
 *   -DLABEL='"..."'    makes the bytes differ
 *   -DFAULT_x=y        in `x` (LOAD_TIME, INIT, SAVE, LOAD, MIGRATE, HEALTH, HANDLE, STOP) do y:
 *                      CRASH, HANG, REFUSE, EXIT
 *   -DFAULT_AFTER=n    of HANDLE: from the n-th request of this worker on
 *
 * Requests: "add" (or anything else) counts and answers the count; "get" answers it; "sleep N"
 * waits N ms; "crash", "hang", "exit", "big N" (a reply of N bytes), "version". */
#define _GNU_SOURCE
#include <cloche/module.h>

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef SCHEMA
#define SCHEMA 1
#endif
#ifndef FLAGS
#define FLAGS CLOCHE_DETERMINISTIC
#endif
#ifndef LABEL
#define LABEL ""
#endif
#ifndef FAULT_AFTER
#define FAULT_AFTER 1
#endif

#define CRASH  (raise(SIGSEGV), 1)
#define HANG   (pause(), pause(), pause(), 1)
#define REFUSE 3
#define EXIT   (_exit(0), 1)
#define FINE   0
#ifndef FAULT_INIT
#define FAULT_INIT FINE
#endif
#ifndef FAULT_SAVE
#define FAULT_SAVE FINE
#endif
#ifndef FAULT_LOAD
#define FAULT_LOAD FINE
#endif
#ifndef FAULT_MIGRATE
#define FAULT_MIGRATE FINE
#endif
#ifndef FAULT_HEALTH
#define FAULT_HEALTH FINE
#endif
#ifndef FAULT_HANDLE
#define FAULT_HANDLE FINE
#endif

static uint64_t count, handled;
static const struct cloche_host *host;

#ifdef FAULT_LOAD_TIME
__attribute__((constructor)) static void at_load(void)
{
    (void)(FAULT_LOAD_TIME);
}
#endif

static int init(const struct cloche_host *h, void **self)
{
    (void)self;
    host = h;
    return FAULT_INIT;
}

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) < 0)
        continue;
}

static int is(const struct cloche_request *r, const char *word)
{
    size_t n = strlen(word);
    return r->size >= n && memcmp(r->data, word, n) == 0;
}

static long number(const struct cloche_request *r)
{
    char text[32] = "";
    size_t n = r->size < sizeof text - 1 ? r->size : sizeof text - 1;
    memcpy(text, r->data, n);
    const char *space = strchr(text, ' ');
    return space != NULL ? atol(space) : 0;
}

static int handle(void *self, const struct cloche_request *r, struct cloche_reply *reply)
{
    (void)self;
    if (++handled >= FAULT_AFTER && FAULT_HANDLE != 0)
        return 5;
    if (is(r, "get"))
        return cloche_reply_number(reply, (int64_t)count);
    if (is(r, "version"))
        return cloche_reply_number(reply, host->version);
    if (is(r, "crash"))
        return CRASH;
    if (is(r, "hang"))
        return HANG;
    if (is(r, "exit"))
        return EXIT;
    if (is(r, "log")) {
        cloche_log(host, CLOCHE_LOG_INFO, "a line of the log");
        return 0;
    }
    if (is(r, "sleep"))
        wait_ms(number(r));
    if (is(r, "big")) {
        long size = number(r);
        void *at = reply->reserve(reply, (size_t)size);
        if (at == NULL)
            return -1;
        memset(at, 'x', (size_t)size);
        return 0;
    }
    return cloche_reply_number(reply, (int64_t)++count);
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    int fault = FAULT_SAVE;
    if (fault != 0)
        return fault;
    return SCHEMA == 1 ? cloche_write_u32(out, (uint32_t)count) : cloche_write_u64(out, count);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    uint32_t narrow = 0;
    int fault = FAULT_LOAD;
    if (fault != 0)
        return fault;
    if (SCHEMA == 2)
        return cloche_read_u64(in, &count);
    if (cloche_read_u32(in, &narrow) != 0)
        return -1;
    count = narrow;
    return 0;
}

static int migrate(uint32_t from, uint32_t to, struct cloche_reader *in, struct cloche_writer *out)
{
    uint32_t narrow = 0;
    uint64_t wide = 0;
    int fault = FAULT_MIGRATE;
    if (fault != 0)
        return fault;
    if (from == 1 && to == 2)
        return cloche_read_u32(in, &narrow) || cloche_write_u64(out, narrow);
#ifdef ONE_WAY
    return 1;
#endif
    return cloche_read_u64(in, &wide) || cloche_write_u32(out, (uint32_t)wide);
}

static int health(void *self)
{
    (void)self;
    return FAULT_HEALTH;
}

CLOCHE_MODULE_WITH("counter", FLAGS, SCHEMA, 1, .label = LABEL, .init = init, .handle = handle,
                   .save_state = save, .load_state = load, .migrate = migrate, .health = health);
