/* Makes empty files at argv[1]; more than argv[2] is a breach. Their removal afterwards is the
 * runtime's time: the wall bound counts it. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 2, 100000), count = 0;
    const char *where = argc > 1 ? argv[1] : "/tmp";

    only_inside();
    while (count <= allowed) {
        char path[128];

        snprintf(path, sizeof(path), "%s/inode-%ld", where, count);
        if (mknod(path, S_IFREG | 0600, 0) < 0) {
            int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

            if (fd < 0)
                break;
            close(fd);
        }
        count++;
    }
    return judge("files", count, allowed);
}
