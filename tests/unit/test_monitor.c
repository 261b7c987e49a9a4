/* When a resource is near its limit, and when it is not any more. */
#include "runtime/keeper/sampling.h"

#include <criterion/criterion.h>

static const struct {
    bool warned;
    uint64_t used, limit;
    unsigned percent;
    enum monitor_change expected;
} cases[] = {
    {false, 0, 100, 80, MONITOR_SAME},
    {false, 79, 100, 80, MONITOR_SAME},
    {false, 80, 100, 80, MONITOR_CROSSED},
    {false, 799, 1000, 80, MONITOR_SAME}, /* rounded down */
    {false, 200, 100, 80, MONITOR_CROSSED},
    {false, 100, 100, 100, MONITOR_CROSSED},
    {false, 99, 100, 100, MONITOR_SAME},
    {true, 80, 100, 80, MONITOR_SAME},
    {true, 76, 100, 80, MONITOR_SAME}, /* between the lines it stays as it was */
    {false, 76, 100, 80, MONITOR_SAME},
    {true, 75, 100, 80, MONITOR_SAME},
    {true, 74, 100, 80, MONITOR_BACK},
    {true, 0, 100, 80, MONITOR_BACK},
    {true, 0, 100, 1, MONITOR_BACK}, /* no room for five points */
    {true, 1, 100, 1, MONITOR_SAME},
    {false, 1, 100, 1, MONITOR_CROSSED},
    {false, 0, 100, 1, MONITOR_SAME},
    {false, 1, 0, 80, MONITOR_CROSSED},
    {false, 0, 0, 80, MONITOR_SAME},
    {true, 0, 0, 80, MONITOR_BACK},
    {false, UINT64_MAX - 1, UINT64_MAX - 1, 80, MONITOR_CROSSED},
    {false, UINT64_MAX / 2, UINT64_MAX - 1, 80, MONITOR_SAME},
    {false, UINT64_MAX - 1, 1, 80, MONITOR_CROSSED},
};

Test(monitor, judges)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(
            monitor_judge(cases[i].warned, cases[i].used, cases[i].limit, cases[i].percent),
            cases[i].expected, "case %zu", i);
}

Test(monitor, a_rise_and_a_fall_are_told_once_each)
{
    bool warned = false;
    int crossed = 0, back = 0;
    for (int used = 0; used <= 200; used++) {
        enum monitor_change c =
            monitor_judge(warned, (uint64_t)(used <= 100 ? used : 200 - used), 100, 80);
        crossed += c == MONITOR_CROSSED;
        back += c == MONITOR_BACK;
        warned = c == MONITOR_SAME ? warned : c == MONITOR_CROSSED;
    }
    cr_expect_eq(crossed, 1);
    cr_expect_eq(back, 1);
}

Test(monitor, percent)
{
    cr_expect_eq(monitor_percent(0, 100), 0);
    cr_expect_eq(monitor_percent(1, 3), 33);
    cr_expect_eq(monitor_percent(3, 3), 100);
    cr_expect_eq(monitor_percent(UINT64_MAX, 1), 1000000);
    cr_expect_geq(monitor_percent(UINT64_MAX, UINT64_MAX), 99);
}
