#include "runtime/keeper/sampling.h"

#define BELOW_POINTS 5 /* so that what trembles at the line is not told again and again */

unsigned monitor_percent(uint64_t used, uint64_t limit)
{
    if (limit == 0)
        return used > 0 ? 100 : 0;
    uint64_t percent = used <= UINT64_MAX / 100 ? used * 100 / limit : used / (limit / 100 + 1);
    return percent < 1000000 ? (unsigned)percent : 1000000;
}

enum monitor_change monitor_judge(bool warned, uint64_t used, uint64_t limit, unsigned percent)
{
    unsigned now = monitor_percent(used, limit);
    if (!warned)
        return now >= percent ? MONITOR_CROSSED : MONITOR_SAME;
    unsigned back = percent > BELOW_POINTS ? percent - BELOW_POINTS : 0;
    return now < back || (back == 0 && used == 0) ? MONITOR_BACK : MONITOR_SAME;
}
