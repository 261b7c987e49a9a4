/** All that is wrong with a spec, collected to be told at once. Private to config/. */
#ifndef CLOCHE_CONFIG_PROBLEMS_H
#define CLOCHE_CONFIG_PROBLEMS_H

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define PROBLEMS_MAX 100 /* so many are kept */

struct problems {
    struct arena *arena;
    char **lines, **paths;
    size_t count;
    bool invalid; /* at least one is not merely unsupported */
};

void problem_add(struct problems *p, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void problem_add_unsupported(struct problems *p, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Whether there is one of @path's object, of a part of that, or of what it is a part of. An object
 * is "linux.resources" of "linux.resources.cpu.period", "mounts" of "mounts[1].type". */
bool problems_tell_of(const struct problems *p, const char *path);

/** Add what is said in @more of other objects than those that @p tells of. */
void problems_add_others(struct problems *p, const struct problems *more);

/** 0 when there is none; else -1 with spec.invalid or spec.unsupported, a line each, @what (a file,
 * or NULL) in front. */
int problems_report(const struct problems *p, const char *what, struct error *err);

/** Text from outside, fit for a message: quoted, control characters escaped, cut when long. */
const char *problem_quote(struct arena *a, const char *text);

#endif
