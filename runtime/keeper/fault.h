/** Where a test has the keeper die. Nothing happens unless the keeper was started with
 * CLOCHE_KEEPER_FAULT in its environment; that names a file, and the point whose name is its whole
 * text is where the process gets SIGKILL, as from outside. */
#ifndef CLOCHE_RUNTIME_KEEPER_FAULT_H
#define CLOCHE_RUNTIME_KEEPER_FAULT_H

#include <sys/types.h>

/** @keeper: who dies; 0: the caller. Points of a reload are its steps, "1" to "15", as each begins,
 * and "16" behind the last. */
void fault_point(int step, pid_t keeper);

#endif
