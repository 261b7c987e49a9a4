#include "base/beside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

pid_t beside_start(int (*child)(void *), void *argument, char stack[BESIDE_STACK])
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone(child, stack + BESIDE_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
    int saved = errno;
#ifdef __SANITIZE_ADDRESS__
    /* an exec returns from no frame, and leaves them all marked */
    __asan_unpoison_memory_region(stack, BESIDE_STACK);
#endif
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}
