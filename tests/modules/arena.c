/* Words in an arena: as large a state as one likes, and faults around it. Built with
 *
 *   -DSCHEMA=1|2      2 keeps every word plus one million, and migrates both ways
 *   -DNO_ARENA        schema 3: the sum of all words, without an arena
 *   -DLABEL='"..."'   makes the bytes differ
 *   -DFAULT_HANDLE=x  evaluated for each request
 *   -DFAULT_SAVE=x, -DFAULT_LOAD=x
 *
 * Requests: "fill N" (each of the first N KiB), "put I V", "get I", "sum", "size", "version",
 * "calls" (kept outside of the arena), "crash"; of no good: "scribble" (a thread that goes on
 * writing, whatever is agreed), "share" (a mapping that is not given up), "shrink", "punch". */
#define _GNU_SOURCE
#include <cloche/module.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef SCHEMA
#define SCHEMA 1
#endif
#ifndef LABEL
#define LABEL ""
#endif
#ifndef FAULT_HANDLE
#define FAULT_HANDLE 0
#endif
#ifndef FAULT_SAVE
#define FAULT_SAVE 0
#endif
#ifndef FAULT_LOAD
#define FAULT_LOAD 0
#endif
#ifndef FLAGS
#define FLAGS (CLOCHE_DETERMINISTIC | CLOCHE_STATE_ARENA)
#endif

#define CRASH  (raise(SIGSEGV), 1)
#define HANG   (pause(), pause(), pause(), 1)
#define REFUSE 3

#define BIAS(schema) ((schema) == 2 ? 1000000u : 0u)

static const struct cloche_host *host;
static uint64_t *words, calls, handled;
static size_t count;

static int init(const struct cloche_host *h, void **self)
{
    (void)self;
    host = h;
    words = h->arena;
    count = h->arena_size / sizeof *words;
    if (count > 0)
        words[count - 1] = 100 + h->version; /* laid out; gone where a state is taken over */
    return 0;
}

static void *scribble(void *context)
{
    for (uint64_t i = 0;; i++)
        words[i % 512] = i;
    return context;
}

/* Each file of the arena that this process has, and may still write to: shared, shrunk, or with a
 * hole in it. How many of them let it. */
static int misuse(const char *how)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++) {
        char path[64], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) <= 0 ||
            strstr(target, "cloche-arena") == NULL)
            continue;
        if (strcmp(how, "share") == 0)
            count +=
                mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 2 << 20) != MAP_FAILED;
        else if (strcmp(how, "shrink") == 0)
            count += ftruncate(fd, 4096) == 0;
        else
            count += fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 << 20) == 0;
    }
    return count;
}

static int handle(void *self, const struct cloche_request *r, struct cloche_reply *reply)
{
    char text[64] = "", what[16] = "";
    unsigned long long index = 0, value = 0;
    (void)self;
    memcpy(text, r->data, r->size < sizeof text - 1 ? r->size : sizeof text - 1);
    sscanf(text, "%15s %llu %llu", what, &index, &value);
    calls++;
    handled++;
    if (FAULT_HANDLE != 0)
        return 5;
    if (strcmp(what, "version") == 0)
        return cloche_reply_number(reply, host->version);
    if (strcmp(what, "calls") == 0)
        return cloche_reply_number(reply, (int64_t)calls);
    if (strcmp(what, "size") == 0)
        return cloche_reply_number(reply, (int64_t)host->arena_size);
    if (strcmp(what, "crash") == 0)
        return CRASH;
    if (strcmp(what, "scribble") == 0) {
        pthread_t t;
        return pthread_create(&t, NULL, scribble, NULL);
    }
    if (strcmp(what, "share") == 0 || strcmp(what, "shrink") == 0 || strcmp(what, "punch") == 0)
        return cloche_reply_number(reply, misuse(what));
    if (strcmp(what, "fill") == 0) {
        for (size_t i = 0; i < index * 128 && i < count; i++)
            words[i] = i + 1 + BIAS(SCHEMA);
    } else if (strcmp(what, "put") == 0 && index < count) {
        words[index] = value + BIAS(SCHEMA);
    } else if (strcmp(what, "get") == 0 && index < count) {
        return cloche_reply_number(reply,
                                   (int64_t)(words[index] == 0 ? 0 : words[index] - BIAS(SCHEMA)));
    } else if (strcmp(what, "sum") == 0) {
        uint64_t sum = calls * 0;
        for (size_t i = 0; i < count; i++)
            sum = sum * 31 + (words[i] == 0 ? 0 : words[i] - BIAS(SCHEMA));
        return cloche_reply_number(reply, (int64_t)(sum >> 1));
    }
    return cloche_reply_number(reply, (int64_t)index);
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    int fault = FAULT_SAVE;
    return fault != 0 ? fault : cloche_write_u64(out, calls);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    int fault = FAULT_LOAD;
    return fault != 0 ? fault : cloche_read_u64(in, &calls);
}

static int migrate(uint32_t from, uint32_t to, struct cloche_reader *in, struct cloche_writer *out)
{
    uint64_t kept;
    const uint64_t *old = in->arena;
    uint64_t *new = out->arena;
    if (from > 2 || to > 2 || in->arena_size != out->arena_size || cloche_read_u64(in, &kept) != 0)
        return 1;
    for (size_t i = 0; i < in->arena_size / sizeof *old; i++) {
        if (old[i] != 0)
            new[i] = old[i] - BIAS(from) + BIAS(to);
    }
    return cloche_write_u64(out, kept);
}

CLOCHE_MODULE_WITH("arena", FLAGS, SCHEMA, 1, .label = LABEL, .init = init, .handle = handle,
                   .save_state = save, .load_state = load, .migrate = migrate);
