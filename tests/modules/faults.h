/* What tests/modules/counter.c can be made to do beside crash and hang: put in front of it by
 * -include, and used as the value of a FAULT_ macro. Each is an expression whose value is "failed".
 */
#ifndef FAULTS_H
#define FAULTS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A system call that no profile allows. */
#define FILTERED (syscall(SYS_kexec_load, 0, 0, 0, 0), 1)

/* All the memory there is. */
static int fault_memory(void)
{
    for (;;) {
        void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            abort();
        memset(at, 1, 1 << 20);
    }
}
#define MEMORY fault_memory()

/* Descendants that want to stay: in sessions of their own, orphaned, deaf to what can be ignored,
 * with the worker's socket open. */
static int fault_offspring(void)
{
    for (int i = 0; i < 5; i++) {
        if (fork() != 0)
            continue;
        setsid();
        if (fork() != 0)
            _exit(0);
        for (int s = 1; s < 32; s++)
            signal(s, SIG_IGN);
        for (;;)
            pause();
    }
    while (wait(NULL) > 0)
        continue;
    return 0;
}
#define OFFSPRING fault_offspring()

/* A child that dies of a signal with the worker's socket open. */
static int fault_child(void)
{
    if (fork() == 0)
        __builtin_trap();
    while (wait(NULL) > 0)
        continue;
    return 0;
}
#define CHILD_CRASH fault_child()

/* No room is left, for a handler neither. */
static int fault_overflow(volatile char *below)
{
    volatile char here[4096];
    here[0] = below != NULL ? below[0] : 1;
    return fault_overflow(here) + here[0];
}
#define OVERFLOW fault_overflow(NULL)

/* A handler of the module's own, which calls the one that was there. */
static struct sigaction fault_before;
static void fault_handler(int sig, siginfo_t *info, void *context)
{
    if ((fault_before.sa_flags & SA_SIGINFO) != 0)
        fault_before.sa_sigaction(sig, info, context);
    else
        signal(sig, SIG_DFL);
}
static int fault_chained(void)
{
    const struct sigaction own = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &own, &fault_before);
    __builtin_trap();
}
#define CHAINED fault_chained()

#endif
