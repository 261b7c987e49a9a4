#include "isolation/caps.h"

#include <errno.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>

/* Nothing in the two functions for the child allocates: libcap's setters are thin over capset and
 * prctl, and the cap_t's were made before. */

static bool has(uint64_t set, int cap)
{
    return (set >> cap & 1) != 0;
}

static int check(const char *set_name, uint64_t set, const char *within_name, uint64_t within,
                 struct error *err)
{
    uint64_t outside = set & ~within;
    if (outside == 0)
        return 0;
    const char *name = spec_capability_name(__builtin_ctzll(outside));
    return error_set(err, "caps.invalid", 0,
                     "process.capabilities.%s has %s, which process.capabilities.%s does not have",
                     set_name, name ? name : "a capability", within_name);
}

static int set_flag(cap_t caps, cap_flag_t flag, uint64_t set)
{
    for (int c = 0; c < 64; c++) {
        const cap_value_t value = c;
        if (has(set, c) && cap_set_flag(caps, flag, 1, &value, CAP_SET) < 0)
            return -1;
    }
    return 0;
}

static cap_t make(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
    cap_t caps = cap_init();
    if (caps == NULL)
        return NULL;
    if (set_flag(caps, CAP_PERMITTED, permitted) < 0 ||
        set_flag(caps, CAP_EFFECTIVE, effective) < 0 ||
        set_flag(caps, CAP_INHERITABLE, inheritable) < 0) {
        cap_free(caps);
        return NULL;
    }
    return caps;
}

int caps_plan_make(struct caps_plan *ret, const struct spec *spec, struct error *err)
{
    const struct spec_capabilities *c = &spec->capabilities;
    const uint64_t setpcap = 1ULL << CAP_SETPCAP;
    /* seccomp(2) wants it where new privileges are not given up; the exec, which goes by the
     * ambient, inheritable and bounding sets, takes it away */
    const uint64_t filter = spec->no_new_privileges || spec->seccomp.kind == SECCOMP_UNCONFINED
                                ? 0
                                : 1ULL << CAP_SYS_ADMIN;
    int last = cap_max_bits() - 1;
    uint64_t all = c->bounding | c->permitted | c->effective | c->inheritable | c->ambient;

    if (last < 0 || last > 63)
        return error_set(err, "caps.failed", 0, "this kernel does not tell its capabilities");
    if (last < 63 && all >> (last + 1) != 0) {
        const char *name = spec_capability_name(__builtin_ctzll(all & (~0ULL << (last + 1))));
        return error_set(err, "caps.unknown", 0, "process.capabilities: this kernel has no %s",
                         name ? name : "such capability");
    }
    if (check("effective", c->effective, "permitted", c->permitted, err) < 0 ||
        check("inheritable", c->inheritable, "bounding", c->bounding, err) < 0)
        return -1;

    struct caps_plan plan = {
        .bounding = c->bounding,
        /* what runc and crun write asks for more than the kernel grants: only what is permitted
         * and inheritable can be ambient */
        .ambient = c->ambient & c->permitted & c->inheritable,
        .last = last,
        .no_new_privileges = spec->no_new_privileges,
        .securebits = SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                      SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
    };
    if (spec->uid != 0 || c->permitted == 0)
        plan.securebits |= SECBIT_NOROOT;
    plan.sets = make(c->permitted | filter, c->effective | filter, c->inheritable);
    plan.raising = make(c->permitted | setpcap | filter, setpcap, c->inheritable);
    if (plan.sets == NULL || plan.raising == NULL) {
        int saved = errno;
        caps_plan_free(&plan);
        return error_set(err, "caps.failed", saved, "cannot prepare the capabilities");
    }
    *ret = plan;
    return 0;
}

void caps_plan_free(struct caps_plan *plan)
{
    if (plan->sets != NULL)
        cap_free(plan->sets);
    if (plan->raising != NULL)
        cap_free(plan->raising);
    *plan = (struct caps_plan){0};
}

int caps_drop_bounding(const struct caps_plan *plan)
{
    /* up to where the kernel says that there is none: nothing depends on what it said before */
    for (unsigned long c = 0; c < 64; c++) {
        if (has(plan->bounding, (int)c) || prctl(PR_CAPBSET_DROP, c, 0UL, 0UL, 0UL) == 0)
            continue;
        int there = prctl(PR_CAPBSET_READ, c, 0UL, 0UL, 0UL);
        if (there != 0)
            return there < 0 && errno == EINVAL && c > 0 ? 0 : -1;
    }
    return 0;
}

int caps_keep_over_identity(void)
{
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

int caps_apply(const struct caps_plan *plan)
{
    if (cap_set_proc(plan->raising) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0)
        return -1;
    for (int c = 0; c <= plan->last; c++) {
        if (has(plan->ambient, c) && cap_set_ambient(c, CAP_SET) < 0)
            return -1;
    }
    if (cap_set_secbits(plan->securebits) < 0 || cap_set_proc(plan->sets) < 0)
        return -1;
    return plan->no_new_privileges ? prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) : 0;
}
