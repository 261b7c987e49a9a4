/**
 * How many sandboxes a user may have.
 *
 * The administrator's word is /etc/cloche/quota.json: {"sandboxes": N, "users": {"1000": N}}; the
 * user may ask for less with CLOCHE_MAX_SANDBOXES. There is no daemon, so a quota keeps programs
 * and people from mistakes; who means harm is held by his own control group and process limit.
 */
#ifndef CLOCHE_RUNTIME_QUOTA_H
#define CLOCHE_RUNTIME_QUOTA_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define QUOTA_NONE UINT64_MAX

/** The quota of this user. quota.invalid */
int quota_sandboxes(uint64_t *ret, struct error *err);

/** What the text of a quota file grants to @uid. quota.invalid */
int quota_parse(const char *text, size_t size, uid_t uid, uint64_t *ret, struct error *err);

/** -1, quota.sandboxes: the directory @all holds @max sandboxes, or more. */
int quota_check(int all, uint64_t max, struct error *err);

#endif
