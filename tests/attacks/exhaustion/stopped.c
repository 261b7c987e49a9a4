/* Stops itself and its children: a runtime that waits for them to continue waits for ever. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (int i = 0; i < 4; i++)
        if (fork() == 0)
            break;
    for (;;)
        raise(SIGSTOP);
}
