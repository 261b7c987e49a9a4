/* From a job to its steps and their keys. */
#include "compiler/job.h"

#include "compiler/identity.h"

#include <string.h>
#include <unistd.h>

/* --- keys --- */

/* Length-framed, so that no two lists of values read the same. */
static void feed(struct sha256_ctx *ctx, const char *label, const void *data, size_t size)
{
    char frame[64];
    int n = snprintf(frame, sizeof frame, "%s %zu\n", label, size);
    sha256_update(ctx, (size_t)n, (const uint8_t *)frame);
    sha256_update(ctx, size, data);
}

static void feed_text(struct sha256_ctx *ctx, const char *label, const char *text)
{
    feed(ctx, label, text, strlen(text));
}

static void feed_list(struct sha256_ctx *ctx, const char *label, const struct strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        feed_text(ctx, label, list->items[i]);
}

static void feed_base(struct compile *c, const char *stamps, const char *version)
{
    struct sha256_ctx *ctx = &c->base;
    sha256_init(ctx);
    feed_text(ctx, "cloche", "artifact 1");
    feed_text(ctx, "toolchain", c->tc->name);
    feed_text(ctx, "stamps", stamps);
    feed_text(ctx, "version", version);
    feed_text(ctx, "profile", jail_profile_digest(c->arena));
    feed_list(ctx, "env", &c->tc->env);
    feed_list(ctx, "path", &c->tc->paths);
    uint64_t limits[] = {c->memory_bytes, c->artifact_bytes, c->tc->memory_bytes, c->tc->processes};
    feed(ctx, "limits", limits, sizeof limits);
    for (size_t i = 0; i < c->header_count; i++) {
        feed_text(ctx, "header", c->headers[i].path);
        feed(ctx, "data", c->headers[i].data, c->headers[i].size);
    }
    /* names alone: a new file may be found by an #include before the one that was meant */
    for (size_t i = 0; i < c->sources.count; i++)
        feed_text(ctx, "name", c->sources.files[i].inside);
}

static void finish_key(struct sha256_ctx *ctx, char ret_hex[65])
{
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_digest(ctx, sizeof digest, digest);
    digest_to_hex(digest, ret_hex);
}

/* --- from the job to its steps --- */

static int check_define(const struct toolchain *tc, const char *define, struct error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    size_t n = strspn(define, letters);
    if (tc->define == NULL)
        return error_set(err, "compile.flag", 0, "toolchain \"%s\" has no defines", tc->name);
    if (n == 0 || (define[0] >= '0' && define[0] <= '9') ||
        (define[n] != '\0' && define[n] != '=') || strpbrk(define, "\n\r") != NULL) {
        error_set(err, "compile.flag", 0, "cannot define \"%.100s\"", define);
        return error_hint(err, "NAME or NAME=VALUE");
    }
    return 0;
}

static int take_flags(struct compile *c, const struct compile_job *job, struct error *err)
{
    struct arena *a = c->arena;
    const struct toolchain *tc = c->tc;
    for (size_t i = 0; i < job->flag_count; i++) {
        if (toolchain_check_flag(tc, job->flags[i], err) < 0)
            return -1;
    }
    struct strings given = tc->default_flags;
    if (job->flag_count > 0) {
        given = (struct strings){0};
        for (size_t i = 0; i < job->flag_count; i++)
            strings_add(a, &given, job->flags[i]);
    }
    for (size_t i = 0; i < given.count; i++) {
        bool library = strncmp(given.items[i], "-l", 2) == 0;
        strings_add(a, library ? &c->libraries : &c->flags, given.items[i]);
    }
    for (size_t i = 0; i < job->define_count; i++) {
        if (check_define(tc, job->defines[i], err) < 0)
            return -1;
        const char *mark = strstr(tc->define, "{define}");
        strings_add(a, &c->defines,
                    arena_printf(a, "%.*s%s%s", (int)(mark == NULL ? 0 : mark - tc->define),
                                 tc->define, job->defines[i], mark == NULL ? "" : mark + 8));
    }
    for (size_t i = 0; job->warnings_as_errors && i < tc->werror.count; i++)
        strings_add(a, &c->flags, tc->werror.items[i]);
    return 0;
}

static bool step_expand(struct compile *c, struct step *s, const struct strings *argv_template,
                        const struct strings *sources, const struct strings *objects,
                        struct error *err)
{
    const struct toolchain_values values = {
        .sources = sources,
        .objects = objects,
        .flags = &c->flags,
        .libraries = &c->libraries,
        .defines = &c->defines,
        .output = JAIL_OUTPUT,
        .source = sources != NULL && sources->count > 0 ? sources->items[0] : NULL,
        .depfile = JAIL_DEPFILE,
    };
    s->entry.artifact_fd = -1;
    s->run = (struct jail_run){
        .tc = c->tc,
        .output_fd = -1,
        .depfile_fd = -1,
        .wall_ms = c->wall_ms,
        .cpu_ms = c->cpu_ms,
        .memory_bytes = c->memory_bytes,
        .output_bytes = c->artifact_bytes,
        .best_effort = c->best_effort,
    };
    return toolchain_expand(c->arena, argv_template, &values, &s->run.argv, err) == 0;
}

static int plan_whole(struct compile *c, struct error *err)
{
    const struct toolchain *tc = c->tc;
    struct strings sources = {0};
    for (size_t i = 0; i < c->sources.count; i++) {
        if (c->sources.files[i].compiled)
            strings_add(
                c->arena, &sources,
                arena_printf(c->arena, "%s/%s", SOURCES_INSIDE, c->sources.files[i].inside));
    }
    c->steps = arena_alloc(c->arena, sizeof *c->steps);
    c->step_count = 1;
    struct step *s = &c->steps[0];
    if (!step_expand(c, s, c->kind == COMPILE_MODULE ? &tc->module : &tc->compile, &sources, NULL,
                     err))
        return -1;
    struct sha256_ctx ctx = c->base;
    feed_list(&ctx, "argv", &s->run.argv);
    for (size_t i = 0; i < c->sources.count; i++)
        feed_text(&ctx, "digest", c->sources.files[i].digest);
    finish_key(&ctx, s->key);
    return 0;
}

static int plan_objects(struct compile *c, struct error *err)
{
    struct arena *a = c->arena;
    const struct toolchain *tc = c->tc;
    const struct strings *object =
        c->kind == COMPILE_MODULE && tc->module_object.count > 0 ? &tc->module_object : &tc->object;
    const struct strings *link = c->kind == COMPILE_MODULE ? &tc->module_link : &tc->link;
    c->steps = arena_alloc(a, (c->sources.compiled + 1) * sizeof *c->steps);
    struct strings objects = {0};
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct source_file *f = &c->sources.files[i];
        if (!f->compiled)
            continue;
        struct step *s = &c->steps[c->step_count];
        struct strings source = {0};
        s->is_object = true;
        s->name = f->given;
        strings_add(a, &source, arena_printf(a, "%s/%s", SOURCES_INSIDE, f->inside));
        if (!step_expand(c, s, object, &source, NULL, err))
            return -1;
        struct sha256_ctx ctx = c->base;
        feed_list(&ctx, "argv", &s->run.argv);
        feed_text(&ctx, "digest", f->digest);
        finish_key(&ctx, s->key);
        strings_add(a, &objects, arena_printf(a, OBJECTS_INSIDE "/%zu.o", c->step_count));
        c->step_count++;
    }
    struct step *s = &c->steps[c->step_count++];
    s->is_link = true;
    return step_expand(c, s, link, NULL, &objects, err) ? 0 : -1;
}

/* What the steps' keys cover together, apart from the system headers that only a compile tells. */
static void digest_sources(struct compile *c)
{
    struct sha256_ctx ctx = c->base;
    for (size_t i = 0; i < c->step_count; i++)
        feed_list(&ctx, "argv", &c->steps[i].run.argv);
    for (size_t i = 0; i < c->sources.count; i++)
        feed_text(&ctx, "digest", c->sources.files[i].digest);
    finish_key(&ctx, c->source_digest);
}

int compile_plan(struct compile *c, const struct compile_job *job, struct error *err)
{
    if (sources_toolchain(job, &c->tc, err) < 0 || toolchain_check(c->tc, err) < 0)
        return -1;
    const struct toolchain *tc = c->tc;
    c->kind = job->kind;
    c->best_effort = job->best_effort;
    /* one whose own linker makes no module that a loader should take: objects, and another linker
     */
    bool apart = tc->module.count == 0 && tc->module_object.count > 0 && tc->module_link.count > 0;
    if (c->kind == COMPILE_MODULE && tc->module.count == 0 && !apart) {
        error_set(err, "compile.toolchain", 0, "toolchain \"%s\" does not make modules", tc->name);
        return error_hint(err, "c, cpp, clang and tcc do");
    }
    c->wall_ms = job->wall_ms;
    c->cpu_ms = job->cpu_ms;
    c->memory_bytes = job->memory_bytes;
    c->artifact_bytes = job->artifact_bytes > 0 ? job->artifact_bytes : COMPILE_ARTIFACT_MAX;
    c->sources.arena = c->arena;
    c->headers = arena_alloc(c->arena, job->header_count * sizeof *c->headers);
    c->header_count = job->header_count;
    for (size_t i = 0; i < job->header_count; i++)
        c->headers[i] = job->headers[i];
    const char *stamps = "", *version = "";
    if (take_flags(c, job, err) < 0 || sources_read(&c->sources, job, tc, err) < 0 ||
        identity_text(c->arena, c->tc, &stamps, &version, err) < 0)
        return -1;
    if (tc->artifact_is_source && c->sources.compiled > 1) {
        error_set(err, "compile.source", 0, "toolchain \"%s\" takes one source file, found %zu",
                  tc->name, c->sources.compiled);
        return error_hint(err, "give the file that is to be run");
    }
    feed_base(c, stamps, version);
    c->version = version;
    bool objects = c->kind == COMPILE_MODULE && apart;
    if (c->sources.compiled > 1 && tc->object.count > 0)
        objects = c->kind == COMPILE_PROGRAM || tc->module_link.count > 0;
    if ((objects ? plan_objects(c, err) : plan_whole(c, err)) < 0)
        return -1;
    c->jobs = job->jobs > 0 ? job->jobs
              : objects     ? (unsigned)sysconf(_SC_NPROCESSORS_ONLN) /* reads a file of /sys */
                            : 1;
    digest_sources(c);
    c->unchanged = job->unless_source != NULL && strcmp(job->unless_source, c->source_digest) == 0;
    return 0;
}

void compile_link_key(struct compile *c, struct step *s)
{
    struct sha256_ctx ctx = c->base;
    feed_list(&ctx, "argv", &s->run.argv);
    for (size_t i = 0; i + 1 < c->step_count; i++)
        feed_text(&ctx, "object", c->steps[i].entry.digest);
    finish_key(&ctx, s->key);
}
