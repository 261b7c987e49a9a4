/**
 * What is done beside the caller, in his memory: by a process that execs at once (as vfork(2)), or
 * by a thread. No signal handler of the caller's runs in either.
 */
#ifndef CLOCHE_BASE_BESIDE_H
#define CLOCHE_BASE_BESIDE_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#define BESIDE_STACK 16384

/** @child runs in the caller's memory, on a stack of its own, while this thread waits until it
 * execs or returns, which is its exit status: system calls only, and nothing that the caller's
 * other threads could be at. No signal handler of the caller's runs in it: all signals are blocked,
 * and stay so for what is executed. The pid, or -1 with errno. */
pid_t beside_start(int (*child)(void *), void *argument, char stack[BESIDE_STACK]);

/** pthread_create(3) with all signals blocked and a stack of @stack_bytes. 0, or an errno. */
int beside_thread(pthread_t *ret, size_t stack_bytes, void *(*main)(void *), void *argument);

#endif
