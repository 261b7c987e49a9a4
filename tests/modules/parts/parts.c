/* A module of several files: three parts that are compiled apart. */
#include "sum.h"

#include <cloche/module.h>
#include <math.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    return cloche_reply_number(reply, (int64_t)sqrt((double)sum(request->data, request->size)));
}
CLOCHE_MODULE("parts", .init = cloche_no_init, .handle = handle);
