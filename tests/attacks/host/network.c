/* With no network: no interface but lo, nothing to connect to, not the host's listener either
 * (argv[1]: its port on 127.0.0.1, argv[2]: the name of its abstract unix socket), no raw packets,
 * no new interface. */
#include "tests/attacks/attack.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/un.h>

static void try_inet(const char *address, int port, int type)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    inet_pton(AF_INET, address, &to.sin_addr);
    int result = connect(fd, (struct sockaddr *)&to, sizeof(to));

    int error = result == 0 ? 0 : errno;
    socklen_t size = sizeof(error);

    /* a refusal may come a moment later; no answer at all means that packets leave */
    if (error == EINPROGRESS && poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (type == SOCK_STREAM && (error == 0 || error == EINPROGRESS))
        breach("connected to %s:%d", address, port);
    else if (type == SOCK_DGRAM && result == 0)
        breach("there is a route to %s", address);
    close(fd);
}

int main(int argc, char **argv)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct if_nameindex *list = if_nameindex();
    struct ifreq request;
    int fd;

    for (struct if_nameindex *i = list; i != NULL && i->if_name != NULL; i++)
        if (strcmp(i->if_name, "lo") != 0)
            breach("there is an interface %s", i->if_name);
    try_inet("127.0.0.1", (int)number(argc, argv, 1, 22), SOCK_STREAM);
    try_inet("8.8.8.8", 53, SOCK_DGRAM);
    try_inet("8.8.8.8", 53, SOCK_STREAM);
    try_inet("169.254.169.254", 80, SOCK_STREAM); /* where clouds hand out credentials */
    try_inet("224.0.0.1", 5000, SOCK_DGRAM);

    if (argc > 2) {
        size_t size = strlen(argv[2]);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        memcpy(un.sun_path + 1, argv[2], size < sizeof(un.sun_path) - 1 ? size : 1);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&un,
                               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size)) == 0)
            breach("connected to the host's abstract socket %s", argv[2]);
    }
    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_PROMISC;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0)
        breach("lo configured");
    return verdict();
}
