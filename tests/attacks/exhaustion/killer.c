/* Kills everything it can see the moment it starts, PID 1 included, as often as it can: the run
 * must still end with an honest verdict. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (int i = 0; i < 2000; i++) {
        kill(1, SIGKILL);
        kill(1, SIGSTOP);
        kill(-1, SIGKILL);
    }
    return verdict();
}
