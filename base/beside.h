/**
 * A process that execs at once, without a copy of the caller's memory (as vfork(2)).
 */
#ifndef CLOCHE_BASE_BESIDE_H
#define CLOCHE_BASE_BESIDE_H

#include <sys/types.h>

#define BESIDE_STACK 16384

/** @child runs in the caller's memory, on a stack of its own, while this thread waits until it
 * execs or returns, which is its exit status: system calls only, and nothing that the caller's
 * other threads could be at. No signal handler of the caller's runs in it: all signals are blocked,
 * and stay so for what is executed. The pid, or -1 with errno. */
pid_t beside_start(int (*child)(void *), void *argument, char stack[BESIDE_STACK]);

#endif
