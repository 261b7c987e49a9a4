/**
 * Just enough of POSIX ustar to carry a set of versions: regular files with short relative names.
 * A library for all archives of the world would be larger than the rest of the keeper. Private to
 * versions/.
 */
#ifndef CLOCHE_VERSIONS_TAR_H
#define CLOCHE_VERSIONS_TAR_H

#include "base/error.h"

#include <stddef.h>

#define TAR_NAME_BYTES 100

/** Append a file; -1 with errno. */
int tar_write(int fd, const char *name, const void *data, size_t size);

/** The two empty blocks at the end; -1 with errno. */
int tar_finish(int fd);

struct tar_reader {
    const unsigned char *data;
    size_t size, at;
};

struct tar_entry {
    char name[TAR_NAME_BYTES + 1];
    const void *data; /* within the reader's buffer */
    size_t size;
};

/** 1 and the next file, 0 at the end, -1 archive.invalid. Directories are passed over. */
int tar_next(struct tar_reader *t, struct tar_entry *ret, struct error *err);

#endif
