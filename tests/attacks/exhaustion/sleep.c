/* Does nothing, for ever, and hears no signal that can be blocked. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    sigset_t all;

    only_inside();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int sig = 1; sig < 65; sig++)
        signal(sig, SIG_IGN);
    for (;;)
        pause();
}
