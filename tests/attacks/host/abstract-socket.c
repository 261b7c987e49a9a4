/* Where the network is the host's, so are its abstract unix sockets, and behind those are services
 * that trust whoever may connect (CVE-2020-15257). Landlock keeps them apart since its sixth
 * version. argv[1] is the name that the runner listens on. */
#include "tests/attacks/attack.h"

#include <stddef.h>
#include <sys/un.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

int main(int argc, char **argv)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t size = argc > 1 ? strlen(argv[1]) : 0;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (size == 0 || size >= sizeof(name.sun_path) - 1)
        skip("which name?");
    memcpy(name.sun_path + 1, argv[1], size);
    if (connect(fd, (struct sockaddr *)&name, length) < 0)
        return verdict();
    if (syscall(SYS_landlock_create_ruleset, NULL, 0UL, 1U) < 6) /* ask for the version */
        skip("this kernel's Landlock does not know abstract sockets");
    breach("connected to the host's abstract socket %s", argv[1]);
    return verdict();
}
