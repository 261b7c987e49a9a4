/* TCP and UDP on 127.0.0.1: every sandbox has a loopback of its own. */
#include "tests/attacks/neighbours/neighbour.h"

#include <arpa/inet.h>
#include <netinet/in.h>

int main(int argc, char **argv)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(4747)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (leaving(argc, argv)) {
        if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 || listen(fd, 8) < 0)
            return hold("bind");
        return hold(NULL);
    }
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
        breach("connected to a neighbour's port");
    return verdict();
}
