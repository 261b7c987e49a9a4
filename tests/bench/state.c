/* The module of tests/bench/run-modules: 64 KiB of state, and a label that makes its bytes differ.
 * -DCRASHES: every request crashes it. */
#include <cloche/module.h>

#ifndef LABEL
#define LABEL "1"
#endif

static unsigned char state[65536];

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
#ifdef CRASHES
    __builtin_trap();
#endif
    state[request->id % sizeof state]++;
    return cloche_reply_write(reply, "right", 5);
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    return cloche_write(out, state, sizeof state);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    return cloche_read(in, state, sizeof state);
}

CLOCHE_MODULE_WITH("state", CLOCHE_DETERMINISTIC, 1, 1, .label = LABEL, .init = cloche_no_init,
                   .handle = handle, .save_state = save, .load_state = load);
