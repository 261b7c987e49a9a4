/* A file of a terabyte that takes no space: the file-size limit refuses it (EFBIG, SIGXFSZ), or the
 * file system does. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/tmp/sparse";
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    off_t size = (off_t)1 << 40;

    only_inside();
    signal(SIGXFSZ, SIG_IGN);
    if (fd < 0)
        skip("open: %s", strerror(errno));
    if (ftruncate(fd, size) == 0)
        breach("ftruncate to 1 TiB");
    if (pwrite(fd, "x", 1, size) == 1)
        breach("a byte written at 1 TiB");
    if (posix_fallocate(fd, 0, size) == 0)
        breach("1 TiB allocated");
    return verdict();
}
