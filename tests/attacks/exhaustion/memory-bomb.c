/* One process touches memory until it is stopped. argv[1] MiB is more than the limit allows:
 * to hold that much is the breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 1024), held = 0;

    only_inside();
    while (held <= allowed) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED) {
            note("mmap after %ld MiB: %s", held, strerror(errno));
            abort();
        }
        memset(p, 1, 1 << 20);
        held++;
    }
    return judge("MiB of memory", held, allowed);
}
