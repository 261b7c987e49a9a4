/* OTP's rules as a table: every strategy, every kind of restart, every end; and the window. What
 * OTP does was read from stdlib's supervisor.erl: do_restart/3, restart/2, add_restart/1,
 * terminate_children/2. */
#include "runtime/keeper/supervise.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define CHILDREN 4

/* What becomes of the four children when the third (of index 2) ends, a letter each: "-" untouched,
 * "r" stopped or down and started again, "x" stopped and forgotten, "d" down and left so; "g": the
 * supervisor gives up and stops all. The first child is permanent, the second temporary, the fourth
 * transient. */
static const struct {
    enum supervise_strategy strategy;
    enum supervise_restart restart;
    enum supervise_end end;
    const char *expected;
} cases[] = {
    {ONE_FOR_ONE, PERMANENT, END_NORMAL, "--r-"},
    {ONE_FOR_ONE, PERMANENT, END_SHUTDOWN, "--r-"},
    {ONE_FOR_ONE, PERMANENT, END_ABNORMAL, "--r-"},
    {ONE_FOR_ONE, PERMANENT, END_REFUSED, "--d-"},
    {ONE_FOR_ONE, PERMANENT, END_START_FAILED, "--r-"},
    {ONE_FOR_ONE, TRANSIENT, END_NORMAL, "--d-"},
    {ONE_FOR_ONE, TRANSIENT, END_SHUTDOWN, "--d-"},
    {ONE_FOR_ONE, TRANSIENT, END_ABNORMAL, "--r-"},
    {ONE_FOR_ONE, TRANSIENT, END_REFUSED, "--d-"},
    {ONE_FOR_ONE, TRANSIENT, END_START_FAILED, "--r-"},
    {ONE_FOR_ONE, TEMPORARY, END_NORMAL, "--x-"},
    {ONE_FOR_ONE, TEMPORARY, END_SHUTDOWN, "--x-"},
    {ONE_FOR_ONE, TEMPORARY, END_ABNORMAL, "--x-"},
    {ONE_FOR_ONE, TEMPORARY, END_REFUSED, "--x-"},
    {ONE_FOR_ONE, TEMPORARY, END_START_FAILED, "--x-"},
    {ONE_FOR_ALL, PERMANENT, END_NORMAL, "rxrr"},
    {ONE_FOR_ALL, PERMANENT, END_SHUTDOWN, "rxrr"},
    {ONE_FOR_ALL, PERMANENT, END_ABNORMAL, "rxrr"},
    {ONE_FOR_ALL, PERMANENT, END_REFUSED, "--d-"},
    {ONE_FOR_ALL, PERMANENT, END_START_FAILED, "rxrr"},
    {ONE_FOR_ALL, TRANSIENT, END_NORMAL, "--d-"},
    {ONE_FOR_ALL, TRANSIENT, END_SHUTDOWN, "--d-"},
    {ONE_FOR_ALL, TRANSIENT, END_ABNORMAL, "rxrr"},
    {ONE_FOR_ALL, TRANSIENT, END_REFUSED, "--d-"},
    {ONE_FOR_ALL, TRANSIENT, END_START_FAILED, "rxrr"},
    {ONE_FOR_ALL, TEMPORARY, END_NORMAL, "--x-"},
    {ONE_FOR_ALL, TEMPORARY, END_SHUTDOWN, "--x-"},
    {ONE_FOR_ALL, TEMPORARY, END_ABNORMAL, "--x-"},
    {ONE_FOR_ALL, TEMPORARY, END_REFUSED, "--x-"},
    {ONE_FOR_ALL, TEMPORARY, END_START_FAILED, "--x-"},
    {REST_FOR_ONE, PERMANENT, END_NORMAL, "--rr"},
    {REST_FOR_ONE, PERMANENT, END_SHUTDOWN, "--rr"},
    {REST_FOR_ONE, PERMANENT, END_ABNORMAL, "--rr"},
    {REST_FOR_ONE, PERMANENT, END_REFUSED, "--d-"},
    {REST_FOR_ONE, PERMANENT, END_START_FAILED, "--rr"},
    {REST_FOR_ONE, TRANSIENT, END_NORMAL, "--d-"},
    {REST_FOR_ONE, TRANSIENT, END_SHUTDOWN, "--d-"},
    {REST_FOR_ONE, TRANSIENT, END_ABNORMAL, "--rr"},
    {REST_FOR_ONE, TRANSIENT, END_REFUSED, "--d-"},
    {REST_FOR_ONE, TRANSIENT, END_START_FAILED, "--rr"},
    {REST_FOR_ONE, TEMPORARY, END_NORMAL, "--x-"},
    {REST_FOR_ONE, TEMPORARY, END_SHUTDOWN, "--x-"},
    {REST_FOR_ONE, TEMPORARY, END_ABNORMAL, "--x-"},
    {REST_FOR_ONE, TEMPORARY, END_REFUSED, "--x-"},
    {REST_FOR_ONE, TEMPORARY, END_START_FAILED, "--x-"},
};

struct fixture {
    struct supervise_child children[CHILDREN];
    uint64_t restarts[64];
    struct supervise s;
};

static void make(struct fixture *f, enum supervise_strategy strategy,
                 enum supervise_restart restart, unsigned max_restarts, uint64_t window_ms)
{
    *f = (struct fixture){.children = {{.restart = PERMANENT},
                                       {.restart = TEMPORARY},
                                       {.restart = restart},
                                       {.restart = TRANSIENT}}};
    f->s = (struct supervise){.strategy = strategy,
                              .max_restarts = max_restarts,
                              .window_ms = window_ms,
                              .children = f->children,
                              .count = CHILDREN,
                              .restarts = f->restarts};
}

static void describe(const struct fixture *f, size_t child, struct supervise_decision d, char *ret)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        bool in = d.action == SUPERVISE_RESTART && i >= d.from && i < d.to;
        ret[i] = d.action == SUPERVISE_GIVE_UP ? 'g'
                 : f->children[i].forgotten    ? 'x'
                 : in                          ? 'r'
                 : i == child                  ? 'd'
                                               : '-';
    }
    ret[CHILDREN] = '\0';
}

Test(supervise, every_strategy_restart_and_end)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        char found[CHILDREN + 1];
        make(&f, cases[i].strategy, cases[i].restart, 1, 5000);
        describe(&f, 2, supervise_ended(&f.s, 2, cases[i].end, 100000, 20000), found);
        cr_expect_str_eq(found, cases[i].expected, "case %zu: found %s, expected %s", i, found,
                         cases[i].expected);
    }
}

/* Ends at these times (ms) with an intensity; which of them, counted from 1, makes the supervisor
 * give up: 0, none. */
static const struct {
    unsigned max_restarts;
    uint64_t window_ms, times[8];
    size_t count, gives_up_at;
} windows[] = {
    {0, 5000, {1}, 1, 1},
    {1, 5000, {1, 2}, 2, 2},
    {1, 5000, {1, 5001}, 2, 2}, /* OTP: a restart exactly a period ago still counts */
    {1, 5000, {1, 5002}, 2, 0},
    {1, 5000, {1, 5002, 10003}, 3, 0},
    {1, 5000, {1, 5002, 10002}, 3, 3},
    {3, 5000, {1, 2, 3}, 3, 0},
    {3, 5000, {1, 2, 3, 4}, 4, 4},
    {3, 5000, {1, 2000, 4000, 5002}, 4, 0},
    {3, 5000, {1, 2000, 4000, 5002, 6000}, 5, 5},
    {3, 1000, {0, 900, 1800, 2700, 3600, 4500, 5400, 6300}, 8, 0},
    {5, 60000, {1, 2, 3, 4, 5, 6}, 6, 6},
};

Test(supervise, the_window)
{
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct fixture f;
        size_t gave_up = 0;
        make(&f, ONE_FOR_ONE, PERMANENT, windows[i].max_restarts, windows[i].window_ms);
        for (size_t n = 0; n < windows[i].count && gave_up == 0; n++) {
            struct supervise_decision d =
                supervise_ended(&f.s, 2, END_ABNORMAL, windows[i].times[n], 0);
            if (d.action == SUPERVISE_GIVE_UP) {
                gave_up = n + 1;
                cr_expect(d.from == 0 && d.to == CHILDREN);
            }
        }
        cr_expect_eq(gave_up, windows[i].gives_up_at, "window %zu: gave up at %zu", i, gave_up);
    }
}

Test(supervise, ends_that_restart_nothing_do_not_count)
{
    struct fixture f;
    make(&f, ONE_FOR_ALL, TRANSIENT, 1, 5000);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(supervise_ended(&f.s, 2, END_NORMAL, 1000, 0).action, SUPERVISE_NOTHING);
    cr_assert_eq(supervise_ended(&f.s, 2, END_ABNORMAL, 1000, 0).action, SUPERVISE_RESTART);
}

Test(supervise, the_window_is_of_the_supervisor_not_of_a_child)
{
    struct fixture f;
    make(&f, ONE_FOR_ONE, PERMANENT, 2, 5000);
    cr_assert_eq(supervise_ended(&f.s, 0, END_ABNORMAL, 1, 0).action, SUPERVISE_RESTART);
    cr_assert_eq(supervise_ended(&f.s, 2, END_ABNORMAL, 2, 0).action, SUPERVISE_RESTART);
    cr_assert_eq(supervise_ended(&f.s, 3, END_ABNORMAL, 3, 0).action, SUPERVISE_GIVE_UP);
}

Test(supervise, back_off)
{
    static const uint64_t expected[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct fixture f;
    make(&f, ONE_FOR_ONE, PERMANENT, 60, 5000);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct supervise_decision d = supervise_ended(&f.s, 2, END_ABNORMAL, 1, 9999);
        cr_expect_eq(d.delay_ms, expected[i], "restart %zu after %llu ms", i,
                     (unsigned long long)d.delay_ms);
    }
    cr_expect_eq(supervise_ended(&f.s, 2, END_ABNORMAL, 1, 10000).delay_ms, 0);
    cr_expect_eq(supervise_ended(&f.s, 2, END_ABNORMAL, 1, 0).delay_ms, 100);
}
