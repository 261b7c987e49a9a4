/* Version 2: counts in 64 bits and by tens (schema 2), and knows how to go both ways. */
#include <cloche/module.h>

static uint64_t count;

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self, (void)request;
    return cloche_reply_number(reply, (int64_t)(count += 10));
}

static int save(void *self, struct cloche_writer *out)
{
    (void)self;
    return cloche_write_u64(out, count);
}

static int load(void *self, struct cloche_reader *in)
{
    (void)self;
    return cloche_read_u64(in, &count);
}

static int migrate(uint32_t from, uint32_t to, struct cloche_reader *in, struct cloche_writer *out)
{
    uint32_t narrow = 0;
    uint64_t wide = 0;
    if (from == 1 && to == 2)
        return cloche_read_u32(in, &narrow) || cloche_write_u64(out, narrow);
    if (from == 2 && to == 1)
        return cloche_read_u64(in, &wide) || wide > UINT32_MAX ||
               cloche_write_u32(out, (uint32_t)wide);
    return 1;
}

CLOCHE_MODULE_WITH("counter", CLOCHE_DETERMINISTIC, 2, 1, .label = "64 bits, by tens",
                   .init = cloche_no_init, .handle = handle, .save_state = save, .load_state = load,
                   .migrate = migrate);
