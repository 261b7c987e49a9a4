/* The classic: every process forks for ever, nobody waits. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (;;)
        fork();
}
