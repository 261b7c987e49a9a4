/* Syscall lists, over anything: what is accepted compiles, and the compact program decides like the
 * long one. */
#include "isolation/seccomp_private.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t decide(const struct seccomp_program *p, const struct seccomp_data *d)
{
    uint32_t a = 0;
    for (size_t pc = 0; pc < p->count;) {
        const struct sock_filter *i = &p->instructions[pc++];
        bool yes;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k % 4 != 0 || i->k + 4 > sizeof *d)
                abort();
            memcpy(&a, (const char *)d + i->k, sizeof a);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_RET | BPF_K:
            return i->k;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = a == i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = a >= i->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            yes = a > i->k;
            break;
        default:
            abort();
        }
        pc += yes ? i->jt : i->jf;
    }
    abort();
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
