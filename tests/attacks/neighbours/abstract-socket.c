/* Abstract unix sockets are names of a network namespace: a shared one lets sandboxes talk. */
#include "tests/attacks/neighbours/neighbour.h"

#include <stddef.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + sizeof(TRACE) - 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(name.sun_path + 1, TRACE, sizeof(TRACE) - 1);
    if (leaving(argc, argv)) {
        if (bind(fd, (struct sockaddr *)&name, size) < 0 || listen(fd, 8) < 0)
            return hold("bind");
        return hold(NULL);
    }
    if (connect(fd, (struct sockaddr *)&name, size) == 0)
        breach("connected to a neighbour's abstract socket");
    return verdict();
}
