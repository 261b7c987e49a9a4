/* Socket families beyond unix and internet ones are kernel code that nobody here needs: AF_ALG,
 * AF_VSOCK (a way to the hypervisor and to other sandboxes), AF_PACKET, AF_CAN, ... Denied must
 * mean EPERM or EAFNOSUPPORT whatever the type, also when the family has bits above the 32nd. */
#include "tests/attacks/attack.h"

static void try(long family, int type, long protocol)
{
    long fd = syscall(SYS_socket, family, type, protocol);

    if (fd >= 0) {
        breach("socket(%#lx, %d, %ld)", family, type, protocol);
        close((int)fd);
    } else if (errno != EPERM && errno != EAFNOSUPPORT && errno != ENOSYS && errno != EACCES) {
        breach("socket(%#lx, %d, %ld) reached the kernel: %s", family, type, protocol,
               strerror(errno));
    }
}

int main(void)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
    int pair[2];

    for (int family = 0; family < 64; family++) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
            continue;
        for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
            try(family, types[t], 0);
            try(family | 1L << 32, types[t], 0);
        }
    }
    /* NETLINK_ROUTE is 0; the others reach the firewall, the audit system, crypto, devices, ... */
    for (long protocol = 1; protocol < 32; protocol++) {
        try(AF_NETLINK, SOCK_RAW, protocol);
        try(AF_NETLINK, SOCK_DGRAM, protocol | 1L << 32);
    }
    /* raw packets need a capability that must not be there */
    for (long protocol = 1; protocol < 20; protocol++) {
        int fd = socket(AF_INET, SOCK_RAW, (int)protocol);

        if (fd >= 0)
            breach("raw socket of protocol %ld", protocol);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 && errno == EPERM)
        note("even socketpair is denied");
    return verdict();
}
