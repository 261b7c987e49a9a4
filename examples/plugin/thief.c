/* Looks for the host's secrets, then crashes. */
#include <cloche/module.h>
#include <stdio.h>
#include <string.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    if (request->size >= 5 && memcmp(request->data, "crash", 5) == 0)
        *(volatile int *)0 = 1;
    FILE *f = fopen("/etc/shadow", "r");
    return cloche_reply_text(reply, f != NULL ? "found it" : "there is no /etc/shadow to be seen");
}
CLOCHE_MODULE("thief", .init = cloche_no_init, .handle = handle);
