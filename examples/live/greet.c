/* What `run` edits while it serves. */
#include <cloche/module.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    return cloche_reply_text(reply, "hello, ") ||
           cloche_reply_write(reply, request->data, request->size);
}
CLOCHE_MODULE("greet", .init = cloche_no_init, .handle = handle);
