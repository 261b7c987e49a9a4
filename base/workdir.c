#include "base/workdir.h"

#include "base/io.h"
#include "base/state.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static void sweep(int run, const char *prefix)
{
    size_t n = strlen(prefix);
    int fd = openat(run, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, prefix, n) != 0 || e->d_name[n] != '-')
            continue;
        _cleanup_close_ int old =
            openat(run, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (old >= 0 && flock(old, LOCK_EX | LOCK_NB) == 0)
            io_remove_tree_at(run, e->d_name);
    }
}

int workdir_make(struct workdir *ret, const char *prefix, struct error *err)
{
    static unsigned serial;
    _cleanup_close_ int run = state_open_run_dir(NULL, err);
    if (run < 0)
        return -1;
    if (serial == 0)
        sweep(run, prefix);

    char name[64], top[PATH_MAX];
    snprintf(name, sizeof name, "%s-%d-%u", prefix, (int)getpid(), serial++);
    int n = snprintf(ret->path, sizeof ret->path, "%s/%s", state_run_path(top, sizeof top), name);
    if (n < 0 || (size_t)n >= sizeof ret->path)
        return error_set(err, "workdir.make", ENAMETOOLONG, "cannot make a work directory");
    /* a sweeper may meet it between mkdir and flock: then it is made again */
    for (int attempt = 0; attempt < 8; attempt++) {
        struct stat st;
        if (mkdirat(run, name, 0700) < 0 && errno != EEXIST)
            return error_set(err, "workdir.make", errno, "cannot make work directory \"%s\"",
                             ret->path);
        _cleanup_close_ int fd = openat(run, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
            ret->fd = TAKE_FD(fd);
            return 0;
        }
    }
    return error_set(err, "workdir.make", EBUSY, "cannot make work directory \"%s\"", ret->path);
}

/* The file, open for writing; its directories are made. */
static int create(const struct workdir *w, const char *path, unsigned mode, struct error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return error_set(err, "workdir.write", ENAMETOOLONG, "cannot write \"%s\"", path);
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdirat(w->fd, part, 0755) < 0 && errno != EEXIST)
            return error_set(err, "workdir.write", errno, "cannot make \"%s/%s\"", w->path, part);
    }
    int fd = openat(w->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, "workdir.write", errno, "cannot write \"%s/%s\"", w->path, path);
    /* the umask must not decide what the inside may read */
    if (fchmod(fd, mode) < 0) {
        close(fd);
        return error_set(err, "workdir.write", errno, "cannot write \"%s/%s\"", w->path, path);
    }
    return fd;
}

int workdir_write(const struct workdir *w, const char *path, const void *data, size_t size,
                  unsigned mode, struct error *err)
{
    _cleanup_close_ int fd = create(w, path, mode, err);
    if (fd < 0)
        return -1;
    if (io_write_all(fd, data, size) < 0)
        return error_set(err, "workdir.write", errno, "cannot write \"%s/%s\"", w->path, path);
    return 0;
}

int workdir_copy(const struct workdir *w, const char *path, int from, unsigned mode,
                 struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = create(w, path, mode, err);
    if (fd < 0)
        return -1;
    off_t at = 0;
    if (fstat(from, &st) < 0)
        return error_set(err, "workdir.write", errno, "cannot copy to \"%s/%s\"", w->path, path);
    while (at < st.st_size) {
        ssize_t n = sendfile(fd, from, &at, (size_t)(st.st_size - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, "workdir.write", n < 0 ? errno : EIO, "cannot copy to \"%s/%s\"",
                             w->path, path);
    }
    return 0;
}

void workdir_remove(struct workdir *w)
{
    if (w->fd < 0)
        return;
    io_remove_tree_at(AT_FDCWD, w->path);
    close(w->fd);
    w->fd = -1;
}
