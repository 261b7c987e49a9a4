#include "versions/disk.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int (*disk_step)(const char *operation, const char *name);

int disk_check(const char *operation, const char *name)
{
    int errnum = disk_step != NULL ? disk_step(operation, name) : 0;
    if (errnum == 0)
        return 0;
    errno = errnum;
    return -1;
}

int disk_mkdir(int dir, const char *name, mode_t mode)
{
    if (disk_check("mkdir", name) < 0 || mkdirat(dir, name, 0700) < 0)
        return -1;
    return mode == 0700 ? 0 : fchmodat(dir, name, mode, 0); /* whatever the umask is */
}

static int write_file(int fd, const char *name, const void *data, size_t size, mode_t mode)
{
    if (disk_check("write", name) < 0 || io_write_all(fd, data, size) < 0 || fchmod(fd, mode) < 0)
        return -1;
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only begins: fsync is what counts */
    return 0;
}

int disk_write_file(int dir, const char *name, const void *data, size_t size, mode_t mode)
{
    if (disk_check("create", name) < 0)
        return -1;
    _cleanup_close_ int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (write_file(fd, name, data, size, mode) == 0)
        return 0;
    int errnum = errno;
    unlinkat(dir, name, 0);
    errno = errnum;
    return -1;
}

int disk_fsync_file(int dir, const char *name)
{
    if (disk_check("fsync", name) < 0)
        return -1;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int disk_fsync_dir(int dir, const char *name)
{
    if (disk_check("fsync-dir", name) < 0)
        return -1;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int disk_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    return disk_check("rename", to) < 0 ? -1 : renameat(from_dir, from, to_dir, to);
}

int disk_symlink(const char *target, int dir, const char *name)
{
    return disk_check("symlink", name) < 0 ? -1 : symlinkat(target, dir, name);
}

int disk_unlink(int dir, const char *name)
{
    return disk_check("unlink", name) < 0 ? -1 : unlinkat(dir, name, 0);
}

int disk_remove_dir(int dir, const char *name)
{
    if (disk_check("rmdir", name) < 0)
        return -1;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    _cleanup_closedir_ DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -1;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) < 0 && errno != ENOENT)
            return -1;
    }
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}
