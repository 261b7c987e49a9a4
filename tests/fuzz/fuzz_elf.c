/* The reader of modules, over anything. Copied to the heap so that the sanitizer sees its end. */
#include "base/arena.h"
#include "versions/elf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct elf_policy policy = {.name = "counter", .file = "fuzz"};
    struct arena *a = arena_new();
    struct elf_info info;
    struct error err = ERROR_INIT;
    if (elf_verify(a, data, size, &policy, &info, &err) < 0 && err.code == NULL)
        abort();
    arena_free(a);
    return 0;
}
