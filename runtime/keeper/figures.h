/** Figures of a sandbox as JSON, for info and stats. */
#ifndef CLOCHE_RUNTIME_KEEPER_FIGURES_H
#define CLOCHE_RUNTIME_KEEPER_FIGURES_H

#include "runtime/keeper/keeper.h"

#include <cjson/cJSON.h>

/** LIMIT_NONE is null. */
void figures_add_u64(cJSON *o, const char *name, uint64_t value);
cJSON *figures_usage(const struct keeper *k);
cJSON *figures_limits(const struct keeper *k);

#endif
