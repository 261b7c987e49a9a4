/**
 * Every step with which versions/ changes a disk, by name, so that a test can fail or kill each of
 * them. Private to versions/. All answer 0, or -1 with errno; all are by directory fd.
 *
 * An fsync that failed is never tried again: the kernel has thrown the pages away and would report
 * success (fsync(2), "errors"). The caller removes what it staged.
 */
#ifndef CLOCHE_VERSIONS_DISK_H
#define CLOCHE_VERSIONS_DISK_H

#include <stddef.h>
#include <sys/types.h>

/** Asked before each step; a non-zero answer is the errno to fail with. Only tests set it. */
extern int (*disk_step)(const char *operation, const char *name);

/** 0, or -1 with the errno that disk_step answered: for steps that are not a system call here. */
int disk_check(const char *operation, const char *name);
int disk_mkdir(int dir, const char *name, mode_t mode);
/** A new file, written and not yet safe; removed again when that fails. */
int disk_write_file(int dir, const char *name, const void *data, size_t size, mode_t mode);
/** Make such a file safe. Its writing has begun, so that several in a row cost little more than
 * one.
 */
int disk_fsync_file(int dir, const char *name);
int disk_fsync_dir(int dir, const char *name);
int disk_rename(int from_dir, const char *from, int to_dir, const char *to);
int disk_symlink(const char *target, int dir, const char *name);
int disk_unlink(int dir, const char *name);
/** A directory and the files in it; not deeper, and what is already gone is fine. Nothing but a
 * directory of one's own making may be named: it is not meant for hostile trees. */
int disk_remove_dir(int dir, const char *name);

#endif
