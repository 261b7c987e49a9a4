/** All that is wrong with a spec, collected to be told at once. Private to config/. */
#ifndef CLOCHE_CONFIG_PROBLEMS_H
#define CLOCHE_CONFIG_PROBLEMS_H

#include "base/arena.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct problems {
    struct arena *arena;
    char **lines;
    char *first_path;
    size_t count;
    bool invalid; /* at least one is not merely unsupported */
};

void problem_add(struct problems *p, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void problem_add_unsupported(struct problems *p, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** 0 when there is none; else -1 with spec.invalid or spec.unsupported, a line each, @what (a file,
 * or NULL) in front. */
int problems_report(const struct problems *p, const char *what, struct error *err);

/** Text from outside, fit for a message: quoted, control characters escaped, cut when long. */
const char *problem_quote(struct arena *a, const char *text);

#endif
