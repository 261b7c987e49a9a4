/* Opens descriptors until it is refused; more than argv[1] in one process is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 1024), count = 3;

    only_inside();
    while (count < 2000000 && dup(1) >= 0)
        count++;
    if (count <= allowed && errno != EMFILE)
        note("after %ld: %s", count, strerror(errno));
    return judge("open files", count, allowed);
}
