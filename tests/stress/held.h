/* What a sandbox holds, seen from outside: is it the same after many operations? */
#ifndef TESTS_STRESS_HELD_H
#define TESTS_STRESS_HELD_H

#include <sys/types.h>

/** Of some processes. As an ordinary user, those inside do not show their files. */
struct held_by {
    long processes, files, memfds, mappings, resident_kb;
};

struct held {
    struct held_by keeper, inside;
    long disk_files, disk_kb; /* of the sandbox's directory, without */
    long database_kb;         /* sandbox.db and its log: the history only grows */
};

/** 0, or -1 when there is no such process. */
int held_look(struct held *ret, pid_t keeper, const char *directory);

#endif
