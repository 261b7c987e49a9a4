/* Says which ids of the host this sandbox's are, and holds on; the runner compares two of them. */
#include "tests/attacks/neighbours/neighbour.h"

int main(void)
{
    char map[256];
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, map, sizeof(map)) : -1;

    if (n <= 0 || write(STDOUT_FILENO, map, (size_t)n) != n)
        skip("no uid map to be read: %s", strerror(errno));
    return hold(NULL);
}
