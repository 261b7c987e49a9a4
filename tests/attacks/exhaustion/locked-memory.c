/* Locks memory, so that it cannot be reclaimed; more than argv[1] MiB is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 64), held = 0;

    only_inside();
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
        note("mlockall is allowed");
    munlockall();
    while (held <= allowed) {
        void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || mlock(p, 1 << 20) < 0)
            break;
        held++;
    }
    return judge("MiB locked", held, allowed);
}
