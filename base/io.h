/**
 * Whole reads and writes, and small files by directory fd. All restart on EINTR and set errno.
 */
#ifndef CLOCHE_BASE_IO_H
#define CLOCHE_BASE_IO_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** fcntl(F_ADD_SEALS) with F_SEAL_WRITE. Somebody in the kernel who looks at a page at this moment
 * (reclaim, DAMON) counts as one who may write, and after 75 ms of waiting that is EBUSY: tried
 * again some times (mm/memfd.c). 0, or -1 with errno. */
int io_seal(int memfd, int seals);

/** Write all of it; 0, or -1 with errno. */
int io_write_all(int fd, const void *data, size_t size);

/** Read until @size bytes or the end; the number of bytes, or -1 with errno. */
ssize_t io_read_full(int fd, void *data, size_t size);

/** Read to the end into a fresh, NUL-terminated buffer of at most @max bytes. Larger: -1, errno
 * EFBIG. */
ssize_t io_read_to_end(int fd, size_t max, char **ret_data);

/** The content of a small file below @dirfd (or AT_FDCWD), NUL-terminated, the last newline cut.
 * The number of bytes, or -1 with errno; a file that does not fit is EFBIG. Never follows a final
 * symlink. */
ssize_t io_read_file_at(int dirfd, const char *path, char *buf, size_t size);

/** One write(2) to an existing file below @dirfd, as kernel files want it; 0, or -1 with errno. */
int io_write_file_at(int dirfd, const char *path, const char *text);

/** A decimal number that fills the whole string; false when it is anything else or does not fit. */
bool io_parse_u64(const char *text, uint64_t *ret);

/** Remove @path with all that is in it, at most 64 levels deep; never follows a symlink. 0, or -1
 * with errno when something stayed; nothing there is 0. */
int io_remove_tree_at(int dirfd, const char *path);

/** mkdir -p with mode 0700 for what is missing. */
int io_mkdir_parents(const char *path, struct error *err);

/** Length of the well-formed UTF-8 sequence at @text (not empty); 0 when it is none (Unicode 15,
 * table 3-7). */
size_t io_utf8_length(const char *text, size_t left);

/** The same, but 0 also for what a terminal would obey or XML cannot hold: controls, C1 ones too,
 * and U+FFFE, U+FFFF. */
size_t io_printable(const char *text, size_t left);

#endif
