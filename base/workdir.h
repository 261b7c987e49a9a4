/**
 * A private directory below the run directory for the time of one job: what a sandbox is to see is
 * written there by trusted code and bound read-only.
 *
 * The maker holds an flock on it; a directory that nobody holds belongs to a killed process, and
 * the next maker of the same prefix removes it.
 */
#ifndef CLOCHE_BASE_WORKDIR_H
#define CLOCHE_BASE_WORKDIR_H

#include "base/error.h"

#include <limits.h>

struct workdir {
    int fd; /* locked; -1 when there is none */
    char path[PATH_MAX];
};

#define WORKDIR_INIT                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/** Make "<run>/<prefix>-<pid>-<n>". workdir.make, state.* */
int workdir_make(struct workdir *ret, const char *prefix, struct error *err);

/** Write a file of mode @mode below the directory, its directories (0755) made as needed. @path is
 * relative and has no ".." in it. */
int workdir_write(const struct workdir *w, const char *path, const void *data, size_t size,
                  unsigned mode, struct error *err);

/** The same with the content of @from, read from its start. */
int workdir_copy(const struct workdir *w, const char *path, int from, unsigned mode,
                 struct error *err);

/** Remove it with all that is in it. */
void workdir_remove(struct workdir *w);

#endif
