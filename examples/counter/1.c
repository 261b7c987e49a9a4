/* Version 1: counts in 32 bits, which is state schema 1. */
#include <cloche/module.h>

static uint32_t count;

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self, (void)request;
    return cloche_reply_number(reply, ++count);
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    return cloche_write_u32(out, count);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    return cloche_read_u32(in, &count);
}

CLOCHE_MODULE_WITH("counter", CLOCHE_DETERMINISTIC, 1, 1, .label = "32 bits",
                   .init = cloche_no_init, .handle = handle, .save_state = save,
                   .load_state = load);
