/* Queued real-time signals take kernel memory until they are received: RLIMIT_SIGPENDING bounds
 * them. More than argv[1] is a breach. Timers come from the same pool. */
#include "tests/attacks/exhaustion/bomb.h"

#include <time.h>

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 4096), queued = 0, timers = 0;
    struct sigevent quiet = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    sigset_t all;
    timer_t timer;

    only_inside();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    while (timers < 1000000 && timer_create(CLOCK_MONOTONIC, &quiet, &timer) == 0)
        timers++;
    while (queued < 1000000 && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
        queued++;
    return judge("queued signals and timers", queued + timers, allowed);
}
