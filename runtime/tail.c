#include "runtime/tail.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void tail_read(struct tail *t)
{
    char buf[65536];
    ssize_t n;
    if (t->fd < 0)
        t->fd = openat(t->dir, t->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    while (t->fd >= 0 && (n = read(t->fd, buf, sizeof buf)) > 0)
        t->call(t->context, buf, (size_t)n);
}

/** "FILE.1" is what was open: nothing stood between it and the present file. */
static bool is_the_one_before(const struct tail *t, const struct stat *open_one)
{
    char name[NAME_MAX + 1];
    struct stat before;
    int n = snprintf(name, sizeof name, "%s.1", t->file);
    return n > 0 && (size_t)n < sizeof name &&
           fstatat(t->dir, name, &before, AT_SYMLINK_NOFOLLOW) == 0 &&
           before.st_ino == open_one->st_ino;
}

bool tail_catch_up(struct tail *t)
{
    struct stat open_one, named;
    tail_read(t);
    if (t->fd < 0 || fstat(t->fd, &open_one) < 0 ||
        fstatat(t->dir, t->file, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        open_one.st_ino == named.st_ino)
        return false;
    bool lost = !is_the_one_before(t, &open_one);
    tail_read(t); /* written between the last look and the renaming */
    close(t->fd);
    t->fd = -1;
    tail_read(t);
    return lost;
}
