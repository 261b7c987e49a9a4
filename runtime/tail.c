#include "runtime/tail.h"

#include <fcntl.h>
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

void tail_catch_up(struct tail *t)
{
    struct stat open_one, named;
    tail_read(t);
    if (t->fd >= 0 && fstat(t->fd, &open_one) == 0 &&
        fstatat(t->dir, t->file, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
        open_one.st_ino != named.st_ino) {
        close(t->fd);
        t->fd = -1;
        tail_read(t);
    }
}
