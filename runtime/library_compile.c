/* compile and judge of runtime/cloche.h. */
#include "runtime/cloche.h"

#include "runtime/judge.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Options of an older caller end early, those of a newer one are cut. */
#define TAKE_OPTIONS(to, from)                                                                     \
    do {                                                                                           \
        size_t size_ = (from)->size < sizeof(to) ? (from)->size : sizeof(to);                      \
        memset(&(to), 0, sizeof(to));                                                              \
        memcpy(&(to), (from), size_);                                                              \
    } while (0)

static int fail(struct cloche_error *error, const struct error *err)
{
    if (error != NULL) {
        snprintf(error->code, sizeof error->code, "%s", err->code != NULL ? err->code : "");
        snprintf(error->message, sizeof error->message, "%s", err->message);
        snprintf(error->hint, sizeof error->hint, "%s", err->hint);
        snprintf(error->path, sizeof error->path, "%s", err->path);
    }
    return -1;
}

static char *printed(cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

static const struct compile_source *sources_of(struct arena *a, const char *const *paths,
                                               size_t count)
{
    struct compile_source *list = arena_alloc(a, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i].path = paths[i];
    return list;
}

int cloche_compile(const struct cloche_compile_options *options, int *ret_artifact, char **ret_json,
                   struct cloche_error *error)
{
    struct cloche_compile_options o;
    TAKE_OPTIONS(o, options);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct compile_source header = {.path = "cloche/module.h"};
    header.data = config_builtin("versions/module.h", &header.size);
    const struct compile_job job = {
        .toolchain = o.toolchain,
        .sources = sources_of(a, o.sources, o.source_count),
        .source_count = o.source_count,
        .headers = &header,
        .header_count = header.data != NULL,
        .flags = o.flags,
        .flag_count = o.flag_count,
        .defines = o.defines,
        .define_count = o.define_count,
        .warnings_as_errors = o.warnings_as_errors != 0,
        .kind = o.module != 0 ? COMPILE_MODULE : COMPILE_PROGRAM,
        .no_cache = o.no_cache != 0,
        .best_effort = o.best_effort != 0,
        .jobs = o.jobs,
        .wall_ms = o.wall_ms,
        .cpu_ms = o.cpu_ms,
        .memory_bytes = o.memory_bytes,
    };
    struct compile_result r;
    if (compile_run(&job, &r, &err) < 0)
        return fail(error, &err);
    *ret_artifact = r.artifact_fd;
    r.artifact_fd = -1;
    *ret_json = printed(compile_result_to_json(&r));
    compile_result_free(&r);
    return 0;
}

int cloche_judge(const struct cloche_judge_options *options, char **ret_json,
                 struct cloche_error *error)
{
    struct cloche_judge_options o;
    TAKE_OPTIONS(o, options);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct judge_tests *tests = NULL;
    if (judge_tests_load(&tests, o.tests != NULL ? o.tests : "", &err) < 0)
        return fail(error, &err);
    struct checker checker = tests->checker;
    if (o.checker != NULL && !checker_parse(o.checker, &checker.kind)) {
        checker.kind = CHECKER_PROGRAM;
        checker.program = o.checker;
    }
    if (o.absolute > 0 || o.relative > 0) {
        checker.absolute = o.absolute;
        checker.relative = o.relative;
    }
    const struct judge_job job = {
        .tests = tests,
        .submissions = sources_of(a, o.submissions, o.submission_count),
        .submission_count = o.submission_count,
        .compile = {.toolchain = o.toolchain,
                    .flags = o.flags,
                    .flag_count = o.flag_count,
                    .no_cache = o.no_cache != 0,
                    .best_effort = o.best_effort != 0},
        .profile = o.profile,
        .limits = {.cpu_ms = o.cpu_ms,
                   .wall_ms = o.wall_ms,
                   .memory_bytes = o.memory_bytes,
                   .output_bytes = o.output_bytes,
                   .processes = o.processes},
        .checker = &checker,
        .stop_at_first = o.stop_at_first != 0,
        .jobs = o.jobs,
    };
    struct judge_result r;
    int status = judge_run(&job, &r, &err);
    if (status == 0) {
        if (o.junit != NULL)
            status = judge_save_junit(&r, o.junit, &err);
        if (status == 0) {
            *ret_json = printed(judge_to_json(&r));
            status = r.all_passed;
        }
        judge_result_free(&r);
    }
    judge_tests_free(tests);
    return status < 0 ? fail(error, &err) : status;
}
