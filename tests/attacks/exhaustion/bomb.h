/**
 * What all bombs need: they refuse to go off anywhere but in a PID namespace of their own, where
 * the process numbers are small. A bomb that a limit disarms (EAGAIN, ENOSPC, EMFILE, ...) is
 * contained; one that is allowed more than its argument is a breach.
 */
#ifndef CLOCHE_ATTACK_BOMB_H
#define CLOCHE_ATTACK_BOMB_H

#include "tests/attacks/attack.h"

static inline void only_inside(void)
{
    if (getpid() > 64)
        skip("a bomb: it only goes off in a sandbox");
}

/** Judge how many there were, against what was allowed. */
static inline int judge(const char *what, long count, long allowed)
{
    if (count > allowed)
        breach("%ld %s, allowed were %ld", count, what, allowed);
    return verdict();
}

#endif
