/* Writes to a volume that it may write (argv[1]) as fast as it can, with fsync of small pieces: the
 * file-size limit and the wall clock end it, and its clean-up must not wait for the disk. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    static char block[1 << 16];
    char path[128];
    long written = 0;

    only_inside();
    if (argc < 2)
        skip("which directory?");
    signal(SIGXFSZ, SIG_IGN);
    snprintf(path, sizeof(path), "%s/dirty", argv[1]);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0)
        skip("open: %s", strerror(errno));
    while (write(fd, block, sizeof(block)) > 0)
        written += (long)sizeof(block) >> 10;
    unlink(path);
    return judge("MiB in one file", written >> 10, number(argc, argv, 2, 64));
}
