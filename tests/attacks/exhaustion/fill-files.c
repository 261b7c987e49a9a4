/* Fills the file system at argv[1] to the brim; argv[2] MiB must not fit. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    static char block[1 << 16];
    long allowed = number(argc, argv, 2, 1024);
    unsigned long long written = 0;
    const char *where = argc > 1 ? argv[1] : "/tmp";

    only_inside();
    signal(SIGXFSZ, SIG_IGN);
    memset(block, 1, sizeof(block));
    for (int file = 0; file < 4096; file++) {
        unsigned long long before = written;
        char path[128];
        ssize_t n;

        snprintf(path, sizeof(path), "%s/fill-%d", where, file);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        if (fd < 0)
            break;
        while ((n = write(fd, block, sizeof(block))) > 0) {
            written += (unsigned long long)n;
            if (written >> 20 > (unsigned long long)allowed)
                break;
        }
        close(fd);
        if (written == before || written >> 20 > (unsigned long long)allowed)
            break;
    }
    return judge("MiB in files", (long)(written >> 20), allowed);
}
