/* Syscall lists, over anything: what is accepted compiles, and the compact program decides like the
 * long one. */
#include "isolation/seccomp_private.h"
#include "tests/lib/bpf.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t decide(const struct seccomp_program *p, const struct seccomp_data *d)
{
    uint32_t action;
    if (!bpf_decide(p->instructions, p->count, d, &action))
        abort();
    return action;
}

static void compare(const struct seccomp_program *whole, const struct seccomp_program *small)
{
    static const uint64_t values[] = {0, 1, 2, 0xffffffff, 1ULL << 32, 1ULL << 33, UINT64_MAX};
    for (int nr = -1; nr < 480; nr++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            struct seccomp_data d = {.nr = nr, .arch = seccomp_native_arch()};
            for (int i = 0; i < 6; i++)
                d.args[i] = values[v] + (uint64_t)i;
            if (decide(whole, &d) != decide(small, &d))
                abort();
        }
    }
    struct seccomp_data foreign = {.nr = 1, .arch = AUDIT_ARCH_ARMEB};
    if (decide(small, &foreign) != SECCOMP_RET_KILL_PROCESS)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct seccomp_abilities can = {.notify = true};
    struct seccomp_program whole, small;
    struct error err = ERROR_INIT;
    if (seccomp_compile(&whole, (const char *)data, size, can, &err) < 0) {
        if (err.code == NULL || err.message[0] == '\0')
            abort();
        return 0;
    }
    if (seccomp_compact(&small, &whole, seccomp_native_arch())) {
        compare(&whole, &small);
        free(small.instructions);
    }
    free(whole.instructions);
    return 0;
}
