/** The start program is not enough for this command line: the complete one takes it. Only before
 * anything was made. */
#ifndef CLOCHE_RUNTIME_START_HAND_OVER_H
#define CLOCHE_RUNTIME_START_HAND_OVER_H

_Noreturn void hand_over(void);

#endif
