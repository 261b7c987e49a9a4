/* The host name, domain name and session of the UTS namespace. */
#include "tests/attacks/neighbours/neighbour.h"

#include <sys/utsname.h>

int main(int argc, char **argv)
{
    struct utsname name;

    if (leaving(argc, argv)) {
        int fd = open("/proc/sys/kernel/hostname", O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, TRACE, sizeof(TRACE) - 1) < 0)
            return hold("hostname");
        return hold(NULL);
    }
    uname(&name);
    if (strcmp(name.nodename, TRACE) == 0)
        breach("a neighbour named this host");
    return verdict();
}
