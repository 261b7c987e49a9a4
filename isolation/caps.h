/**
 * Capabilities: what the program may keep, decided before the sandbox exists.
 *
 * Theory of operation. caps_plan_make() runs in the parent and does all that may allocate. In the
 * child, after the last privileged step (mounts, cgroup, hostname, network), this happens in this
 * order:
 *
 *   caps_drop_bounding()     while CAP_SETPCAP is still there
 *   caps_keep_over_identity()
 *   setgroups, setresgid, setresuid                     by the caller
 *   caps_apply()             permitted, effective, inheritable, ambient; securebits; no_new_privs
 *
 * Between the two KEEP_CAPS holds the permitted set over the change of ids. The securebits end up
 * locked, with every ambient raise refused; a sandbox without capabilities also has NOROOT, so that
 * uid 0 inside gets nothing by exec. A sandbox that runs as uid 0 and keeps capabilities has the
 * usual rule for root instead (permitted after exec = bounding set and permitted set): what the OCI
 * specification and programs made for it expect. Any other uid keeps over an exec what its ambient
 * set says.
 *
 * Private to isolation/. capabilities(7), user_namespaces(7).
 */
#ifndef CLOCHE_ISOLATION_CAPS_H
#define CLOCHE_ISOLATION_CAPS_H

#include "base/error.h"
#include "config/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/capability.h>

struct caps_plan {
    cap_t sets;             /* permitted, effective, inheritable as asked */
    cap_t raising;          /* the same, with what raising ambient ones and locking needs */
    uint64_t bounding;      /* to keep */
    uint64_t ambient;       /* to raise */
    int last;               /* highest capability of this kernel */
    unsigned securebits;    /* final */
    bool no_new_privileges; /* set by caps_apply() */
};

static inline bool caps_none(const struct spec_capabilities *c)
{
    return (c->bounding | c->effective | c->inheritable | c->permitted | c->ambient) == 0;
}

/** Errors: caps.invalid (effective needs permitted, inheritable needs bounding), caps.unknown (a
 * capability that this kernel does not have), caps.failed. Ambient capabilities that are not
 * permitted and inheritable, too, are left out, as runc and crun do. */
int caps_plan_make(struct caps_plan *ret, const struct spec *spec, struct error *err);
void caps_plan_free(struct caps_plan *plan);

/** In the child; async-signal-safe. 0, or -1 with errno. The bounding set may be emptied earlier,
 * by a process that many programs come from. */
int caps_drop_bounding(const struct caps_plan *plan);
int caps_keep_over_identity(void);
int caps_apply(const struct caps_plan *plan);

#endif
