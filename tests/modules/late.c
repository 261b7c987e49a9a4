/* A deterministic counter: answers how often it was asked, STEP at a time. It dies of its
 * CRASH_AT-th request and, with LATE, of each one that says so; from SLOW_FROM on a request takes
 * SLOW_US. */
#include <cloche/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef STEP
#define STEP 1
#endif
#ifndef CRASH_AT
#define CRASH_AT 0
#endif
#ifndef SLOW_US
#define SLOW_US   0
#define SLOW_FROM 0
#endif

static uint64_t count, mine;

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    char text[32];
    (void)self;
#ifdef LATE
    if (request->size == 5 && memcmp(request->data, "crash", 5) == 0)
        abort();
#else
    (void)request;
#endif
    count += STEP;
    if (++mine == CRASH_AT)
        abort();
    if (SLOW_US > 0 && mine > SLOW_FROM)
        usleep(SLOW_US);
    return reply->write(reply, text,
                        (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)count));
}

static int save(void *self, struct cloche_writer *to)
{
    (void)self;
    return cloche_write_u64(to, count);
}

static int load(void *self, struct cloche_reader *from)
{
    (void)self;
    return cloche_read_u64(from, &count);
}
CLOCHE_MODULE_WITH("late", CLOCHE_DETERMINISTIC, 1, 1, .init = cloche_no_init, .handle = handle,
                   .save_state = save, .load_state = load);
