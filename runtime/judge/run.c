/* judge_run(): the loop over compiles, runs and checks. */
#include "runtime/judge/engine.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static void drop_box(struct slot *s, int box)
{
    /* its event fd leaves the epoll with it */
    sandbox_free(TAKE_PTR(s->box[box]));
}

static void release(struct judge *j, struct slot *s)
{
    drop_box(s, 0);
    drop_box(s, 1);
    compile_free(s->compile);
    free(s->output);
    if (s->kind == SLOT_INTERACT) {
        relay_close(&s->relay[0]);
        relay_close(&s->relay[1]);
    }
    s->submission->busy--;
    *s = (struct slot){.owner = s->owner, .kept = {s->kept[0], s->kept[1]}};
    j->busy--;
}

static struct slot *take_slot(struct judge *j, struct submission *sub, enum slot_kind kind)
{
    struct slot *s = j->slots;
    while (s->kind != SLOT_FREE)
        s++;
    for (struct slot *other = s; other < j->slots + j->slot_count; other++) {
        if (other->kind == SLOT_FREE && other->owner == sub)
            s = other;
    }
    s->kind = kind;
    s->submission = sub;
    for (int i = 0; i < 2; i++)
        s->relay[i].from = s->relay[i].to = -1;
    sub->busy++;
    j->busy++;
    return s;
}

/* --- a submission's course --- */

static void finish_submission(struct judge *j, struct submission *sub)
{
    struct judge_submission *r = sub->result;
    r->verdict = VERDICT_OK;
    for (size_t i = 0; i < j->tests->count; i++) {
        struct judge_row *row = &r->rows[i];
        /* what ran beside the first failure counts as if it had not: how far the others came is a
         * matter of luck */
        if (j->job->stop_at_first && r->verdict != VERDICT_OK)
            *row = (struct judge_row){.skipped = true, .message = ""};
        r->skipped += row->skipped;
        if (row->skipped)
            continue;
        bool ok = row->report.verdict == VERDICT_OK;
        r->passed += ok;
        r->failed += !ok;
        r->points += row->points;
        if (!ok && r->verdict == VERDICT_OK) {
            r->verdict = row->report.verdict;
            r->detail = row->report.detail;
        }
    }
    sub->phase = PHASE_DONE;
    program_free(&sub->program);
}

static void refuse_submission(struct judge *j, struct submission *sub, enum verdict verdict,
                              const char *detail)
{
    struct judge_submission *r = sub->result;
    r->verdict = verdict;
    r->detail = arena_strdup(j->arena, detail);
    r->skipped = j->tests->count;
    for (size_t i = 0; i < j->tests->count; i++)
        r->rows[i].skipped = true;
    sub->phase = PHASE_DONE;
}

static void finish_test(struct judge *j, struct submission *sub, size_t test)
{
    const struct judge_row *row = &sub->result->rows[test];
    sub->finished++;
    if (row->report.verdict != VERDICT_OK && j->job->stop_at_first) {
        for (; sub->next < j->tests->count; sub->next++, sub->finished++)
            sub->result->rows[sub->next].skipped = true;
    }
    if (sub->finished == j->tests->count)
        finish_submission(j, sub);
}

static void broken_test(struct judge *j, struct slot *s, const struct error *err)
{
    struct judge_row *row = &s->submission->result->rows[s->test];
    bool unrunnable = err->code != NULL && (strcmp(err->code, "sandbox.not_executable") == 0 ||
                                            strcmp(err->code, "sandbox.not_found") == 0);
    row->report = (struct report){.exit_code = -1};
    row->report.verdict = unrunnable ? VERDICT_RUNTIME_ERROR : VERDICT_SETUP_ERROR;
    snprintf(row->report.detail, sizeof row->report.detail, "%.250s", err->message);
    row->message = "";
    struct submission *sub = s->submission;
    size_t test = s->test;
    release(j, s);
    finish_test(j, sub, test);
}

/* --- compiling --- */

static void compiled(struct judge *j, struct slot *s)
{
    struct submission *sub = s->submission;
    struct compile_result *r = &sub->result->compile;
    struct error err = ERROR_INIT;
    if (compile_finish(s->compile, r, &err) < 0) {
        refuse_submission(j, sub, VERDICT_SETUP_ERROR, err.message);
    } else {
        sub->result->compiled = true;
        snprintf(sub->directory, sizeof sub->directory, "%zu", (size_t)(sub - j->submissions));
        const char *profile = j->job->profile != NULL ? j->job->profile : "student";
        if (r->verdict != VERDICT_OK)
            refuse_submission(
                j, sub,
                r->verdict == VERDICT_SETUP_ERROR ? VERDICT_SETUP_ERROR : VERDICT_COMPILE_ERROR,
                r->verdict == VERDICT_COMPILE_ERROR && r->diagnostics->count > 0
                    ? r->diagnostics->items[0].message
                    : arena_printf(j->arena, "%s: %s", verdict_name(r->verdict), r->detail));
        else if (program_prepare(&sub->program, &j->workdir, sub->directory, profile,
                                 j->job->compile.best_effort, r, &err) < 0)
            refuse_submission(j, sub, VERDICT_SETUP_ERROR, err.message);
        else
            sub->phase = PHASE_RUNNING;
        if (r->artifact_fd >= 0)
            close(r->artifact_fd);
        r->artifact_fd = -1;
    }
    release(j, s);
}

static void start_compile(struct judge *j, struct submission *sub)
{
    const struct judge_job *job = j->job;
    struct slot *s = take_slot(j, sub, SLOT_COMPILE);
    struct compile_job c = job->compile;
    struct error err = ERROR_INIT;
    c.sources = &job->submissions[sub - j->submissions];
    c.source_count = 1;
    c.jobs = 1;
    c.kind = COMPILE_PROGRAM;
    sub->phase = PHASE_COMPILING;
    int state = compile_begin(&s->compile, &c, &err);
    if (state == 0)
        state = slot_watch(j, s, 0, compile_event_fd(s->compile), &err);
    if (state < 0) {
        /* no source, no such language: the submission's doing; the rest is ours */
        bool theirs = err.code != NULL && (strcmp(err.code, "compile.source") == 0 ||
                                           strcmp(err.code, "toolchain.unknown") == 0);
        refuse_submission(j, sub, theirs ? VERDICT_COMPILE_ERROR : VERDICT_SETUP_ERROR,
                          err.message);
        release(j, s);
    } else if (state > 0) {
        compiled(j, s);
    }
}

/* --- running
 * ------------------------------------------------------------------------------------------------
 */

static void start_test(struct judge *j, struct submission *sub)
{
    bool interactive = j->tests->interactor != NULL;
    struct slot *s = take_slot(j, sub, interactive ? SLOT_INTERACT : SLOT_RUN);
    struct error err = ERROR_INIT;
    s->test = sub->next++;
    sub->result->rows[s->test].message = "";
    if ((interactive ? start_interactive(j, s, &err) : start_run(j, s, &err)) < 0)
        broken_test(j, s, &err);
}

/* --- verdicts
 * -----------------------------------------------------------------------------------------------
 */

/* A program that was killed for time gets the time it was allowed, not the time until it was dead.
 */
static void clamp(struct report *r, const struct spec *s)
{
    if (r->verdict != VERDICT_TIME_LIMIT)
        return;
    if (s->cpu_time_ms != LIMIT_NONE && r->cpu_ms > (double)s->cpu_time_ms)
        r->cpu_ms = (double)s->cpu_time_ms;
    if (s->wall_ms != LIMIT_NONE && r->wall_ms > (double)s->wall_ms)
        r->wall_ms = (double)s->wall_ms;
}

static void take_report(struct judge *j, struct slot *s)
{
    struct judge_row *row = &s->submission->result->rows[s->test];
    row->report = s->report[0];
    clamp(&row->report, &s->spec[0]);
    size_t size = 0;
    const char *text = sandbox_captured(s->box[0], 2, &size);
    if (row->report.verdict != VERDICT_OK && size > 0) {
        /* the last line says most: a traceback's message */
        while (size > 0 && text[size - 1] == '\n')
            size--;
        size_t from = size;
        while (from > 0 && text[from - 1] != '\n')
            from--;
        row->message = first_line(j->arena, text + from, size - from);
    }
}

static int end_run(struct judge *j, struct slot *s, struct error *err)
{
    const struct judge_test *t = &j->tests->items[s->test];
    struct judge_row *row = &s->submission->result->rows[s->test];
    take_report(j, s);
    if (row->report.verdict != VERDICT_OK)
        return 1;
    size_t size = 0;
    const char *output = sandbox_captured(s->box[0], 1, &size);
    if (j->checker.kind == CHECKER_PROGRAM) {
        s->output = malloc(size + 1);
        if (s->output == NULL)
            return error_set(err, "judge.memory", ENOMEM, "cannot keep the output");
        if (size > 0)
            memcpy(s->output, output, size);
        s->output_size = size;
        drop_box(s, 0);
        return start_check(j, s, err) < 0 ? -1 : 0;
    }
    char why[256];
    if (checker_compare(&j->checker, t->answer, t->answer_size, output, size, why, sizeof why)) {
        row->points = t->points;
    } else {
        row->report.verdict = VERDICT_WRONG_ANSWER;
        row->message = arena_strdup(j->arena, why);
    }
    return 1;
}

static int end_referee(struct judge *j, struct slot *s)
{
    int box = s->kind == SLOT_INTERACT ? 1 : 0;
    struct judge_row *row = &s->submission->result->rows[s->test];
    double points = j->tests->items[s->test].points;
    size_t size = 0;
    const char *text = sandbox_captured(s->box[box], 2, &size);
    if (box == 1) {
        take_report(j, s);
        interactor_verdict(j->arena, &s->report[1], s->first_gone == 2, text, size, points, row);
    } else {
        checker_verdict(j->arena, &s->report[0], text, size, points, row);
    }
    return 1;
}

/* 1: the slot's work is done. */
static int dispatch_box(struct judge *j, struct slot *s, int box, struct error *err)
{
    int ended = s->box[box] == NULL ? 0 : sandbox_dispatch(s->box[box], err);
    if (ended <= 0)
        return ended;
    sandbox_report(s->box[box], &s->report[box]);
    s->ended[box] = true;
    epoll_ctl(j->epoll, EPOLL_CTL_DEL, sandbox_event_fd(s->box[box]), NULL);
    if (s->kind == SLOT_INTERACT && !(s->ended[0] && s->ended[1]))
        return 0;
    return s->kind == SLOT_RUN ? end_run(j, s, err) : end_referee(j, s);
}

static void dispatch(struct judge *j, struct slot *s, int what)
{
    struct error err = ERROR_INIT;
    if (s->kind == SLOT_FREE)
        return;
    if (what >= EVENT_RELAY) {
        relay_watch(j, s, what - EVENT_RELAY);
        return;
    }
    if (s->kind == SLOT_COMPILE) {
        int state = compile_dispatch(s->compile, &err);
        if (state > 0) {
            compiled(j, s);
        } else if (state < 0) {
            refuse_submission(j, s->submission, VERDICT_SETUP_ERROR, err.message);
            release(j, s);
        }
        return;
    }
    int state = dispatch_box(j, s, what - EVENT_BOX, &err);
    if (state < 0) {
        broken_test(j, s, &err);
    } else if (state > 0) {
        struct submission *sub = s->submission;
        size_t test = s->test;
        release(j, s);
        finish_test(j, sub, test);
    }
}

/* --- the loop
 * ------------------------------------------------------------------------------------------------
 */

static void emit(struct judge *j)
{
    while (j->emitted < j->count && j->submissions[j->emitted].phase == PHASE_DONE &&
           j->submissions[j->emitted].busy == 0) {
        if (j->job->graded != NULL)
            j->job->graded(j->job->context, j->submissions[j->emitted].result);
        j->emitted++;
    }
}

/* Tests of what is compiled come before new compiles; the earliest submission first. While there is
 * something to compile a submission has one slot, so that its tests take over from each other. */
static bool start_something(struct judge *j)
{
    for (size_t i = j->emitted; i < j->next; i++) {
        struct submission *sub = &j->submissions[i];
        if (sub->phase == PHASE_RUNNING && sub->next < j->tests->count &&
            (sub->busy == 0 || j->next == j->count)) {
            start_test(j, sub);
            return true;
        }
    }
    if (j->next == j->count)
        return false;
    start_compile(j, &j->submissions[j->next++]);
    return true;
}

static int loop(struct judge *j, struct error *err)
{
    while (j->emitted < j->count) {
        while (j->busy < j->slot_count && start_something(j))
            ;
        emit(j);
        if (j->busy == 0)
            continue;
        struct epoll_event events[64];
        int n = epoll_wait(j->epoll, events, 64, -1);
        if (n < 0 && errno != EINTR)
            return error_set(err, "judge.loop", errno, "cannot wait for the sandboxes");
        for (int i = 0; i < n; i++)
            dispatch(j, &j->slots[events[i].data.u64 >> EVENT_BITS],
                     (int)(events[i].data.u64 & ((1U << EVENT_BITS) - 1)));
        emit(j);
    }
    return 0;
}

static int open_judge(struct judge *j, struct error *err)
{
    const struct judge_job *job = j->job;
    j->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (j->epoll < 0)
        return error_set(err, "judge.loop", errno, "cannot make an event loop");
    _cleanup_spec_ struct spec *profile = spec_new();
    if ((job->profile != NULL && spec_apply_profile(profile, job->profile, err) < 0) ||
        workdir_make(&j->workdir, "judge", err) < 0)
        return -1;
    j->checker = job->checker != NULL ? *job->checker : j->tests->checker;
    if (j->tests->interactor != NULL) {
        if (program_compile(&j->interactor, &j->workdir, "interactor", j->tests->interactor,
                            &job->compile, err) < 0)
            return -1;
    } else if (j->checker.kind == CHECKER_PROGRAM &&
               program_compile(&j->checker_program, &j->workdir, "checker", j->checker.program,
                               &job->compile, err) < 0) {
        return -1;
    }
    if (j->checker.kind != CHECKER_PROGRAM && j->tests->interactor == NULL) {
        for (size_t i = 0; i < j->tests->count; i++) {
            if (j->tests->items[i].answer == NULL)
                return error_set(err, "judge.tests", 0, "test %s has no answer to compare with",
                                 j->tests->items[i].name);
        }
    }
    j->count = job->submission_count;
    j->submissions = arena_alloc(j->arena, (j->count + 1) * sizeof *j->submissions);
    j->result->submissions = arena_alloc(j->arena, (j->count + 1) * sizeof *j->result->submissions);
    j->result->count = j->count;
    for (size_t i = 0; i < j->count; i++) {
        struct judge_submission *r = &j->result->submissions[i];
        r->name = arena_strdup(j->arena, job->submissions[i].path);
        r->detail = "";
        r->rows = arena_alloc(j->arena, (j->tests->count + 1) * sizeof *r->rows);
        for (size_t k = 0; k < j->tests->count; k++)
            r->rows[k].message = "";
        j->submissions[i].result = r;
    }
    j->slot_count = job->jobs > 0 ? job->jobs : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    j->slots = arena_alloc(j->arena, j->slot_count * sizeof *j->slots);
    for (size_t i = 0; i < j->slot_count; i++)
        j->slots[i].kept[0] = j->slots[i].kept[1] = (struct sandbox_slot)SANDBOX_SLOT_INIT;
    return 0;
}

int judge_run(const struct judge_job *job, struct judge_result *ret, struct error *err)
{
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    *ret = (struct judge_result){.arena = arena_new(), .tests = job->tests, .all_passed = true};
    /* a submission that stops reading is a result, not a reason to die */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, saved;
    sigaction(SIGPIPE, &ignore, &saved);
    struct judge j = {.job = job,
                      .tests = job->tests,
                      .result = ret,
                      .arena = ret->arena,
                      .workdir = WORKDIR_INIT,
                      .epoll = -1};
    int result = open_judge(&j, err);
    if (result == 0)
        result = loop(&j, err);
    for (size_t i = 0; j.slots != NULL && i < j.slot_count; i++) {
        if (j.slots[i].kind != SLOT_FREE)
            release(&j, &j.slots[i]);
        slot_forget(&j.slots[i]);
    }
    for (size_t i = 0; j.submissions != NULL && i < j.count; i++)
        program_free(&j.submissions[i].program);
    program_free(&j.checker_program);
    program_free(&j.interactor);
    workdir_remove(&j.workdir);
    if (j.epoll >= 0)
        close(j.epoll);
    for (size_t i = 0; i < ret->count; i++)
        ret->all_passed = ret->all_passed && ret->submissions[i].verdict == VERDICT_OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ret->wall_ms =
        (double)(now.tv_sec - began.tv_sec) * 1e3 + (double)(now.tv_nsec - began.tv_nsec) / 1e6;
    sigaction(SIGPIPE, &saved, NULL);
    if (result < 0)
        judge_result_free(ret);
    return result;
}

void judge_result_free(struct judge_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->submissions[i].compiled)
            compile_result_free(&r->submissions[i].compile);
    }
    arena_free(r->arena);
    *r = (struct judge_result){0};
}
