/* A module called NAME that answers VERSION; with -DREFUSES its init fails. */
#include <cloche/module.h>

static int init(const struct cloche_host *host, void **self)
{
    (void)host;
    (void)self;
#ifdef REFUSES
    return 1;
#else
    return 0;
#endif
}

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    (void)self;
    (void)request;
    return cloche_reply_number(reply, VERSION);
}

CLOCHE_MODULE(NAME, .init = init, .handle = handle);
