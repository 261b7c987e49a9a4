/* A root or a volume that comes from elsewhere may hold device nodes: of the host's memory, disks,
 * kernel log. None may be opened, whoever the program runs as. argv: the nodes. */
#include "tests/attacks/attack.h"

int main(int argc, char **argv)
{
    struct stat st;
    int seen = 0;

    for (int i = 1; i < argc; i++) {
        if (stat(argv[i], &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
            seen++;
        int fd = open(argv[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0)
            breach("%s can be opened", argv[i]);
        else if (errno == ENXIO)
            breach("%s reached a driver", argv[i]);
        if (fd >= 0)
            close(fd);
    }
    if (seen == 0)
        skip("no device node to be seen");
    return verdict();
}
