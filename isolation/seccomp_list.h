/** A syscall list as data, between its JSON and libseccomp. Private to the seccomp files. */
#ifndef CLOCHE_ISOLATION_SECCOMP_LIST_H
#define CLOCHE_ISOLATION_SECCOMP_LIST_H

#include "base/error.h"
#include "isolation/seccomp_private.h"

#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECCOMP_MAX_NUMBER = 1024, SECCOMP_MAX_ARGS = 6 };

struct seccomp_rule { /* with conditions on arguments */
    int nr;
    uint32_t action;
    unsigned arg_count;
    struct scmp_arg_cmp args[SECCOMP_MAX_ARGS];
};

struct seccomp_list {
    uint32_t default_action;
    unsigned flags;                 /* SECCOMP_FILTER_FLAG_* */
    bool notifies;                  /* some rule has SCMP_ACT_NOTIFY */
    bool given[SECCOMP_MAX_NUMBER]; /* has a rule without conditions: */
    uint32_t plain[SECCOMP_MAX_NUMBER];
    struct seccomp_rule *rules; /* the caller frees it, also after a failure */
    size_t rule_count, rule_room;
};

/** Into a zeroed list. Errors: seccomp.invalid, seccomp.unsupported, every problem on a line. */
int seccomp_list_read(struct seccomp_list *ret, const char *json, size_t size,
                      struct seccomp_abilities can, struct error *err);

/** True for the actions that let a call through. */
static inline bool seccomp_allows(uint32_t action)
{
    return action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG;
}

#endif
