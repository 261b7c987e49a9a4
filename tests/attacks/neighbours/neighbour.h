/**
 * Both sides of an attempt to pass something from one sandbox to another.
 *
 * `PROGRAM leave` leaves a trace, says "ready" and then holds on until stdin ends; `PROGRAM find`,
 * in another sandbox, looks for the trace: at the same time, or after the first one has ended. The
 * trace is the word "cloche-attack". A side that cannot do its part is contained, too. The runner's
 * self-test runs both sides in one sandbox: there the trace must be found.
 */
#ifndef CLOCHE_ATTACK_NEIGHBOUR_H
#define CLOCHE_ATTACK_NEIGHBOUR_H

#include "tests/attacks/attack.h"

#define TRACE "cloche-attack"

static inline bool leaving(int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "leave") != 0 && strcmp(argv[1], "find") != 0))
        skip("leave or find?");
    return strcmp(argv[1], "leave") == 0;
}

/** The trace is there (or could not be left: @why); wait for the runner. */
static inline int hold(const char *why)
{
    char byte;

    if (why != NULL)
        note("could not leave a trace: %s: %s", why, strerror(errno));
    if (write(STDOUT_FILENO, "ready\n", 6) < 0)
        return STATUS_BREACH;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return verdict();
}

#endif
