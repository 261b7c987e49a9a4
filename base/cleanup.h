/**
 * Scope-bound ownership: a variable marked with one of these releases what it owns when the scope
 * ends, on every path. TAKE_FD and TAKE_PTR move the ownership out.
 */
#ifndef CLOCHE_BASE_CLEANUP_H
#define CLOCHE_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f != NULL)
        fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

#define _cleanup_close_    __attribute__((cleanup(cleanup_close), unused))
#define _cleanup_free_     __attribute__((cleanup(cleanup_free), unused))
#define _cleanup_fclose_   __attribute__((cleanup(cleanup_fclose), unused))
#define _cleanup_closedir_ __attribute__((cleanup(cleanup_closedir), unused))

#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int take_fd_ = (fd);                                                                       \
        (fd) = -1;                                                                                 \
        take_fd_;                                                                                  \
    })

#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) take_p_ = (p);                                                               \
        (p) = NULL;                                                                                \
        take_p_;                                                                                   \
    })

#endif
