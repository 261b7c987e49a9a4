#include "runtime/keeper/supervise.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   5000
#define RAN_WELL_MS      10000

static bool is_restarted(enum supervise_restart restart, enum supervise_end how)
{
    if (restart == TEMPORARY || how == END_REFUSED)
        return false;
    return restart == PERMANENT || how == END_ABNORMAL || how == END_START_FAILED;
}

/** Note one more restart; false when there are too many. */
static bool within_intensity(struct supervise *s, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->restart_count; i++) {
        if (now_ms - s->restarts[i] <= s->window_ms)
            s->restarts[kept++] = s->restarts[i];
    }
    s->restart_count = kept;
    if (s->restart_count == s->max_restarts)
        return false;
    s->restarts[s->restart_count++] = now_ms;
    return true;
}

static uint64_t next_delay(struct supervise_child *c, uint64_t ran_ms)
{
    if (ran_ms >= RAN_WELL_MS)
        c->backoff = 0;
    unsigned step = c->backoff++;
    if (step == 0)
        return 0;
    if (step > 6) /* 100 << 6 is above the maximum already */
        return BACKOFF_MAX_MS;
    uint64_t delay = (uint64_t)BACKOFF_FIRST_MS << (step - 1);
    return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

struct supervise_decision supervise_ended(struct supervise *s, size_t child, enum supervise_end how,
                                          uint64_t now_ms, uint64_t ran_ms)
{
    struct supervise_child *c = &s->children[child];
    if (c->restart == TEMPORARY)
        c->forgotten = true;
    if (!is_restarted(c->restart, how))
        return (struct supervise_decision){.action = SUPERVISE_NOTHING};
    if (!within_intensity(s, now_ms))
        return (struct supervise_decision){.action = SUPERVISE_GIVE_UP, .to = s->count};
    struct supervise_decision d = {.action = SUPERVISE_RESTART,
                                   .from = s->strategy == ONE_FOR_ALL ? 0 : child,
                                   .to = s->strategy == ONE_FOR_ONE ? child + 1 : s->count,
                                   .delay_ms = next_delay(c, ran_ms)};
    for (size_t i = d.from; i < d.to; i++) {
        if (s->children[i].restart == TEMPORARY)
            s->children[i].forgotten = true;
    }
    return d;
}
