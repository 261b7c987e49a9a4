#include <cloche/module.h>
#include <ctype.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    const char *text = request->data;
    char *out = reply->reserve(reply, request->size);
    (void)self;
    for (size_t i = 0; out != NULL && i < request->size; i++)
        out[i] = (char)upper((unsigned char)text[i]);
    return out == NULL;
}
CLOCHE_MODULE("upper", .init = cloche_no_init, .handle = handle);
