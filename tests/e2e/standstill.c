/* standstill MIB: so much memory of its own, and 8 MiB of the file "file", read over and over. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define FILE_BYTES (8 << 20)
char *own;
int main(int argc, char **argv)
{
    static char block[1 << 20];
    size_t size = (size_t)atoi(argv[argc - 1]) << 20;
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (size_t done = 0; done < FILE_BYTES; done += sizeof block)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
            return 1;
    if (fsync(fd) < 0)
        return 1;
    volatile const char *file = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    own = malloc(size);
    memset(own, 1, size);
    for (;;)
        for (size_t at = 0; at < FILE_BYTES; at += 4096)
            if (file[at] == own[0])
                return 1;
}
