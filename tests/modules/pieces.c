/* Answers in the pieces it is asked for: "3 r40000 l 0 ..." are so many bytes of a letter each, "r"
 * by reserve; "l" is a line of the log between them. A size may end with "!": it is a failure when
 * the host takes it. */
#include <cloche/module.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int init(const struct cloche_host *host, void **self)
{
    *self = (void *)(uintptr_t)host;
    return 0;
}

static int handle(void *self, const struct cloche_request *request, struct cloche_reply *reply)
{
    char text[4096], *at = text;
    if (request->size >= sizeof text)
        return 1;
    memcpy(text, request->data, request->size);
    text[request->size] = '\0';
    for (int letter = 'a'; *at != '\0'; letter = letter == 'z' ? 'a' : letter + 1) {
        bool by_reserve = *at == 'r', line = *at == 'l';
        at += by_reserve || line;
        size_t size = line ? 0 : strtoul(at, &at, 10);
        bool refused = *at == '!';
        at += refused;
        at += strspn(at, " \n");
        if (line) {
            cloche_log(self, 1, "between");
            continue;
        }
        char *data = by_reserve ? reply->reserve(reply, size) : malloc(size + 1);
        if ((data == NULL) != (by_reserve && refused))
            return 2;
        if (data == NULL)
            continue;
        memset(data, letter, size);
        if (!by_reserve && (reply->write(reply, data, size) < 0) != refused)
            return 3;
        if (!by_reserve)
            free(data);
    }
    return 0;
}
CLOCHE_MODULE("pieces", .init = init, .handle = handle);
