#include <cloche/module.h>
#include <ctype.h>

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    const char *text = request->data;
    char *out = reply->reserve(reply, request->size + 1);
    (void)self;
    for (size_t i = 0; out != NULL && i < request->size; i++)
        out[i] = (char)toupper((unsigned char)text[i]);
    if (out != NULL)
        out[request->size] = '!';
    return out == NULL;
}
CLOCHE_MODULE("upper", .init = cloche_no_init, .handle = handle);
