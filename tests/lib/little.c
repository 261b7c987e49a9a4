/* Preloaded into a keeper: its sockets get no more room than Debian's net.core.wmem_max leaves an
 * ordinary user, also where a test runs as root or with more. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

typedef int set_fn(int, int, int, const void *, socklen_t);

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    static const int most = 212992;
    set_fn *next = (set_fn *)dlsym(RTLD_NEXT, "setsockopt");
    if (level == SOL_SOCKET && name == SO_SNDBUFFORCE) {
        errno = EPERM;
        return -1;
    }
    if (level == SOL_SOCKET && name == SO_SNDBUF && *(const int *)value > most)
        value = &most;
    return next(fd, level, name, value, size);
}
