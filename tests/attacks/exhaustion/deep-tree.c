/* 3000 directories in one another, beyond PATH_MAX: a clean-up by recursion or
 * by path fails here. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    int depth = 0;

    only_inside();
    if (chdir(argc > 1 ? argv[1] : "/tmp") < 0)
        skip("chdir: %s", strerror(errno));
    while (depth < 3000 && mkdir("d", 0700) == 0 && chdir("d") == 0)
        depth++;
    if (depth < 3)
        note("only %d deep: %s", depth, strerror(errno));
    return verdict();
}
