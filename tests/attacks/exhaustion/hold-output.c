/* Ends at once, but leaves a child that keeps its output open: the end of the program is the end of
 * the run, whoever holds the pipe. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    if (fork() == 0) {
        setsid();
        for (;;)
            pause();
    }
    return verdict();
}
