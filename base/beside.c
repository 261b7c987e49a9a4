#include "base/beside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>

pid_t beside_start(int (*child)(void *), void *argument, char stack[BESIDE_STACK])
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone(child, stack + BESIDE_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}
