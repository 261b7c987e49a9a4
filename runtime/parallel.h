/** Several pieces of work at a time, each of which mostly waits: the batches of the library and of
 * the command line. */
#ifndef CLOCHE_RUNTIME_PARALLEL_H
#define CLOCHE_RUNTIME_PARALLEL_H

#include <stddef.h>

#define PARALLEL_DEFAULT 16

/** Call @one for 0 to @count - 1, at most @limit at a time, each in some thread; and @done (may be
 * NULL) in this thread, in this order, as soon as it and all before it have ended. Threads have all
 * signals blocked and are gone at the end; when there can be none, this one does the work. */
void parallel_run(size_t count, unsigned limit, void (*one)(void *context, size_t i),
                  void (*done)(void *context, size_t i), void *context);

#endif
