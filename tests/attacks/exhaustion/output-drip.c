/* The flood by many processes in single bytes: no write is large, the sum is. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (int i = 0; i < 4; i++)
        if (fork() == 0)
            break;
    for (;;)
        if (write(1, "x", 1) < 0 && errno != EINTR)
            _exit(1);
}
