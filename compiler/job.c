/* compile_run() and its parts: steps run, and become a result. */
#include "compiler/job.h"

#include "compiler/depfile.h"
#include "compiler/diagnostics.h"

#include "base/io.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static double elapsed_ms(const struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - since->tv_sec) * 1e3 +
           (double)(now.tv_nsec - since->tv_nsec) / 1e6;
}

/* --- running the steps --- */

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
    io_seal(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
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
    io_seal(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
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
    s->keep = result == 0 && cacheable(e) && read_deps(c, s);
    for (int *fd = &s->run.output_fd; fd != NULL;
         fd = fd == &s->run.output_fd ? &s->run.depfile_fd : NULL) {
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    return result;
}

static const char *project_digest(const void *data, const char *path)
{
    const struct source_file *f = sources_find(data, path);
    return f == NULL ? NULL : f->digest;
}

static bool try_cache(struct compile *c, struct step *s)
{
    s->hit = cache_lookup(c->cache, c->arena, s->key, project_digest, &c->sources, &s->entry) == 1;
    if (s->hit)
        s->state = STEP_DONE;
    return s->hit;
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
        compile_link_key(c, link);
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
    if (compile_plan(c, job, err) < 0) {
        compile_free(c);
        return -1;
    }
    c->done = c->unchanged;
    if (c->done) {
        *ret = c;
        return 1;
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

/* --- the result --- */

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
    r.version = arena_strdup(r.arena, c->version);
    r.unchanged = c->unchanged;
    memcpy(r.source_digest, c->source_digest, sizeof r.source_digest);
    struct step *last = &c->steps[c->step_count - 1];
    if (r.verdict == VERDICT_OK && last->state == STEP_DONE) {
        lseek(last->entry.artifact_fd, 0, SEEK_SET);
        r.artifact_fd = fcntl(last->entry.artifact_fd, F_DUPFD_CLOEXEC, 3);
        if (r.artifact_fd < 0) {
            int problem = errno;
            compile_result_free(&r);
            return error_set(err, "compile.artifact", problem, "cannot hand the artifact over");
        }
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
        if (s->keep)
            cache_store(c->cache, s->key, &s->entry);
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
    while (state == 0 && c != NULL) {
        struct epoll_event event;
        if (epoll_wait(c->epoll, &event, 1, -1) < 0 && errno != EINTR) {
            state = error_set(err, "compile.loop", errno, "cannot wait for the compiler");
            break;
        }
        state = compile_dispatch(c, err);
    }
    if (state > 0 && c != NULL)
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
