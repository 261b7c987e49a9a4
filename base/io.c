#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

int io_seal(int memfd, int seals)
{
    int rc = -1;
    for (int tries = 0; tries < 20; tries++) {
        rc = fcntl(memfd, F_ADD_SEALS, seals);
        if (rc == 0 || errno != EBUSY)
            break;
    }
    return rc;
}

int io_write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t io_read_full(int fd, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

ssize_t io_read_to_end(int fd, size_t max, char **ret_data)
{
    size_t room = 4096, used = 0;
    _cleanup_free_ char *buf = NULL;
    for (;;) {
        if (used > max) {
            errno = EFBIG;
            return -1;
        }
        char *grown = realloc(buf, room + 1);
        if (grown == NULL)
            return -1;
        buf = grown;
        ssize_t n = io_read_full(fd, buf + used, room - used);
        if (n < 0)
            return -1;
        used += (size_t)n;
        if (used < room)
            break;
        room *= 2;
    }
    if (used > max) {
        errno = EFBIG;
        return -1;
    }
    buf[used] = '\0';
    *ret_data = TAKE_PTR(buf);
    return (ssize_t)used;
}

ssize_t io_read_file_at(int dirfd, const char *path, char *buf, size_t size)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    ssize_t n = io_read_full(fd, buf, size);
    if (n < 0)
        return -1;
    if ((size_t)n == size) {
        errno = EFBIG;
        return -1;
    }
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    buf[n] = '\0';
    return n;
}

int io_write_file_at(int dirfd, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    return io_write_all(fd, text, strlen(text));
}

bool io_parse_u64(const char *text, uint64_t *ret)
{
    if (*text == '\0')
        return false;
    uint64_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

int io_mkdir_parents(const char *path, struct error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return error_set(err, "io.path", ENAMETOOLONG, "cannot make directory \"%s\"", path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return error_set(err, "io.mkdir", errno, "cannot make directory \"%s\"", part);
    }
    return 0;
}

static int remove_tree(int dirfd, const char *name, unsigned depth)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth > 64)
        return -1;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_tree(fd, e->d_name, depth + 1);
    }
    return unlinkat(dirfd, name, AT_REMOVEDIR);
}

int io_remove_tree_at(int dirfd, const char *path)
{
    return remove_tree(dirfd, path, 0);
}

size_t io_utf8_length(const char *text, size_t left)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

size_t io_printable(const char *text, size_t left)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = io_utf8_length(text, left);
    bool control = (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) ||
                   (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) ||
                   (n == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe);
    return control ? 0 : n;
}
