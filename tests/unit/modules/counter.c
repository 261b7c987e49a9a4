#include <cloche/module.h>

static uint64_t count;

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    return cloche_reply_number(reply, (int64_t)++count);
}

static int save(void *self, struct cloche_writer *out)
{
    return cloche_write_u64(out, count);
}

static int load(void *self, struct cloche_reader *in)
{
    return cloche_read_u64(in, &count);
}

/* schema 1 kept 32 bits, schema 2 keeps 64 */
static int migrate(uint32_t from, uint32_t to, struct cloche_reader *in, struct cloche_writer *out)
{
    uint32_t narrow = 0;
    uint64_t wide = 0;
    if (from == 1 && to == 2)
        return cloche_read_u32(in, &narrow) || cloche_write_u64(out, narrow);
    return cloche_read_u64(in, &wide) || wide > UINT32_MAX || cloche_write_u32(out, (uint32_t)wide);
}
CLOCHE_MODULE_WITH("counter", CLOCHE_DETERMINISTIC, 2, 1, .init = cloche_no_init, .handle = handle,
                   .save_state = save, .load_state = load, .migrate = migrate);
