/**
 * The one way a failure travels.
 *
 * The function that knows what went wrong fills a `struct error` and returns -1; callers may put
 * their context in front with error_wrap() and pass the -1 on. It is shown once, at the top: by the
 * CLI as one line (`cloche: MESSAGE; fix: HINT`), as an object with --json, by the keeper in a
 * reply frame.
 *
 * No allocation: an error can be made when memory is gone, and needs no free. Fields that do not
 * fit are cut, never overrun.
 */
#ifndef CLOCHE_BASE_ERROR_H
#define CLOCHE_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

struct error {
    const char *code;   /* stable and static: "cgroup.not_delegated"; NULL means no error */
    int errnum;         /* errno of the failing call, 0 where there was none */
    char message[4096]; /* what failed, on which object, why; several problems stand on lines of
                           their own */
    char hint[512];     /* what fixes it; "" where nobody can know */
    char path[512];     /* the file or JSON path concerned; "" where there is none */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }

/** Fill @err (when it is not NULL) and return -1, so that a failure is one statement. A non-zero
 * @errnum adds ": strerror" to the message. @code must be static. */
int error_set(struct error *err, const char *code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/** Say what fixes it; returns -1 so that it can end a return statement. Keeps an earlier hint. */
int error_hint(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Name the file or JSON path concerned; returns -1. */
int error_path(struct error *err, const char *path);

/** Put context in front: "CONTEXT: MESSAGE". Returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** And behind it, on a line of its own where there are several: "MESSAGE; WHAT". Returns -1. */
int error_append(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The analyser sees one file at a time: without this it walks on behind every failure. */
#if defined(__clang_analyzer__) && !defined(BASE_ERROR_DEFINES)
#define error_set(...)    (error_set(__VA_ARGS__), -1)
#define error_hint(...)   (error_hint(__VA_ARGS__), -1)
#define error_path(...)   (error_path(__VA_ARGS__), -1)
#define error_wrap(...)   (error_wrap(__VA_ARGS__), -1)
#define error_append(...) (error_append(__VA_ARGS__), -1)
#endif

#endif
