/* cloche judge: grade submissions. Theory of operation: runtime/judge.h.
 *
 * Each SOURCE is one submission (a file, or the directory of one program). The status is 0 only
 * when every submission passed every test. */
#include "runtime/judge.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/cli.h"
#include "runtime/cli/compile.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

struct judge_options {
    struct cli_compile common;
    const char *tests, *profile, *junit, *checker;
    double absolute, relative;
    bool tolerance_given, stop, details;
    uint64_t jobs;
    struct judge_limits limits;
};

static int set_tolerance(void *context, const char *text, struct error *err)
{
    struct judge_options *o = context;
    char *end;
    o->tolerance_given = true;
    o->absolute = o->relative = strtod(text, &end);
    if (end != text && *end == ',')
        o->relative = strtod(end + 1, &end);
    if (end != text && *end == '\0' && o->absolute >= 0 && o->relative >= 0 &&
        o->absolute < 1e300 && o->relative < 1e300)
        return 0;
    return error_set(err, "usage.value", 0,
                     "expected a number such as 1e-6, or ABSOLUTE,RELATIVE, "
                     "found \"%s\"",
                     text);
}

static const struct cli_option options[] = {
    CLI_VALUE(0, "tests", "DIR", "NAME.in with NAME.out or NAME.ans, and tests.json", CLI_TEXT,
              judge_options, tests),
    CLI_VALUE(0, "checker", "NAME|FILE", "tokens, exact, float, unordered, or a checker program",
              CLI_TEXT, judge_options, checker),
    {0, "tolerance", "ABS[,REL]", "of the float checker (1e-6)", set_tolerance},
    CLI_ROW('j', "jobs", "N", "compiles and tests at a time (all processors)", CLI_COUNT,
            judge_options, jobs, 256),
    CLI_SWITCH(0, "stop", "skip a submission's tests after its first failure", judge_options, stop),
    CLI_VALUE(0, "cpu-time", "TIME", "CPU time of a test, such as 2s", CLI_DURATION, judge_options,
              limits.cpu_ms),
    CLI_VALUE(0, "timeout", "TIME", "wall time of a test, such as 10s", CLI_DURATION, judge_options,
              limits.wall_ms),
    CLI_VALUE(0, "memory", "SIZE", "memory of a test, such as 256m", CLI_SIZE, judge_options,
              limits.memory_bytes),
    CLI_VALUE(0, "output-limit", "SIZE", "output of a test", CLI_SIZE, judge_options,
              limits.output_bytes),
    CLI_ROW(0, "pids-limit", "N", "processes and threads of a test", CLI_COUNT, judge_options,
            limits.processes, 4194304),
    CLI_VALUE(0, "profile", "NAME", "what the limits start from (student)", CLI_TEXT, judge_options,
              profile),
    CLI_SWITCH(0, "details", "a line a test (the default for one submission)", judge_options,
               details),
    CLI_VALUE(0, "junit", "FILE", "write JUnit XML", CLI_TEXT, judge_options, junit),
    CLI_COMPILE_ROWS(judge_options),
    {0, NULL, NULL, NULL, NULL},
};

static void show(const struct judge_result *r, const struct judge_options *o)
{
    bool color = isatty(1) && getenv("NO_COLOR") == NULL;
    if (o->common.json) {
        cJSON *json = judge_to_json(r);
        char *text = cJSON_Print(json);
        puts(text);
        free(text);
        cJSON_Delete(json);
        return;
    }
    bool one = r->count == 1;
    if (one && r->submissions[0].compiled && r->submissions[0].compile.verdict != VERDICT_OK)
        diagnostics_print(r->submissions[0].compile.diagnostics, stderr,
                          isatty(2) && getenv("NO_COLOR") == NULL);
    judge_print_table(r, stdout, o->details || (one && r->submissions[0].skipped < r->tests->count),
                      color);
}

static int grade(const struct judge_options *o, const struct judge_job *asked, struct error *err)
{
    struct judge_job job = *asked;
    struct judge_tests *tests = NULL;
    if (judge_tests_load(&tests, o->tests, err) < 0)
        return -1;
    struct checker checker = tests->checker;
    if (o->checker != NULL && !checker_parse(o->checker, &checker.kind)) {
        checker.kind = CHECKER_PROGRAM;
        checker.program = o->checker;
    }
    if (o->tolerance_given) {
        checker.kind = o->checker == NULL ? CHECKER_FLOAT : checker.kind;
        checker.absolute = o->absolute;
        checker.relative = o->relative;
    }
    job.checker = &checker;
    job.tests = tests;
    struct judge_result r;
    int status = judge_run(&job, &r, err);
    if (status == 0) {
        show(&r, o);
        if (o->junit != NULL)
            status = judge_save_junit(&r, o->junit, err);
        if (status == 0)
            status = r.all_passed ? 0 : 1;
        judge_result_free(&r);
    }
    judge_tests_free(tests);
    return status;
}

int cli_judge(int argc, char **argv)
{
    if (cli_wants_help("judge", options, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct judge_options o = {.absolute = 1e-6, .relative = 1e-6};
    if (cli_compile_parse(options, &o.common, "jh", argc, argv, a, &err) < 0)
        return cli_fail(&err, o.common.json, EXIT_USAGE);
    if (o.common.sources.count == 0 || o.tests == NULL) {
        error_set(&err, "usage.missing", 0,
                  o.tests == NULL ? "no tests given" : "no submission given");
        error_hint(&err, "cloche judge SUBMISSION... --tests DIR");
        return cli_fail(&err, o.common.json, EXIT_USAGE);
    }
    struct judge_job job = {
        .submission_count = o.common.sources.count,
        .profile = o.profile,
        .limits = o.limits,
        .stop_at_first = o.stop,
        .jobs = (unsigned)o.jobs,
    };
    cli_compile_job(a, &o.common, &job.compile);
    job.submissions = job.compile.sources;
    int status = grade(&o, &job, &err);
    return status < 0 ? cli_fail(&err, o.common.json, EXIT_FAILURE) : status;
}
