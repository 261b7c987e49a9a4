/* The same by many small processes: the limit has to count the tree. argv[1]: processes, argv[2]:
 * MiB that each one holds. All of them alive and full at once is the breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long processes = number(argc, argv, 1, 16), mib = number(argc, argv, 2, 64);
    int full[2], hold[2];
    char byte = 0;

    only_inside();
    if (pipe(full) < 0 || pipe(hold) < 0)
        skip("pipe: %s", strerror(errno));
    for (long i = 0; i < processes; i++) {
        if (fork() != 0)
            continue;
        char *p = malloc((size_t)mib << 20);

        if (p == NULL)
            _exit(1);
        memset(p, 1, (size_t)mib << 20);
        __asm__ volatile("" : : "r"(p) : "memory");
        if (write(full[1], &byte, 1) != 1)
            _exit(1);
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) < 0);
    }
    close(full[1]);
    for (long i = 0; i < processes; i++)
        if (read(full[0], &byte, 1) != 1) {
            note("only %ld of %ld got their memory", i, processes);
            abort();
        }
    breach("%ld processes hold %ld MiB each", processes, mib);
    return verdict();
}
