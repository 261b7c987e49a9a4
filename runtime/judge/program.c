#include "runtime/judge/engine.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

/* The host root has /usr, and an /etc of its own invention: what the language keeps in the real one
 * is shown beside it. */
static int show_etc(struct spec *s, const struct strings *paths, struct error *err)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (strncmp(paths->items[i], "/etc/", 5) != 0)
            continue;
        glob_t found;
        int failed = 0;
        if (glob(paths->items[i], 0, NULL, &found) == 0) {
            for (size_t k = 0; k < found.gl_pathc && failed == 0; k++)
                failed = spec_show(s, found.gl_pathv[k], found.gl_pathv[k], err);
        }
        globfree(&found);
        if (failed < 0)
            return -1;
    }
    return 0;
}

int program_prepare(struct program *ret, const struct workdir *workdir, const char *name,
                    const char *profile, bool best_effort, const struct compile_result *r,
                    struct error *err)
{
    char file[NAME_MAX + 64];
    snprintf(file, sizeof file, "%s/%s", name, r->artifact_name);
    if (workdir_copy(workdir, file, r->artifact_fd, 0555, err) < 0)
        return -1;

    _cleanup_spec_ struct spec *s = spec_new();
    if (spec_apply_profile(s, profile, err) < 0)
        return -1;
    const struct toolchain_values values = {
        .program = arena_printf(s->arena, PROGRAM_DIR "/%s", r->artifact_name)};
    s->args = (struct strings){0};
    if (toolchain_expand(s->arena, &r->run, &values, &s->args, err) < 0)
        return -1;
    s->cwd = "/tmp";
    s->terminal = false;
    s->enforce_required = s->enforce_required && !best_effort;
    strings_set_env(s->arena, &s->env, "PATH=" TOOLCHAIN_PATH);
    strings_set_env(s->arena, &s->env, "HOME=/tmp");
    strings_set_env(s->arena, &s->env, "LC_ALL=C.UTF-8");
    if (spec_show(s, arena_printf(s->arena, "%s/%s", workdir->path, name), PROGRAM_DIR, err) < 0 ||
        show_etc(s, &r->paths, err) < 0 || spec_validate(s, err) < 0)
        return -1;
    ret->spec = TAKE_PTR(s);
    return 0;
}

void program_free(struct program *p)
{
    spec_free(p->spec);
    p->spec = NULL;
}

void limits_apply(struct spec *s, const struct judge_limits *limits)
{
    if (limits->cpu_ms > 0)
        s->cpu_time_ms = limits->cpu_ms;
    if (limits->wall_ms > 0)
        s->wall_ms = limits->wall_ms;
    if (limits->memory_bytes > 0)
        s->resources.memory_bytes = limits->memory_bytes;
    if (limits->output_bytes > 0)
        s->output_bytes = limits->output_bytes;
    if (limits->processes > 0)
        s->resources.processes = limits->processes;
}

/* --- checkers and interactors --- */

/* testlib.h and its like stand beside the checker. */
static void add_headers(struct arena *a, const char *path, struct strings *sources)
{
    const char *slash = strrchr(path, '/');
    const char *dir = slash == NULL ? "." : arena_strndup(a, path, (size_t)(slash - path));
    _cleanup_closedir_ DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] != '.' && ((n > 2 && strcmp(e->d_name + n - 2, ".h") == 0) ||
                                    (n > 4 && strcmp(e->d_name + n - 4, ".hpp") == 0)))
            strings_add(a, sources, arena_printf(a, "%s/%s", dir, e->d_name));
    }
}

static bool is_executable(const char *path)
{
    char magic[4];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0 &&
           read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0;
}

int program_compile(struct program *ret, const struct workdir *workdir, const char *name,
                    const char *path, const struct compile_job *flags, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct compile_result r = {.artifact_fd = -1};
    if (is_executable(path)) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        r.artifact_fd = fd;
        r.artifact_name = "program";
        strings_add(a, &r.run, "{program}");
        return fd < 0 ? error_set(err, "judge.checker", errno, "cannot read \"%s\"", path)
                      : program_prepare(ret, workdir, name, "student", flags->best_effort, &r, err);
    }
    struct strings sources = {0};
    strings_add(a, &sources, path);
    struct toolchain *tc = NULL;
    if (toolchain_for_file(&tc, path, err) < 0)
        return error_wrap(err, "%s \"%s\"", name, path);
    if (tc->includes.count > 0)
        add_headers(a, path, &sources);
    toolchain_free(tc);
    struct compile_source *list = arena_alloc(a, sources.count * sizeof *list);
    for (size_t i = 0; i < sources.count; i++)
        list[i].path = sources.items[i];
    struct compile_job job = {.sources = list,
                              .source_count = sources.count,
                              .no_cache = flags->no_cache,
                              .best_effort = flags->best_effort,
                              .jobs = flags->jobs};
    if (compile_run(&job, &r, err) < 0)
        return error_wrap(err, "%s \"%s\"", name, path);
    int result;
    if (r.verdict != VERDICT_OK) {
        const struct diagnostic *d = r.diagnostics->count > 0 ? &r.diagnostics->items[0] : NULL;
        result = error_set(err, "judge.checker", 0, "%s \"%s\" does not compile: %s%s%s", name,
                           path, verdict_name(r.verdict), d != NULL ? ": " : "",
                           d != NULL && d->message != NULL ? d->message : "");
        error_hint(err, "cloche compile '%s' shows all of it", path);
    } else {
        result = program_prepare(ret, workdir, name, "student", flags->best_effort, &r, err);
    }
    compile_result_free(&r);
    return result;
}

const char *first_line(struct arena *a, const char *text, size_t size)
{
    char buf[200];
    size_t n = 0;
    for (size_t i = 0; i < size && text[i] != '\n' && n < sizeof buf - 4;) {
        size_t length = io_printable(text + i, size - i);
        if (length == 0)
            buf[n++] = '?';
        memcpy(buf + n, text + i, length);
        n += length;
        i += length == 0 ? 1 : length;
    }
    buf[n] = '\0';
    return arena_strdup(a, buf);
}

static void pass(struct judge_row *row, double points)
{
    row->report.verdict = VERDICT_OK;
    row->points = points;
}

static void fail_checker(struct judge_row *row, const char *who, const struct report *r)
{
    row->report.verdict = VERDICT_SETUP_ERROR;
    snprintf(row->report.detail, sizeof row->report.detail, "the %s failed: %s%s%.150s", who,
             verdict_name(r->verdict), r->detail[0] != '\0' ? ", " : "", r->detail);
}

/* testlib's exit status: 0 right, 1 wrong, 2 presentation, 7 points (the first number that it
 * prints after the word "points"); 3 and the rest: the checker itself failed. */
void checker_verdict(struct arena *a, const struct report *checker, const char *text, size_t size,
                     double points, struct judge_row *row)
{
    row->message = first_line(a, text, size);
    int code = checker->verdict == VERDICT_OK || checker->verdict == VERDICT_RUNTIME_ERROR
                   ? checker->exit_code
                   : -1;
    if (code == 0) {
        pass(row, points);
    } else if (code == 1 || code == 2) {
        row->report.verdict = VERDICT_WRONG_ANSWER;
    } else if (code == 7) {
        const char *word = strstr(row->message, "points");
        double given = word == NULL ? 0 : strtod(word + 6, NULL);
        given = given >= points ? points : given > 0 ? given : 0;
        row->points = given;
        row->report.verdict = given >= points ? VERDICT_OK : VERDICT_WRONG_ANSWER;
    } else {
        fail_checker(row, "checker", checker);
    }
}

void interactor_verdict(struct arena *a, const struct report *interactor, bool left_first,
                        const char *text, size_t size, double points, struct judge_row *row)
{
    const struct report *r = &row->report;
    /* A program that fails after the interactor has left failed because it left: a broken pipe, an
     * end of input. Otherwise the submission's own fault outranks what the interactor made of it.
     */
    bool hung_up = r->verdict == VERDICT_RUNTIME_ERROR && left_first;
    if (r->verdict != VERDICT_OK && !hung_up)
        return;
    checker_verdict(a, interactor, text, size, points, row);
    if (row->report.verdict == VERDICT_SETUP_ERROR)
        fail_checker(row, "interactor", interactor);
    if (row->report.verdict == VERDICT_OK && hung_up) {
        /* right before it stopped reading: what it had to say was said */
        row->report.signal = 0;
        row->report.exit_code = 0;
        row->report.detail[0] = '\0';
    }
}
