/* Memory that belongs to no process: memfds, written and closed on this side, kept by a second
 * descriptor. argv[1] MiB must not be had. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    static char block[1 << 20];
    long allowed = number(argc, argv, 1, 1024), held = 0;

    only_inside();
    memset(block, 1, sizeof(block));
    for (int files = 0; files < 64 && held <= allowed; files++) {
        int fd = (int)syscall(SYS_memfd_create, "x", 0U);

        if (fd < 0)
            break;
        for (int i = 0; i < 32; i++)
            if (write(fd, block, sizeof(block)) == (ssize_t)sizeof(block))
                held++;
    }
    if (held <= allowed)
        note("%ld MiB held", held);
    return judge("MiB in memfds", held, allowed);
}
