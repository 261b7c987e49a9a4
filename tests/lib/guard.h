/**
 * What tests/lib is made of: the guard owns the processes of a suite and compares the machine
 * before and after each test.
 *
 *   guard [-t SECONDS] -- COMMAND [ARG...]   runs it; fails when a process outlives it
 *   guard list                               the processes below the guard that runs this
 *   guard begin DIRECTORY                    makes a test's directories, notes what is on the
 * machine guard end DIRECTORY                      fails, naming what is there now and was not
 *
 * Theory of operation. The guard is a child subreaper, so whatever a test double-forks, loses or
 * kills the parent of stays below it, whoever else uses the machine. When the command has ended,
 * what is still there after the grace time is named, killed, and makes the guard's status 1 (if the
 * command's was 0).
 *
 * begin makes root, run, tmp, work, and bin/cloche in DIRECTORY: the values of CLOCHE_ROOT,
 * CLOCHE_RUN, TMPDIR, the working directory, and a script that notes its pid and becomes $CLOCHE.
 * Other sessions run sandboxes at the same time, so end compares only what belongs to this test:
 *
 *   processes       the descendants of the guard
 *   mount, link, ipc   everything in this namespace, when tests/run made private ones
 * (CLOCHE_TEST_PRIVATE); without it only mounts below DIRECTORY cgroup cloche.slice/run-<pid>-<n>
 * of the noted pids file            what is below root, run and tmp, but for the table in leaks.c
 *
 * A killed tree takes the kernel some milliseconds, so end looks again until nothing is left or the
 * grace time is over. One program, not a shell script: under emulation it costs 0.1 s a test and
 * not 6.
 */
#ifndef CLOCHE_TESTS_GUARD_H
#define CLOCHE_TESTS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define GUARD_VARIABLE "CLOCHE_TEST_GUARD" /* pid of the guard */

struct process {
    pid_t pid, parent;
    unsigned long long
        start; /* field 22 of /proc/PID/stat: with the pid it never names two processes */
    char name[32];
};

/** The descendants of @guard that are neither @except nor its ancestors, zombies included.
 * Malloced; *@ret_count. */
struct process *processes_below(pid_t guard, pid_t except, size_t *ret_count);

/** The guard above this process, or 0. */
pid_t processes_guard(void);

int leaks_begin(const char *directory);
int leaks_end(const char *directory);

/** Seconds of CLOCK_MONOTONIC. */
double guard_now_s(void);
/** Waits a moment between two looks. */
void guard_pause(void);

#endif
