/**
 * The words that an attack and the runner share.
 *
 * Every program in the folders below this one tries one thing that must not work inside a sandbox.
 * It ends in one of four ways, and the runner (tests/attacks/run) believes nothing else:
 *
 *   "contained", status 0      everything was tried and nothing worked
 *   "BREACH: ...", status 66   it worked; further lines may follow, one for every success
 *   "skip: ...", status 77     this kernel has no such thing, so nothing was proved
 *   killed by a limit          the table says which verdict that has to be
 *
 * A breach is noted where it happens and decides the status at the end, so that one run reports
 * everything that is open. Nothing is buffered: a program that is killed has said what it knew.
 */
#ifndef CLOCHE_ATTACK_H
#define CLOCHE_ATTACK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_BREACH = 66, STATUS_SKIP = 77 };

static bool attack_breached;

__attribute__((format(printf, 2, 0))) static inline void attack_say(const char *word,
                                                                    const char *format, va_list ap)
{
    char line[1024];
    int head = snprintf(line, sizeof(line), "%s", word);
    int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, ap);
    size_t size = (size_t)(head + (body < 0 ? 0 : body));

    if (size > sizeof(line) - 2)
        size = sizeof(line) - 2;
    line[size++] = '\n';
    if (write(STDOUT_FILENO, line, size) < 0)
        _exit(STATUS_BREACH); /* the status alone must then tell */
}

/** Note one success; the program goes on. */
__attribute__((format(printf, 1, 2))) static inline void breach(const char *format, ...)
{
    va_list ap;

    attack_breached = true;
    va_start(ap, format);
    attack_say("BREACH: ", format, ap);
    va_end(ap);
}

/** Say what was seen, for the reader of a failed test. Only of use beside a breach. */
__attribute__((format(printf, 1, 2))) static inline void note(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    attack_say("note: ", format, ap);
    va_end(ap);
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void skip(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    attack_say("skip: ", format, ap);
    va_end(ap);
    _exit(attack_breached ? STATUS_BREACH : STATUS_SKIP);
}

/** The end of every attack: `return verdict();` */
static inline int verdict(void)
{
    static const char word[] = "contained\n";

    if (attack_breached || write(STDOUT_FILENO, word, sizeof(word) - 1) < 0)
        return STATUS_BREACH;
    return 0;
}

/** The N-th argument as a number, or @otherwise. */
static inline long number(int argc, char **argv, int n, long otherwise)
{
    return argc > n ? strtol(argv[n], NULL, 0) : otherwise;
}

/** Open for writing must fail; what opens is a breach. Nothing is written. */
static inline bool writable(const char *path)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

#endif
