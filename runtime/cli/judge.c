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
    bool tolerance_given, json, no_cache, stop, details, no_details;
    uint64_t jobs;
    struct judge_limits limits;
};

#define SETTER(name_, body_)                                                                       \
    static int name_(void *context, const char *text, struct error *err)                           \
    {                                                                                              \
        struct judge_options *o = context;                                                         \
        (void)text;                                                                                \
        (void)err;                                                                                 \
        body_;                                                                                     \
        return 0;                                                                                  \
    }

SETTER(set_tests, o->tests = text)
SETTER(set_profile, o->profile = text)
SETTER(set_toolchain, o->common.toolchain = text)
SETTER(set_werror, o->common.warnings_as_errors = true)
SETTER(set_checker, o->checker = text)
SETTER(set_junit, o->junit = text)
SETTER(set_json, o->json = true)
SETTER(set_no_cache, o->no_cache = true)
SETTER(set_best_effort, o->common.best_effort = true)
SETTER(set_stop, o->stop = true)
SETTER(set_details, o->details = true)
SETTER(set_memory, return spec_parse_size(text, &o->limits.memory_bytes, err))
SETTER(set_output, return spec_parse_size(text, &o->limits.output_bytes, err))
SETTER(set_timeout, return spec_parse_duration(text, &o->limits.wall_ms, err))
SETTER(set_cpu_time, return spec_parse_duration(text, &o->limits.cpu_ms, err))

static int whole(const char *text, uint64_t max, uint64_t *ret, struct error *err)
{
    if (io_parse_u64(text, ret) && *ret >= 1 && *ret <= max)
        return 0;
    return error_set(err, "usage.value", 0, "expected a number from 1 to %llu, found \"%s\"",
                     (unsigned long long)max, text);
}

SETTER(set_jobs, return whole(text, 256, &o->jobs, err))
SETTER(set_processes, return whole(text, 4194304, &o->limits.processes, err))

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
    {0, "tests", "DIR", "NAME.in with NAME.out or NAME.ans, and tests.json", set_tests},
    {0, "checker", "NAME|FILE", "tokens, exact, float, unordered, or a checker program",
     set_checker},
    {0, "tolerance", "ABS[,REL]", "of the float checker (1e-6)", set_tolerance},
    {'j', "jobs", "N", "compiles and tests at a time (all processors)", set_jobs},
    {0, "stop", NULL, "skip a submission's tests after its first failure", set_stop},
    {0, "cpu-time", "TIME", "CPU time of a test, such as 2s", set_cpu_time},
    {0, "timeout", "TIME", "wall time of a test, such as 10s", set_timeout},
    {0, "memory", "SIZE", "memory of a test, such as 256m", set_memory},
    {0, "output-limit", "SIZE", "output of a test", set_output},
    {0, "pids-limit", "N", "processes and threads of a test", set_processes},
    {0, "profile", "NAME", "what the limits start from (student)", set_profile},
    {0, "toolchain", "NAME", "one of `cloche toolchains`; by the file's ending otherwise",
     set_toolchain},
    {0, "warnings-as-errors", NULL, "a warning fails the compile", set_werror},
    {0, "no-cache", NULL, "compile even what is in the cache", set_no_cache},
    {0, "details", NULL, "a line a test (the default for one submission)", set_details},
    {0, "junit", "FILE", "write JUnit XML", set_junit},
    {0, "best-effort", NULL, "go on even where a limit cannot be enforced", set_best_effort},
    {0, "json", NULL, "everything as JSON on stdout", set_json},
    {0, NULL, NULL, NULL, NULL},
};

static int write_junit(const struct judge_result *r, const char *path, struct error *err)
{
    FILE *f = fopen(path, "we");
    if (f != NULL) {
        judge_write_junit(r, f);
        bool failed = ferror(f) != 0;
        if (fclose(f) == 0 && !failed)
            return 0;
    }
    error_set(err, "judge.junit", errno, "cannot write \"%s\"", path);
    return error_hint(err, "choose a writable place for --junit");
}

static void show(const struct judge_result *r, const struct judge_options *o)
{
    bool color = isatty(1) && getenv("NO_COLOR") == NULL;
    if (o->json) {
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
            status = write_junit(&r, o->junit, err);
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
    char **own = arena_alloc(a, ((size_t)argc + 2) * sizeof *own);
    int count = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        if (i > 0 && !only_operands && cli_is_compiler_flag(argv[i], "jh"))
            cli_compile_flag(a, &o.common, argv[i]);
        else
            own[count++] = argv[i];
        only_operands = only_operands || strcmp(argv[i], "--") == 0;
    }
    if (cli_parse_all(options, &o, count, own, a, &o.common.sources, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (o.common.sources.count == 0 || o.tests == NULL) {
        error_set(&err, "usage.missing", 0,
                  o.tests == NULL ? "no tests given" : "no submission given");
        error_hint(&err, "cloche judge SUBMISSION... --tests DIR");
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    struct judge_job job = {
        .submission_count = o.common.sources.count,
        .profile = o.profile,
        .limits = o.limits,
        .stop_at_first = o.stop,
        .jobs = (unsigned)o.jobs,
    };
    cli_compile_job(a, &o.common, &job.compile);
    job.compile.no_cache = o.no_cache;
    job.submissions = job.compile.sources;
    int status = grade(&o, &job, &err);
    return status < 0 ? cli_fail(&err, o.json, EXIT_FAILURE) : status;
}
