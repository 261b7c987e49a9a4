/* compile_run() and its parts: from a job to steps, from steps to a result. */
#include "compiler/cache.h"
#include "compiler/depfile.h"
#include "compiler/identity.h"
#include "compiler/jail.h"
#include "compiler/sources.h"

#include "base/io.h"
#include "base/workdir.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum step_state { STEP_WAITING, STEP_RUNNING, STEP_DONE };

/* One command: the whole compile of a small program, an object, or a link. */
struct step {
    enum step_state state;
    const char *name; /* of the source, for messages; NULL: the whole */
    bool is_object, is_link, hit;
    char key[65];
    struct jail_run run;
    struct jail *jail;
    struct cache_entry entry;
};

struct compile {
    struct arena *arena;
    struct toolchain *tc;
    struct sources sources;
    struct cache *cache;
    struct workdir workdir;
    bool has_sources, has_headers;
    struct sha256_ctx base; /* what every key of this job starts with */
    struct strings flags, libraries, defines;
    enum compile_kind kind;
    bool best_effort;
    uint64_t wall_ms, cpu_ms, memory_bytes, artifact_bytes;
    const struct compile_source *headers; /* copies */
    size_t header_count;
    struct step *steps; /* the objects, and the link last; or one for all */
    size_t step_count;
    unsigned jobs, running;
    int epoll;
    bool done;
    struct timespec began;
};

static double elapsed_ms(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) * 1e3 +
           (double)(now.tv_nsec - since->tv_nsec) / 1e6;
}

/* --- keys
 * ----------------------------------------------------------------------------------------- */

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

static const char *project_digest(const void *data, const char *path)
{
    const struct source_file *f = sources_find(data, path);
    return f == NULL ? NULL : f->digest;
}

/* --- from the job to its steps
 * ----------------------------------------------------------------------- */

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
        strings_add(a, &objects, arena_printf(a, "/obj/%zu.o", c->step_count));
        c->step_count++;
    }
    struct step *s = &c->steps[c->step_count++];
    s->is_link = true;
    return step_expand(c, s, link, NULL, &objects, err) ? 0 : -1;
}

static int copy_headers(struct compile *c, const struct compile_job *job)
{
    struct compile_source *copy = arena_alloc(c->arena, (job->header_count + 1) * sizeof *copy);
    for (size_t i = 0; i < job->header_count; i++) {
        char *data = arena_alloc(c->arena, job->headers[i].size + 1);
        memcpy(data, job->headers[i].data, job->headers[i].size);
        copy[i] = (struct compile_source){.path = arena_strdup(c->arena, job->headers[i].path),
                                          .data = data,
                                          .size = job->headers[i].size};
    }
    c->headers = copy;
    c->header_count = job->header_count;
    return 0;
}

static int plan(struct compile *c, const struct compile_job *job, struct error *err)
{
    if (sources_toolchain(job, &c->tc, err) < 0 || toolchain_check(c->tc, err) < 0)
        return -1;
    const struct toolchain *tc = c->tc;
    c->kind = job->kind;
    c->best_effort = job->best_effort;
    if (c->kind == COMPILE_MODULE && tc->module.count == 0) {
        error_set(err, "compile.toolchain", 0, "toolchain \"%s\" does not make modules", tc->name);
        return error_hint(err, "c, cpp, clang and tcc do");
    }
    c->wall_ms = job->wall_ms;
    c->cpu_ms = job->cpu_ms;
    c->memory_bytes = job->memory_bytes;
    c->artifact_bytes = job->artifact_bytes > 0 ? job->artifact_bytes : COMPILE_ARTIFACT_MAX;
    c->jobs = job->jobs > 0 ? job->jobs : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    c->sources.arena = c->arena;
    const char *stamps, *version;
    if (take_flags(c, job, err) < 0 || copy_headers(c, job) < 0 ||
        sources_read(&c->sources, job, tc, err) < 0 ||
        identity_text(c->arena, tc, &stamps, &version, err) < 0)
        return -1;
    if (tc->artifact_is_source && c->sources.compiled > 1) {
        error_set(err, "compile.source", 0, "toolchain \"%s\" takes one source file, found %zu",
                  tc->name, c->sources.compiled);
        return error_hint(err, "give the file that is to be run");
    }
    feed_base(c, stamps, version);
    bool objects = c->sources.compiled > 1 && tc->object.count > 0 &&
                   (c->kind == COMPILE_PROGRAM || tc->module_link.count > 0);
    return objects ? plan_objects(c, err) : plan_whole(c, err);
}

/* --- running the steps
 * ---------------------------------------------------------------------------- */

static int write_snapshot(struct compile *c, struct error *err)
{
    if (c->workdir.fd < 0 && workdir_make(&c->workdir, "compile", err) < 0)
        return -1;
    if (c->has_sources)
        return 0;
    char path[PATH_MAX];
    for (size_t i = 0; i < c->sources.count; i++) {
        const struct source_file *f = &c->sources.files[i];
        snprintf(path, sizeof path, "src/%s", f->inside);
        if (workdir_write(&c->workdir, path, f->data, f->size, 0444, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < c->header_count; i++) {
        const struct compile_source *h = &c->headers[i];
        snprintf(path, sizeof path, "include/%s", h->path);
        if (workdir_write(&c->workdir, path, h->data, h->size, 0444, err) < 0)
            return -1;
    }
    c->has_headers = c->header_count > 0;
    c->has_sources = true;
    return 0;
}

static int write_objects(struct compile *c, struct error *err)
{
    if (c->workdir.fd < 0 && workdir_make(&c->workdir, "compile", err) < 0)
        return -1;
    char path[64];
    for (size_t i = 0; i + 1 < c->step_count; i++) {
        snprintf(path, sizeof path, "obj/%zu.o", i);
        if (workdir_copy(&c->workdir, path, c->steps[i].entry.artifact_fd, 0444, err) < 0)
            return -1;
    }
    return 0;
}

static int make_memfd(const char *name, struct error *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set(err, "compile.memory", errno, "cannot make a memory file");
    return fd;
}

static int start_step(struct compile *c, struct step *s, struct error *err)
{
    if ((s->is_link ? write_objects(c, err) : write_snapshot(c, err)) < 0)
        return -1;
    s->run.workdir = c->workdir.path;
    s->run.has_sources = !s->is_link;
    s->run.has_headers = !s->is_link && c->has_headers;
    s->run.has_objects = s->is_link;
    s->run.output_fd = make_memfd("artifact", err);
    s->run.depfile_fd = s->run.output_fd < 0 ? -1 : make_memfd("dependencies", err);
    if (s->run.depfile_fd < 0 || jail_start(&s->jail, &s->run, err) < 0)
        return s->name != NULL ? error_wrap(err, "%s", s->name) : -1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, sandbox_event_fd(jail_sandbox(s->jail)), &event) < 0)
        return error_set(err, "compile.loop", errno, "cannot watch the compiler");
    s->state = STEP_RUNNING;
    c->running++;
    return 0;
}

static bool cacheable(const struct cache_entry *e)
{
    return e->verdict == VERDICT_OK || e->verdict == VERDICT_COMPILE_ERROR ||
           e->verdict == VERDICT_OUTPUT_LIMIT;
}

/* What the tool wrote becomes the artifact: sealed first, so that it cannot change under the digest
 * (nobody is left to change it; the seal says so). */
static int take_artifact(struct compile *c, struct step *s, struct error *err)
{
    int fd = s->run.output_fd;
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    struct cache_entry *e = &s->entry;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set(err, "compile.artifact", errno, "cannot examine the artifact");
    if (st.st_size == 0) {
        e->verdict = VERDICT_COMPILE_ERROR;
        e->detail = "the tool reported success and wrote no artifact";
        return 0;
    }
    if ((uint64_t)st.st_size >= c->artifact_bytes) {
        e->verdict = VERDICT_OUTPUT_LIMIT;
        e->detail = arena_printf(c->arena, "the artifact is larger than %llu bytes",
                                 (unsigned long long)c->artifact_bytes);
        return 0;
    }
    if (digest_fd(fd, e->digest, &e->artifact_bytes) < 0)
        return error_set(err, "compile.artifact", errno, "cannot read the artifact");
    e->artifact_fd = fd;
    s->run.output_fd = -1;
    return 0;
}

static int take_source(struct compile *c, struct step *s, struct error *err)
{
    const struct source_file *f = NULL;
    for (size_t i = 0; f == NULL && i < c->sources.count; i++)
        f = c->sources.files[i].compiled ? &c->sources.files[i] : NULL;
    _cleanup_close_ int fd = make_memfd("artifact", err);
    if (fd < 0)
        return -1;
    if (f == NULL || io_write_all(fd, f->data, f->size) < 0)
        return error_set(err, "compile.artifact", errno, "cannot keep the source");
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    memcpy(s->entry.digest, f->digest, sizeof f->digest);
    s->entry.artifact_bytes = f->size;
    s->entry.artifact_fd = TAKE_FD(fd);
    return 0;
}

static const char *format_diagnostics(struct compile *c, const struct jail_result *r,
                                      size_t *ret_size)
{
    _cleanup_diagnostics_ struct diagnostics *d = diagnostics_new();
    /* the cache keeps the jail's names: the next user of the entry may call the file otherwise */
    struct diagnostics_map map = sources_map(&c->sources);
    map.path = NULL;
    diagnostics_parse(d, (enum diagnostics_format)diagnostics_format_parse(c->tc->diagnostics),
                      r->log, r->log_size, &map);
    *ret_size = 0;
    if (d->count == 0)
        return "";
    cJSON *json = diagnostics_to_json(d);
    _cleanup_free_ char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        return "";
    *ret_size = strlen(text);
    return arena_strdup(c->arena, text);
}

static bool read_deps(struct compile *c, struct step *s)
{
    if (s->is_link || s->entry.verdict != VERDICT_OK)
        return true;
    _cleanup_free_ char *text = NULL;
    _cleanup_close_ int fd = TAKE_FD(s->run.depfile_fd);
    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return false;
    ssize_t size = io_read_to_end(fd, DEPFILE_MAX, &text);
    if (size <= 0)
        return size == 0 && !s->is_object; /* a tool without lists: its identity stands for them */
    return depfile_parse(c->arena, text, (size_t)size, &c->sources, &c->tc->paths, s->is_object,
                         &s->entry.deps, &s->entry.dep_count);
}

static int end_step(struct compile *c, struct step *s, struct error *err)
{
    struct cache_entry *e = &s->entry;
    struct jail_result r;
    jail_finish(s->jail, c->arena, &r);
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, sandbox_event_fd(jail_sandbox(s->jail)), NULL);
    jail_free(TAKE_PTR(s->jail));
    s->state = STEP_DONE;
    c->running--;

    const struct report *report = &r.report;
    e->verdict = report->verdict;
    e->wall_ms = report->wall_ms;
    e->cpu_ms = report->cpu_ms;
    e->memory_peak_bytes = report->memory_peak_bytes;
    e->detail = arena_strdup(c->arena, report->detail);
    e->log = r.log;
    e->log_size = r.log_size;
    if (report->verdict == VERDICT_RUNTIME_ERROR && report->signal == 0)
        e->verdict = VERDICT_COMPILE_ERROR;
    int result = 0;
    if (e->verdict == VERDICT_OK)
        result = c->tc->artifact_is_source ? take_source(c, s, err) : take_artifact(c, s, err);
    struct stat st;
    if (e->verdict == VERDICT_COMPILE_ERROR && s->run.output_fd >= 0 &&
        fstat(s->run.output_fd, &st) == 0 && (uint64_t)st.st_size >= c->artifact_bytes) {
        e->verdict = VERDICT_OUTPUT_LIMIT;
        e->detail = "the artifact is too large";
    }
    e->diagnostics = format_diagnostics(c, &r, &e->diagnostics_size);
    if (result == 0 && cacheable(e) && read_deps(c, s))
        cache_store(c->cache, s->key, e);
    for (int *fd = &s->run.output_fd; fd != NULL;
         fd = fd == &s->run.output_fd ? &s->run.depfile_fd : NULL) {
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    return result;
}

static bool try_cache(struct compile *c, struct step *s)
{
    s->hit = cache_lookup(c->cache, c->arena, s->key, project_digest, &c->sources, &s->entry) == 1;
    if (s->hit)
        s->state = STEP_DONE;
    return s->hit;
}

static void key_of_link(struct compile *c, struct step *s)
{
    struct sha256_ctx ctx = c->base;
    feed_list(&ctx, "argv", &s->run.argv);
    for (size_t i = 0; i + 1 < c->step_count; i++)
        feed_text(&ctx, "object", c->steps[i].entry.digest);
    finish_key(&ctx, s->key);
}

/* Start what can be started. 1: nothing is left to do. */
static int advance(struct compile *c, struct error *err)
{
    size_t waiting = 0, failed = 0;
    struct step *link = NULL;
    for (size_t i = 0; i < c->step_count; i++) {
        struct step *s = &c->steps[i];
        if (s->is_link) {
            link = s;
            break;
        }
        if (s->state == STEP_WAITING && c->running < c->jobs && start_step(c, s, err) < 0)
            return -1;
        waiting += s->state != STEP_DONE;
        failed += s->state == STEP_DONE && s->entry.verdict != VERDICT_OK;
    }
    if (waiting > 0)
        return 0;
    if (link != NULL && failed == 0 && link->state == STEP_WAITING) {
        key_of_link(c, link);
        if (!try_cache(c, link))
            return start_step(c, link, err) < 0 ? -1 : 0;
    }
    c->done = c->running == 0;
    return c->done;
}

int compile_begin(struct compile **ret, const struct compile_job *job, struct error *err)
{
    struct compile *c = calloc(1, sizeof *c);
    if (c == NULL)
        return error_set(err, "compile.memory", ENOMEM, "cannot start a compile");
    clock_gettime(CLOCK_MONOTONIC, &c->began);
    c->arena = arena_new();
    c->workdir.fd = -1;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (plan(c, job, err) < 0) {
        compile_free(c);
        return -1;
    }
    if (!job->no_cache)
        c->cache = cache_open(NULL);
    for (size_t i = 0; i < c->step_count; i++) {
        if (!c->steps[i].is_link)
            try_cache(c, &c->steps[i]);
    }
    int state = advance(c, err);
    if (state < 0) {
        compile_free(c);
        return -1;
    }
    *ret = c;
    return state;
}

int compile_event_fd(const struct compile *c)
{
    return c->epoll;
}

int compile_dispatch(struct compile *c, struct error *err)
{
    struct epoll_event events[16];
    int n = c->done ? 0 : epoll_wait(c->epoll, events, 16, 0);
    for (int i = 0; i < n; i++) {
        struct step *s = events[i].data.ptr;
        int ended = sandbox_dispatch(jail_sandbox(s->jail), err);
        if (ended < 0 || (ended > 0 && end_step(c, s, err) < 0))
            return -1;
    }
    return c->done ? 1 : advance(c, err);
}

/* --- the result
 * -------------------------------------------------------------------------------------- */

static void add_step(struct compile *c, const struct step *s, struct compile_result *r)
{
    const struct cache_entry *e = &s->entry;
    struct diagnostics_map map = sources_map(&c->sources);
    if (e->diagnostics_size > 0)
        diagnostics_from_json(r->diagnostics, e->diagnostics, e->diagnostics_size, &map);
    size_t size;
    const char *log = sources_translate(&c->sources, r->arena, e->log, e->log_size, &size);
    if (size > 0) {
        char *joined = arena_alloc(r->arena, r->log_size + size + 1);
        memcpy(joined, r->log, r->log_size);
        memcpy(joined + r->log_size, log, size);
        r->log = joined;
        r->log_size += size;
    }
    if (e->memory_peak_bytes > r->memory_peak_bytes)
        r->memory_peak_bytes = e->memory_peak_bytes;
    if (!s->hit)
        r->cpu_ms += e->cpu_ms;
    if (s->hit)
        r->reused++;
    else
        r->compiled++;
    if (e->verdict != VERDICT_OK && r->verdict == VERDICT_OK) {
        r->verdict = e->verdict;
        snprintf(r->detail, sizeof r->detail, "%s", e->detail != NULL ? e->detail : "");
    }
}

int compile_finish(struct compile *c, struct compile_result *ret, struct error *err)
{
    struct compile_result r = {.artifact_fd = -1, .verdict = VERDICT_OK, .log = ""};
    if (!c->done)
        return error_set(err, "compile.running", 0, "the compile is still running");
    r.arena = arena_new();
    r.diagnostics = diagnostics_new();
    for (size_t i = 0; i < c->step_count; i++) {
        if (c->steps[i].state == STEP_DONE)
            add_step(c, &c->steps[i], &r);
    }
    r.cache_hit = r.compiled == 0;
    r.toolchain = arena_strdup(r.arena, c->tc->name);
    r.artifact_name = arena_strdup(r.arena, c->tc->artifact_name);
    for (size_t i = 0; i < c->tc->run.count; i++)
        strings_add(r.arena, &r.run, c->tc->run.items[i]);
    for (size_t i = 0; i < c->tc->paths.count; i++)
        strings_add(r.arena, &r.paths, c->tc->paths.items[i]);
    struct step *last = &c->steps[c->step_count - 1];
    if (r.verdict == VERDICT_OK) {
        lseek(last->entry.artifact_fd, 0, SEEK_SET);
        r.artifact_fd = TAKE_FD(last->entry.artifact_fd);
        r.artifact_bytes = last->entry.artifact_bytes;
        memcpy(r.digest, last->entry.digest, sizeof r.digest);
    }
    r.wall_ms = elapsed_ms(&c->began);
    *ret = r;
    return 0;
}

void compile_free(struct compile *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->step_count; i++) {
        struct step *s = &c->steps[i];
        jail_free(s->jail);
        const int fds[] = {s->run.output_fd, s->run.depfile_fd, s->entry.artifact_fd};
        for (size_t k = 0; k < sizeof fds / sizeof *fds; k++) {
            if (fds[k] > 2)
                close(fds[k]);
        }
    }
    if (c->epoll >= 0)
        close(c->epoll);
    workdir_remove(&c->workdir);
    cache_close(c->cache);
    toolchain_free(c->tc);
    arena_free(c->arena);
    free(c);
}

int compile_run(const struct compile_job *job, struct compile_result *ret, struct error *err)
{
    struct compile *c = NULL;
    int state = compile_begin(&c, job, err);
    while (state == 0) {
        struct epoll_event event;
        if (epoll_wait(c->epoll, &event, 1, -1) < 0 && errno != EINTR) {
            state = error_set(err, "compile.loop", errno, "cannot wait for the compiler");
            break;
        }
        state = compile_dispatch(c, err);
    }
    if (state > 0)
        state = compile_finish(c, ret, err);
    compile_free(c);
    return state;
}

void compile_result_free(struct compile_result *r)
{
    if (r->artifact_fd >= 0)
        close(r->artifact_fd);
    diagnostics_free(r->diagnostics);
    arena_free(r->arena);
    *r = (struct compile_result){.artifact_fd = -1};
}
