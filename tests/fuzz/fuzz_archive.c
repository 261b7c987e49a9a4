/* What `cloche import` reads, before anything of it is published: the tar, its index, its modules.
 * The database is opened once and stays empty as long as no input is a valid archive. */
#include "base/io.h"
#include "versions/tar.h"
#include "versions/versions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct versions *store;

/* Headers get the magic and the sum that they should have, or no input would come past them. */
static void seal_headers(unsigned char *tar, size_t size)
{
    for (size_t at = 0; at + 512 <= size;) {
        unsigned char *h = tar + at;
        char field[13] = {0};
        memcpy(h + 257, "ustar", 5);
        memcpy(field, h + 124, 12);
        memset(h + 148, ' ', 8);
        unsigned sum = 0;
        for (size_t i = 0; i < 512; i++)
            sum += h[i];
        char text[8];
        snprintf(text, sizeof text, "%06o", sum & 0777777);
        memcpy(h + 148, text, 7);
        unsigned long long bytes = strtoull(field, NULL, 8);
        if (bytes > size)
            return;
        at += 512 + ((size_t)bytes + 511) / 512 * 512;
    }
}

static void remove_store(void)
{
    versions_close(store);
}

static void open_store(void)
{
    char path[] = "/dev/shm/cloche-fuzz.XXXXXX";
    struct error err = ERROR_INIT;
    int dir = mkdtemp(path) == NULL ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || versions_open(dir, &store, &err) < 0) {
        fprintf(stderr, "fuzz_archive: %s\n", err.message);
        exit(1);
    }
    /* nothing is left behind: what is open stays usable */
    static const char *const files[] = {"sandbox.db", "sandbox.db-wal", "sandbox.db-shm",
                                        "reserve"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlinkat(dir, files[i], 0);
    rmdir(path);
    close(dir);
    atexit(remove_store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct elf_policy policy = {.file = "fuzz"};
    if (store == NULL)
        open_store();
    int fd = memfd_create("archive", MFD_CLOEXEC);
    unsigned char *tar = malloc(size + 1);
    if (fd < 0 || tar == NULL)
        abort();
    memcpy(tar, data, size);
    if (size > 0 && data[0] == '{') { /* an index, with something behind it */
        if (tar_write(fd, "cloche-versions.json", tar, size) < 0 ||
            tar_write(fd, "1/module.so", tar, size) < 0 ||
            tar_write(fd, "1/manifest.json", tar, size) < 0 || tar_finish(fd) < 0)
            abort();
    } else {
        seal_headers(tar, size);
        if (io_write_all(fd, tar, size) < 0)
            abort();
    }
    free(tar);
    if (lseek(fd, 0, SEEK_SET) < 0)
        abort();
    struct arena *a = arena_new();
    struct store_imported *list;
    size_t count;
    struct error err = ERROR_INIT;
    if (store_import(store, a, "m", &policy, fd, &list, &count, &err) < 0 && err.code == NULL)
        abort();
    arena_free(a);
    close(fd);
    return 0;
}
