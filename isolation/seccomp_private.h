/** What the three seccomp files share: compiling in stages, joining them, making the result small.
 */
#ifndef CLOCHE_ISOLATION_SECCOMP_PRIVATE_H
#define CLOCHE_ISOLATION_SECCOMP_PRIVATE_H

#include "base/error.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seccomp_program {
    struct sock_filter *instructions;
    size_t count;
    unsigned flags; /* SECCOMP_FILTER_FLAG_* that the list asks for */
    bool notifies;
};

/** What this kernel can do with a call, as far as it changes what is compiled. */
struct seccomp_abilities {
    bool notify;
};
struct seccomp_abilities seccomp_probe(void);

/** OCI linux.seccomp text -> a program, correct but long. Errors: seccomp.invalid (a line for each
 * problem), seccomp.unsupported. */
int seccomp_compile(struct seccomp_program *ret, const char *json, size_t size,
                    struct seccomp_abilities can, struct error *err);

/** The same decisions by a search tree over ranges of syscall numbers. Returns false and leaves
 * @ret alone when @in holds an instruction that it does not know. @arch: AUDIT_ARCH_* of the calls
 * to judge; every other one gets SECCOMP_RET_KILL_PROCESS. */
bool seccomp_compact(struct seccomp_program *ret, const struct seccomp_program *in, uint32_t arch);

/** AUDIT_ARCH_* of this build. */
uint32_t seccomp_native_arch(void);

/** Number of a syscall by name on the native architecture, or -1. */
int seccomp_syscall_number(const char *name);

/** The same for those that libseccomp does not know yet. */
int seccomp_young_number(const char *name);

#endif
