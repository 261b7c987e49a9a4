/*
 * The reader of modules. An input is either the file itself, or changes to a module that gcc made
 * when the fuzzer started: without that start it would take long to get past the header. The bytes
 * are copied to the heap, so that the sanitizer sees where they end.
 */
#include "base/arena.h"
#include "base/io.h"
#include "versions/elf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *base;
static size_t base_size;

static const char build[] =
    "d=$(mktemp -d) && mkdir $d/cloche && cp versions/module.h $d/cloche && "
    "gcc -O2 -fPIC -shared -s -fvisibility=hidden -Wl,-z,noexecstack,-z,noseparate-code "
    "-Wl,-z,pack-relative-relocs,--hash-style=both -I$d tests/unit/modules/counter.c -o $d/m.so && "
    "cat $d/m.so; rm -rf $d";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    FILE *f = popen(build, "re");
    ssize_t n = f == NULL ? -1 : io_read_to_end(fileno(f), 1 << 20, &base);
    if (n <= 0 || pclose(f) != 0) {
        fputs("fuzz_elf: cannot build a module; run it from the top of the checkout\n", stderr);
        exit(1);
    }
    base_size = (size_t)n;
    return 0;
}

/* four bytes a change: where (two), how (one), the value (one) */
static void change(char *file, size_t size, const uint8_t *data, size_t count)
{
    for (; count >= 4; data += 4, count -= 4) {
        size_t at = (data[0] | (size_t)data[1] << 8) % size;
        uint64_t word = data[2] % 4 == 3 ? (uint64_t)(int64_t)(int8_t)data[3] : data[3];
        size_t width = (size_t)1 << (data[2] / 4 % 4);
        if (data[2] % 4 == 2)
            word <<= data[2] / 16 * 3;
        memcpy(file + at, &word, width < size - at ? width : size - at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct elf_policy policy = {.name = "counter", .file = "fuzz"};
    if (size == 0)
        return 0;
    bool changes = data[0] % 2 == 0;
    size_t file_size = changes ? base_size : size - 1;
    char *file = malloc(file_size + (file_size == 0));
    if (file == NULL)
        abort();
    memcpy(file, changes ? (const uint8_t *)base : data + 1, file_size);
    if (changes)
        change(file, file_size, data + 1, size - 1);

    struct arena *a = arena_new();
    struct elf_info info;
    struct error err = ERROR_INIT;
    if (elf_verify(a, file, file_size, &policy, &info, &err) < 0 && err.code == NULL)
        abort();
    arena_free(a);
    free(file);
    return 0;
}
