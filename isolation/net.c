/* The part of networking that every start may need; bridges, and libnl with them, are in
 * net_bridge.c. */
#include "isolation/net.h"

#include "base/cleanup.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

int net_loopback_up(void)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &request);
}
