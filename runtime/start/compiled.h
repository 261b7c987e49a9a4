/** Built-in profiles as code and built-in filters as BPF, printed by
 * runtime/start/tools/precompile.c when Cloche is built, so that a start reads neither JSON nor a
 * cache. */
#ifndef CLOCHE_RUNTIME_START_COMPILED_H
#define CLOCHE_RUNTIME_START_COMPILED_H

#include "config/spec.h"

#include <linux/filter.h>

struct compiled_profile {
    const char *name;
    void (*apply)(struct spec *s); /* over what spec_new() made */
};

struct compiled_filter {
    const char *name;
    const struct sock_filter *instructions;
    unsigned short count;
    bool notifies; /* made for a kernel with SECCOMP_RET_USER_NOTIF */
    unsigned flags;
};

extern const struct compiled_profile compiled_profiles[]; /* both end with a NULL name */
extern const struct compiled_filter compiled_filters[];

#endif
