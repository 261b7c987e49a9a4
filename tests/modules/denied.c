/* Wants what stricter profiles deny. */
#include <cloche/module.h>
#include <stdlib.h>
#include <unistd.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    if (request->size > 0 && system("true") == 0)
        execlp("true", "true", (char *)0);
    return cloche_reply_text(reply, "denied");
}
CLOCHE_MODULE("denied", .init = cloche_no_init, .handle = handle);
