/* A double fork with sessions of its own: after the program's end the daemons would live on,
 * holding its output open, and eat CPU. The runner's wall bound and its look at what is left judge.
 */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (int i = 0; i < 8; i++) {
        if (fork() != 0)
            continue;
        setsid();
        for (int sig = 1; sig < 65; sig++)
            signal(sig, SIG_IGN);
        if (fork() != 0)
            _exit(0);
        setsid();
        for (;;)
            if (i % 2)
                getppid();
            else
                pause();
    }
    usleep(20000); /* let some of them come up before the end */
    return verdict();
}
