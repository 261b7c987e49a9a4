/**
 * Landlock: a second wall, under the mount namespace.
 *
 * Theory of operation. landlock_plan_make() runs in the parent: it reads the kernel's ABI once and
 * writes down which path inside the sandbox gets which rights, from the spec's mounts (derived) or
 * from its `landlock` object (given). landlock_apply() runs in the program's process, after
 * pivot_root, after its standard streams are in place, after no_new_privs, before the filter: it
 * opens the paths below the new root and restricts the calling thread and all that it will start.
 *
 * Derived rules repeat what the mounts allow: read-only trees can be read and executed from,
 * writable ones everything but what their mount forbids, /dev opened and controlled, /proc read and
 * written. Files behind descriptors 0, 1 and 2 may be opened again (through /dev/stderr) in the
 * mode that they are open in, never in a wider one. On kernels that know it (ABI 6), abstract unix
 * sockets and signals end at the sandbox, too. A derived plan on a kernel without Landlock, or one
 * that cannot rename between directories (ABI 1), is empty; a given one is an error.
 *
 * Private to isolation/. landlock(7).
 */
#ifndef CLOCHE_ISOLATION_LANDLOCK_H
#define CLOCHE_ISOLATION_LANDLOCK_H

#include "base/arena.h"
#include "base/error.h"
#include "config/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct landlock_rule {
    const char *path; /* absolute, inside the sandbox */
    uint64_t access;  /* LANDLOCK_ACCESS_FS_*, as far as the ABI knows them */
    bool optional;    /* a missing path is no error */
};

struct landlock_plan {
    int abi; /* 0: apply does nothing */
    uint64_t handled_fs, handled_net, scoped;
    struct landlock_rule *rules;
    size_t rule_count;
    const uint16_t *tcp_bind, *tcp_connect;
    size_t tcp_bind_count, tcp_connect_count;
};

/** The kernel's Landlock ABI version, 0 when it has none or it is disabled. */
int landlock_abi(void);

/** Memory is the arena's; @spec must outlive the plan. Error: landlock.unsupported. */
int landlock_plan_make(struct landlock_plan *ret, const struct spec *spec, struct arena *a,
                       struct error *err);

/** The same for a kernel of ABI @abi; a newer kernel takes such a plan, too. */
int landlock_plan_for(struct landlock_plan *ret, const struct spec *spec, int abi, struct arena *a,
                      struct error *err);

/** In the program's process; async-signal-safe. Paths are those of the root directory @root, or of
 * the process's own (AT_FDCWD). 0, or -1 with errno and, in *@ret_path when not
 * NULL, the path of the rule that failed (NULL: no path concerned). */
int landlock_apply(const struct landlock_plan *plan, int root, const char **ret_path);

#endif
