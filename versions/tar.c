#include "versions/tar.h"

#include "base/io.h"

#include <errno.h>
#include <string.h>

#define BLOCK 512u

struct header { /* POSIX.1-1988, "ustar Interchange Format" */
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

static unsigned checksum_of(const struct header *h)
{
    const unsigned char *bytes = (const unsigned char *)h;
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *h; i++) {
        bool own = i >= offsetof(struct header, checksum) && i < offsetof(struct header, type);
        sum += own ? ' ' : bytes[i];
    }
    return sum;
}

int tar_write(int fd, const char *name, const void *data, size_t size)
{
    static const char zeros[BLOCK];
    struct header h = {.mode = "0000444", .uid = "0000000", .gid = "0000000", .type = '0'};
    if (strlen(name) >= sizeof h.name || size >= 1ull << 33) {
        errno = EOVERFLOW;
        return -1;
    }
    memcpy(h.name, name, strlen(name));
    snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)size);
    memcpy(h.mtime, "00000000000", sizeof h.mtime);
    memcpy(h.magic, "ustar", sizeof h.magic);
    memcpy(h.version, "00", sizeof h.version);
    snprintf(h.checksum, sizeof h.checksum, "%06o", checksum_of(&h) & 0777777);
    h.checksum[7] = ' ';
    if (io_write_all(fd, &h, sizeof h) < 0 || io_write_all(fd, data, size) < 0 ||
        io_write_all(fd, zeros, (BLOCK - size % BLOCK) % BLOCK) < 0)
        return -1;
    return 0;
}

int tar_finish(int fd)
{
    static const char zeros[2 * BLOCK];
    return io_write_all(fd, zeros, sizeof zeros);
}

/* octal digits, then NULs or spaces to the end of the field */
static bool parse_octal(const char *field, size_t size, uint64_t *ret)
{
    size_t i = 0;
    *ret = 0;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
        if (*ret >> 60 != 0)
            return false;
        *ret = *ret * 8 + (uint64_t)(field[i] - '0');
    }
    if (i == 0)
        return false;
    for (; i < size; i++)
        if (field[i] != '\0' && field[i] != ' ')
            return false;
    return true;
}

static int invalid(struct error *err, size_t at, const char *what)
{
    return error_set(err, "archive.invalid", 0, "byte %zu of the archive: %s", at, what);
}

int tar_next(struct tar_reader *t, struct tar_entry *ret, struct error *err)
{
    static const char zeros[BLOCK];
    for (;;) {
        struct header h;
        size_t start = t->at;
        if (t->size - t->at < sizeof h)
            return invalid(err, start, "it ends without an end mark");
        memcpy(&h, t->data + t->at, sizeof h);
        if (memcmp(&h, zeros, sizeof h) == 0)
            return 0;

        uint64_t sum, size;
        if (!parse_octal(h.checksum, sizeof h.checksum, &sum) || sum != checksum_of(&h))
            return invalid(err, start, "not a tar header");
        if (memcmp(h.magic, "ustar", 5) != 0 || !parse_octal(h.size, sizeof h.size, &size))
            return invalid(err, start, "not a ustar header");
        t->at += sizeof h;
        if (size > t->size - t->at)
            return invalid(err, start, "it ends within a file");
        ret->data = t->data + t->at;
        ret->size = (size_t)size;
        memcpy(ret->name, h.name, sizeof h.name);
        ret->name[sizeof h.name] = '\0';
        uint64_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
        t->at = padded > t->size - t->at ? t->size : t->at + (size_t)padded;
        if (h.type == '0' || h.type == '\0') {
            if (h.prefix[0] != '\0' || ret->name[0] == '\0')
                return invalid(err, start, "a name that does not belong here");
            return 1;
        }
        if (h.type != '5')
            return invalid(err, start, "neither a file nor a directory");
    }
}
