/* cloche compile: sources -> artifact, in the jail. Theory of operation: compiler/compiler.h.
 *
 * Words with one dash are the compiler's own flags, as fingers know them (-O2 -Wall -DN=1 -lm), and
 * are judged by the toolchain's list; ours have two dashes, and -o and -j. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "compiler/compiler.h"
#include "runtime/cli/compile.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

struct compile_options {
    struct cli_compile common;
    const char *output;
    bool module;
    uint64_t jobs, memory_bytes, wall_ms, cpu_ms;
    const char *color;
};

static int set_color(void *context, const char *text, struct error *err)
{
    static const char *const words[] = {"auto", "always", "never"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(words[i], text) == 0) {
            ((struct compile_options *)context)->color = words[i];
            return 0;
        }
    }
    return error_set(err, "usage.value", 0, "expected auto, always or never, found \"%s\"", text);
}

static const struct cli_option options[] = {
    CLI_VALUE('o', "output", "FILE",
              "where the artifact goes (the source's name without its ending)", CLI_TEXT,
              compile_options, output),
    CLI_SWITCH(0, "module", "make a module (a shared object with the cloche_module ABI)",
               compile_options, module),
    CLI_ROW('j', "jobs", "N", "sources of a directory compiled at a time (all processors)",
            CLI_COUNT, compile_options, jobs, 256),
    CLI_VALUE(0, "memory", "SIZE", "memory of the compiler, such as 512m", CLI_SIZE,
              compile_options, memory_bytes),
    CLI_VALUE(0, "timeout", "TIME", "wall time, such as 30s", CLI_DURATION, compile_options,
              wall_ms),
    CLI_VALUE(0, "cpu-time", "TIME", "CPU time, such as 10s", CLI_DURATION, compile_options,
              cpu_ms),
    {0, "color", "WHEN", "auto, always or never", set_color},
    CLI_COMPILE_ROWS(compile_options),
    {0, NULL, NULL, NULL, NULL},
};

void cli_compile_flag(struct arena *a, struct cli_compile *c, const char *word)
{
    if (strncmp(word, "-D", 2) == 0 && word[2] != '\0')
        strings_add(a, &c->defines, word + 2);
    else if (strcmp(word, "-Werror") == 0)
        c->warnings_as_errors = true;
    else
        strings_add(a, &c->flags, word);
}

static bool is_compiler_flag(const char *word, const char *own_letters)
{
    return word[0] == '-' && word[1] != '-' && word[1] != '\0' &&
           strchr(own_letters, word[1]) == NULL;
}

int cli_compile_parse(const struct cli_option *table, struct cli_compile *c,
                      const char *own_letters, int argc, char **argv, struct arena *a,
                      struct error *err)
{
    char **own = arena_alloc(a, ((size_t)argc + 2) * sizeof *own);
    int count = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        if (i > 0 && !only_operands && is_compiler_flag(argv[i], own_letters))
            cli_compile_flag(a, c, argv[i]);
        else
            own[count++] = argv[i];
        only_operands = only_operands || strcmp(argv[i], "--") == 0;
    }
    return cli_parse_all(table, c, count, own, a, &c->sources, err);
}

void cli_compile_job(struct arena *a, const struct cli_compile *c, struct compile_job *job)
{
    static struct compile_source module_header = {.path = "cloche/module.h"};
    job->toolchain = c->toolchain;
    job->flags = (const char *const *)c->flags.items;
    job->flag_count = c->flags.count;
    job->defines = (const char *const *)c->defines.items;
    job->define_count = c->defines.count;
    job->warnings_as_errors = c->warnings_as_errors;
    job->best_effort = c->best_effort;
    job->no_cache = c->no_cache;
    module_header.data = config_builtin("versions/module.h", &module_header.size);
    job->headers = &module_header;
    job->header_count = module_header.data != NULL;
    struct compile_source *sources = arena_alloc(a, (c->sources.count + 1) * sizeof *sources);
    for (size_t i = 0; i < c->sources.count; i++)
        sources[i].path = c->sources.items[i];
    job->sources = sources;
    job->source_count = c->sources.count;
}

/* rename(2) over a file makes ext4 write the new one out first (auto_da_alloc), which costs more
 * than the rest of a cache hit. An exchange is as atomic; what crashes may lose can be compiled
 * again. */
static int put_in_place(const char *stage, const char *path)
{
    if (renameat2(AT_FDCWD, stage, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return unlink(stage);
    return rename(stage, path);
}

/* Beside its place, then renamed: a reader of the old file never sees half of the new one. */
int cli_write_artifact(int from, uint64_t size, const char *path, struct error *err)
{
    char stage[PATH_MAX];
    int n = snprintf(stage, sizeof stage, "%s.%d.new", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof stage)
        return error_set(err, "compile.output", ENAMETOOLONG, "cannot write \"%s\"", path);
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        snprintf(stage, sizeof stage, "%s", path); /* /dev/null, a FIFO: written, not replaced */
    bool staged = strcmp(stage, path) != 0;
    _cleanup_close_ int fd =
        open(stage, O_WRONLY | O_CREAT | (staged ? O_EXCL : 0) | O_CLOEXEC | O_NOCTTY, 0755);
    off_t at = 0;
    while (fd >= 0 && (uint64_t)at < size) {
        ssize_t sent = sendfile(fd, from, &at, size - (uint64_t)at);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EINVAL) { /* a device that takes no pages */
            char block[4096];
            sent = pread(from, block, sizeof block, at);
            sent = sent > 0 ? write(fd, block, (size_t)sent) : -1;
            at += sent > 0 ? sent : 0;
        }
        if (sent <= 0)
            break;
    }
    if (fd >= 0 && (uint64_t)at == size && (!staged || put_in_place(stage, path) == 0))
        return 0;
    int saved = errno;
    if (staged && fd >= 0)
        unlink(stage);
    error_set(err, "compile.output", saved, "cannot write the artifact to \"%s\"", path);
    error_path(err, path);
    return error_hint(err, "choose a writable place with -o");
}

/* `-o a.c b.c` is a slip that has cost many a source; an artifact that is a source itself may. */
static int check_output(const char *path, const struct strings *sources, bool program,
                        struct error *err)
{
    struct stat old, st;
    if (lstat(path, &old) < 0 || !S_ISREG(old.st_mode))
        return 0;
    bool lost = false;
    for (size_t i = 0; i < sources->count && !lost; i++)
        lost =
            stat(sources->items[i], &st) == 0 && st.st_dev == old.st_dev && st.st_ino == old.st_ino;
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    if (!lost && program && toolchain_for_file(&tc, path, NULL) == 0)
        lost = true;
    if (!lost)
        return 0;
    error_set(err, "compile.output", 0, "the artifact would overwrite the source \"%s\"", path);
    error_path(err, path);
    return error_hint(err, "give it another name with -o, or remove that file first");
}

static const char *default_output(struct arena *a, const char *source, bool module)
{
    char *name = arena_strdup(a, source);
    for (size_t n = strlen(name); n > 1 && name[n - 1] == '/'; n--)
        name[n - 1] = '\0';
    char *base = strrchr(name, '/');
    base = base == NULL ? name : base + 1;
    char *dot = strrchr(base, '.');
    if (dot != NULL && dot != base)
        *dot = '\0';
    if (base[0] == '\0' || base[0] == '.')
        return "a.out";
    return arena_printf(a, "%s%s", base, module ? ".so" : dot == NULL ? ".out" : "");
}

/* The log may hold anything: what a terminal would obey is shown as "?". gcc's lines of JSON are
 * not for people. */
static void print_log(const struct compile_result *r)
{
    size_t from = r->log_size > 4096 ? r->log_size - 4096 : 0;
    bool json = false;
    for (size_t i = from; i < r->log_size; i++) {
        unsigned char c = (unsigned char)r->log[i];
        if (i == 0 || r->log[i - 1] == '\n')
            json = c == '[' && i + 1 < r->log_size && strchr("{]", r->log[i + 1]) != NULL;
        if (json)
            continue;
        fputc(c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f) ? c : '?', stderr);
    }
}

static void show(const struct compile_result *r, const struct compile_options *o)
{
    bool color = strcmp(o->color, "always") == 0 ||
                 (strcmp(o->color, "auto") == 0 && isatty(2) && getenv("NO_COLOR") == NULL);
    diagnostics_print(r->diagnostics, stderr, color);
    if (r->verdict == VERDICT_OK)
        return;
    if (r->diagnostics->errors == 0)
        print_log(r);
    fprintf(stderr, "cloche: %s", verdict_name(r->verdict));
    if (r->diagnostics->errors > 0)
        fprintf(stderr, ": %s%zu error%s", r->diagnostics->truncated ? "at least " : "",
                r->diagnostics->errors, r->diagnostics->errors == 1 ? "" : "s");
    else if (r->detail[0] != '\0')
        fprintf(stderr, ": %s", r->detail);
    fputc('\n', stderr);
}

int cli_compile(int argc, char **argv)
{
    if (cli_wants_help("compile", options, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct compile_options o = {.color = "auto"};
    if (cli_compile_parse(options, &o.common, "ojh", argc, argv, a, &err) < 0)
        return cli_fail(&err, o.common.json, EXIT_USAGE);
    if (o.common.sources.count == 0) {
        error_set(&err, "usage.no_source", 0, "no source given");
        error_hint(&err, o.common.flags.count > 0
                             ? "cloche compile SOURCE|DIR; a name that begins with - goes behind --"
                             : "cloche compile SOURCE|DIR [-o OUT]");
        return cli_fail(&err, o.common.json, EXIT_USAGE);
    }
    struct compile_job job = {
        .kind = o.module ? COMPILE_MODULE : COMPILE_PROGRAM,
        .jobs = (unsigned)o.jobs,
        .memory_bytes = o.memory_bytes,
        .wall_ms = o.wall_ms,
        .cpu_ms = o.cpu_ms,
    };
    cli_compile_job(a, &o.common, &job);
    struct compile_result r;
    if (compile_run(&job, &r, &err) < 0)
        return cli_fail(&err, o.common.json, EXIT_FAILURE);

    int status = r.verdict == VERDICT_OK ? 0 : EXIT_FAILURE;
    bool program = strcmp(r.artifact_name, "program") == 0 || o.module;
    const char *output = o.output;
    if (output == NULL && program)
        output = default_output(a, o.common.sources.items[0], o.module);
    if (status == 0 && output != NULL &&
        (check_output(output, &o.common.sources, program, &err) < 0 ||
         cli_write_artifact(r.artifact_fd, r.artifact_bytes, output, &err) < 0)) {
        compile_result_free(&r);
        return cli_fail(&err, o.common.json, EXIT_FAILURE);
    }
    if (o.common.json) {
        cJSON *json = compile_result_to_json(&r);
        if (status == 0 && output != NULL)
            cJSON_AddStringToObject(json, "output", output);
        char *text = cJSON_Print(json);
        puts(text);
        free(text);
        cJSON_Delete(json);
    } else {
        show(&r, &o);
    }
    compile_result_free(&r);
    return status;
}
