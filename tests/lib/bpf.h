/** What a syscall filter answers: an interpreter of the few BPF instructions that one has. */
#ifndef CLOCHE_TESTS_LIB_BPF_H
#define CLOCHE_TESTS_LIB_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** False: not a program of that kind, or it runs off its end. */
static inline bool bpf_decide(const struct sock_filter *code, size_t count,
                              const struct seccomp_data *d, uint32_t *ret)
{
    uint32_t a = 0;
    for (size_t pc = 0; pc < count;) {
        const struct sock_filter *i = &code[pc++];
        bool yes;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k % 4 != 0 || i->k > sizeof *d - 4)
                return false;
            memcpy(&a, (const char *)d + i->k, sizeof a);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_RET | BPF_K:
            *ret = i->k;
            return true;
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
            return false;
        }
        pc += yes ? i->jt : i->jf;
    }
    return false;
}

#endif
