#include <cloche/module.h>

struct table {
    uint64_t used, slots[100000];
}; /* the whole state */
static struct table *table;

static int init(const struct cloche_host *host, void **self)
{
    (void)self;
    table = host->arena; /* zeroed; from load_state on as the version before left it */
    return host->arena_size < sizeof *table;
}

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    uint64_t slot = request->size % 100000;
    table->used += table->slots[slot]++ == 0;
    return cloche_reply_number(reply, (int64_t)table->slots[slot]);
}

static int nothing_else(void *self, struct cloche_writer *out)
{
    (void)self;
    (void)out;
    return 0;
}
static int nothing_more(void *self, struct cloche_reader *in)
{
    (void)self;
    (void)in;
    return 0;
}

CLOCHE_MODULE_WITH("table", CLOCHE_DETERMINISTIC | CLOCHE_STATE_ARENA, 1, 1, .init = init,
                   .handle = handle, .save_state = nothing_else, .load_state = nothing_more);
