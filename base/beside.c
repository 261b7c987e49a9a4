#include "base/beside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
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

int beside_thread(pthread_t *ret, size_t stack_bytes, void *(*main)(void *), void *argument)
{
    sigset_t all, before;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_attr_setstacksize(&attr, stack_bytes);
    if (rc == 0)
        rc = pthread_create(ret, &attr, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}
