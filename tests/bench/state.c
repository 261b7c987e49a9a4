/* The module of tests/bench/run-modules: 64 KiB of state, and a label that makes its bytes differ.
 * -DCRASHES: every request crashes it. -DARENA: the state is an arena, all of it in use. */
#include <cloche/module.h>

#include <string.h>

#ifndef LABEL
#define LABEL "1"
#endif
#ifdef ARENA
#define FLAGS   (CLOCHE_DETERMINISTIC | CLOCHE_STATE_ARENA)
#define WRITTEN 0
#else
#define FLAGS   CLOCHE_DETERMINISTIC
#define WRITTEN sizeof kept
#endif

static unsigned char kept[65536], *state = kept;
static size_t size = sizeof kept;

static int begin(const struct cloche_host *host, void **self)
{
    (void)self;
    if (host->arena != NULL) {
        state = host->arena;
        size = host->arena_size;
    }
    return 0;
}

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
#ifdef CRASHES
    __builtin_trap();
#endif
    if (state[0] == 0)
        memset(state, 1, size);
    state[1 + request->id % (size - 1)]++;
    return cloche_reply_write(reply, "right", 5);
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    return WRITTEN == 0 ? 0 : cloche_write(out, kept, WRITTEN);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    return WRITTEN == 0 ? 0 : cloche_read(in, kept, WRITTEN);
}

CLOCHE_MODULE_WITH("state", FLAGS, 1, 1, .label = LABEL, .init = begin, .handle = handle,
                   .save_state = save, .load_state = load);
