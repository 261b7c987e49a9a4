/* Recursion without end: ends by SIGSEGV, as anywhere else, and takes nothing with it. */
#include "tests/attacks/exhaustion/bomb.h"

static volatile int stop;

static int descend(volatile char *above)
{
    volatile char frame[4096];

    if (stop)
        return 0;

    frame[0] = above[0];
    return descend(frame) + frame[1];
}

int main(void)
{
    volatile char start[1] = {0};

    only_inside();
    return descend(start) & 1 ? STATUS_BREACH : STATUS_SKIP;
}
