/* The forked builder: one build, one answer, gone. It shares nothing with the keeper but a socket.
 */
#include "runtime/keeper/builder.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/packet.h"
#include "base/syscalls.h"
#include "compiler/compiler.h"
#include "runtime/keeper/fault.h"
#include "runtime/protocol.h"
#include "versions/versions.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define DIAGNOSTICS_MAX  50
#define DIAGNOSTICS_SIZE (64 * 1024)
#define HEADERS_MAX      1000 /* beside a single source file */
#define ERRORS_SHOWN     5
#define LOG_SHOWN        (16 * 1024)
#define MANIFEST_MAX     (64 * 1024)

struct work {
    struct builder *b;
    struct arena *arena;
    const char *step;
    uint64_t began_us;
    uint64_t snapshot_us, compile_us, verify_us, waited_us;
    uint64_t attempt;
    bool told, wanted; /* that it changed; see build_take() */
    bool compiled;
    struct compile *compile;
    struct compile_result result;
    int artifact;
    pid_t publisher; /* 0: none */
    int job;         /* its way */
    char *log;
    size_t log_size;
    struct elf_info elf;
    const char *verdict, *diagnostics;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- the answer ---------------------------------------------------------------------------------
 */

static void add_facts(const struct work *w, struct fields *f)
{
    fields_add(f, "step", w->step);
    fields_add(f, "verdict", w->verdict != NULL ? w->verdict : "");
    fields_add(f, "toolchain",
               w->compiled && w->result.toolchain != NULL ? w->result.toolchain : "");
    fields_add_int(f, "cached", w->compiled && w->result.cache_hit);
    fields_add_int(f, "schema", w->elf.abi.state_schema);
    fields_add_int(f, "flags", w->elf.abi.flags);
    fields_add_int(f, "snapshot_us", (int64_t)w->snapshot_us);
    fields_add_int(f, "compile_us", (int64_t)w->compile_us);
    fields_add_int(f, "verify_us", (int64_t)w->verify_us);
    fields_add_int(f, "waited_us", (int64_t)w->waited_us);
    fields_add(f, "diagnostics", w->diagnostics != NULL ? w->diagnostics : "[]");
    if (w->log != NULL) {
        char text[LOG_SHOWN + 1];
        snprintf(text, sizeof text, "%.*s", LOG_SHOWN, w->log);
        fields_add(f, "text", text);
    }
}

static void leave(struct work *w) __attribute__((noreturn));
static void leave(struct work *w)
{
    close(w->job);
    compile_free(w->compile); /* its jail and its directory; the cache gets what is finished */
    while (w->publisher > 0 && waitpid(w->publisher, NULL, 0) < 0 && errno == EINTR)
        continue;
    _exit(0);
}

static void answer(struct work *w, const struct fields *f) __attribute__((noreturn));
static void answer(struct work *w, const struct fields *f)
{
    /* when it fails, the keeper says that the builder was lost */
    frame_send(w->b->socket, FRAME_OK, 0, f, NULL, 0, 0);
    leave(w);
}

/** Its attempt is told how far it is. */
static void tell_step(const struct work *w)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "status", "step");
    fields_add(&f, "step", w->step);
    if (w->attempt != 0)
        (void)frame_send(w->b->socket, FRAME_OK, 0, &f, NULL, 0, 0);
}

static void enter(struct work *w, const char *step)
{
    w->step = step;
    tell_step(w);
}

/** False: the keeper has hung up. */
static bool hear(struct work *w)
{
    w->wanted = recv(w->b->socket, &w->attempt, sizeof w->attempt, 0) == sizeof w->attempt;
    if (w->wanted)
        tell_step(w);
    return w->wanted;
}

static void tell_changed(struct work *w)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (!w->b->options->ahead || w->told)
        return;
    fields_add(&f, "status", "changed");
    w->told = frame_send(w->b->socket, FRAME_OK, 0, &f, NULL, 0, 0) == 0;
}

/** What follows leaves a trace. */
static void wait_until_wanted(struct work *w)
{
    uint64_t began = now_us();
    if (w->b->options->ahead && !w->wanted) {
        tell_changed(w);
        if (!hear(w))
            leave(w);
        w->waited_us = now_us() - began;
    }
    if (w->log == NULL)
        return;
    char name[96];
    snprintf(name, sizeof name, "%.64s.build.log", w->b->module);
    _cleanup_close_ int fd =
        openat(w->b->log_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) /* a full disk loses it: the first ones are in the answer */
        (void)io_write_all(fd, w->log, w->log_size);
}

static void fail(struct work *w, struct error *err) __attribute__((noreturn));
static void fail(struct work *w, struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    wait_until_wanted(w);
    fields_add(&f, "status", "failed");
    fields_add_error(&f, err);
    add_facts(w, &f);
    answer(w, &f);
}

static void succeed(struct work *w, const char *status, uint32_t number) __attribute__((noreturn));
static void succeed(struct work *w, const char *status, uint32_t number)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "status", status);
    fields_add_int(&f, "number", number);
    fields_add(&f, "sha256", w->compiled ? w->result.digest : "");
    add_facts(w, &f);
    answer(w, &f);
}

/* --- the newest version -------------------------------------------------------------------------
 */

/* Its number and the digest of its sources, from its manifest: "" when there is none. */
static uint32_t newest(const struct builder *b, char digest[65])
{
    char path[160];
    uint32_t number = 0;
    digest[0] = '\0';
    snprintf(path, sizeof path, "modules/%.64s", b->module);
    int fd = openat(b->state_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        uint64_t n;
        if (io_parse_u64(e->d_name, &n) && n <= UINT32_MAX && n > number)
            number = (uint32_t)n;
    }
    if (number == 0)
        return 0;
    _cleanup_free_ char *text = malloc(MANIFEST_MAX);
    snprintf(path, sizeof path, "%u/manifest.json", number);
    if (text == NULL || io_read_file_at(dirfd(dir), path, text, MANIFEST_MAX) < 0)
        return 0;
    cJSON *o = cJSON_Parse(text);
    const char *found = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "source_sha256"));
    snprintf(digest, 65, "%s", found != NULL ? found : "");
    cJSON_Delete(o);
    return number;
}

/* --- the publisher ------------------------------------------------------------------------------
 */

static int be_publisher(void *argument)
{
    const struct work *w = argument;
    char *argv[] = {(char *)(uintptr_t) "cloche-keeper", (char *)(uintptr_t)PUBLISHER, NULL};
    int job = fcntl(w->job, F_DUPFD, 64), state = fcntl(w->b->state_fd, F_DUPFD, 64);
    if (job < 0 || state < 0 || dup2(job, FD_JOB) < 0 || dup2(state, FD_STATE) < 0 ||
        sys_close_range(FD_STATE + 1, ~0U, 0) < 0)
        return 1;
    execv("/proc/self/exe", argv);
    return 127;
}

/** Once it is known that something will be published: it is ready when that is there. One that
 * cannot be started is reported by hand_over(). */
static void call_publisher(struct work *w)
{
    char stack[BESIDE_STACK] __attribute__((aligned(16)));
    int ends[2];
    if (w->publisher != 0 || w->b->options->no_publish ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return;
    w->job = ends[0];
    w->publisher = beside_start(be_publisher, w, stack);
    close(ends[0]);
    w->job = ends[1];
    w->publisher = w->publisher < 0 ? 0 : w->publisher;
}

/* --- compile ------------------------------------------------------------------------------------
 */

static size_t count_of(const char *const *list)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

static const char *verdict_code(enum verdict v)
{
    return v == VERDICT_COMPILE_ERROR ? "build.compile"
           : v == VERDICT_SETUP_ERROR ? "build.setup"
                                      : "build.limit";
}

/* Of what the tools wrote and no parser knew. */
static void first_line(const struct compile_result *r, char *text, size_t size)
{
    const char *at = r->log, *end = r->log + r->log_size;
    if (end - at >= 3 && memcmp(at, "[]\n", 3) == 0)
        at += 3;
    size_t n = 0;
    for (; at < end && *at != '\n' && n < size - 1 && n < 400; at++)
        text[n++] = (unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at;
    text[n] = '\0';
}

/* "counter.c:3:5: error: ...", the first few, a line each. */
static int describe(const struct compile_result *r, struct error *err)
{
    char text[3072] = "";
    size_t used = 0, shown = 0;
    const struct diagnostics *d = r->diagnostics;
    for (size_t i = 0; i < d->count && shown < ERRORS_SHOWN && used < sizeof text - 400; i++) {
        const struct diagnostic *g = &d->items[i];
        if (g->severity > SEVERITY_ERROR && d->errors > 0)
            continue;
        shown++;
        int n = snprintf(text + used, sizeof text - used, "%s", used > 0 ? "\n" : "");
        if (g->file != NULL && g->line > 0)
            n += snprintf(text + used + n, sizeof text - used - (size_t)n,
                          "%.200s:%u:%u: ", g->file, g->line, g->column);
        n += snprintf(text + used + n, sizeof text - used - (size_t)n, "%s: %.300s",
                      severity_name(g->severity), g->message);
        used += (size_t)n;
        if (used >= sizeof text)
            used = sizeof text - 1;
    }
    bool limit = r->verdict != VERDICT_COMPILE_ERROR;
    if (shown == 0)
        first_line(r, text, sizeof text);
    if (limit || shown == 0)
        error_set(err, verdict_code(r->verdict), 0, "%s%s%s%s%s", verdict_name(r->verdict),
                  r->detail[0] != '\0' ? ": " : "", r->detail, text[0] != '\0' ? "\n" : "", text);
    else
        error_set(err, verdict_code(r->verdict), 0, "%s%s", text,
                  d->errors > ERRORS_SHOWN ? "\n..." : "");
    for (size_t i = 0; i < d->count; i++) {
        if (d->items[i].file != NULL && d->items[i].severity <= SEVERITY_ERROR)
            return error_path(err, d->items[i].file);
    }
    return -1;
}

static void keep_log(struct work *w)
{
    FILE *f = open_memstream(&w->log, &w->log_size);
    if (f == NULL)
        return;
    diagnostics_print(w->result.diagnostics, f, false);
    /* gcc writes its messages as JSON, "[]" when there are none; then comes what others wrote */
    size_t skip = w->result.log_size >= 3 && memcmp(w->result.log, "[]\n", 3) == 0 ? 3 : 0;
    if (w->result.diagnostics->count == 0 && w->result.log_size > skip)
        fwrite(w->result.log + skip, 1, w->result.log_size - skip, f);
    if (w->result.verdict != VERDICT_OK && w->result.diagnostics->errors == 0)
        fprintf(f, "%s%s%s\n", verdict_name(w->result.verdict),
                w->result.detail[0] != '\0' ? ": " : "", w->result.detail);
    fclose(f);
}

/* The first diagnostics as JSON that fits into a frame. */
static void keep_diagnostics(struct work *w)
{
    cJSON *all = diagnostics_to_json(w->result.diagnostics);
    for (int most = DIAGNOSTICS_MAX; most > 0; most /= 2) {
        while (cJSON_GetArraySize(all) > most)
            cJSON_DeleteItemFromArray(all, most);
        _cleanup_free_ char *text = cJSON_PrintUnformatted(all);
        if (text != NULL && strlen(text) < DIAGNOSTICS_SIZE) {
            w->diagnostics = arena_strdup(w->arena, text);
            break;
        }
    }
    cJSON_Delete(all);
}

/* Until it is done; 1, or -1 with @err. Ends this process when the keeper hangs up. */
static int drive(struct work *w, struct compile *c, struct error *err)
{
    int state = 0;
    while (state == 0) {
        struct pollfd p[2] = {{.fd = compile_event_fd(c), .events = POLLIN},
                              {.fd = w->b->socket, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return error_set(err, "compile.loop", errno, "cannot wait for the compiler");
        if (p[1].revents != 0 && !hear(w)) /* cancelled */
            leave(w);
        if (p[0].revents != 0)
            state = compile_dispatch(c, err);
    }
    return state;
}

/* What a file may include by its name alone: the headers of its directory. */
static struct compile_source *with_headers(struct work *w, const char *path, size_t *ret_count)
{
    const struct build_source *s = &w->b->options->source;
    struct compile_source *list = arena_grow(w->arena, NULL, 0, sizeof *list);
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    struct error ignored = ERROR_INIT;
    struct stat st;
    const char *slash = strrchr(path, '/');
    list[0].path = path;
    *ret_count = 1;
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
        (s->toolchain != NULL ? toolchain_load(&tc, s->toolchain, &ignored)
                              : toolchain_for_file(&tc, path, &ignored)) < 0)
        return list;
    const char *top =
        slash == NULL ? "" : arena_strndup(w->arena, path, (size_t)(slash - path) + 1);
    _cleanup_closedir_ DIR *dir = opendir(slash == NULL ? "." : top);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.' || !toolchain_has_extension(&tc->includes, e->d_name) ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
            st.st_size > (off_t)COMPILE_SOURCE_MAX || *ret_count == HEADERS_MAX)
            continue;
        list = arena_grow(w->arena, list, *ret_count, sizeof *list);
        list[(*ret_count)++].path = arena_printf(w->arena, "%s%s", top, e->d_name);
    }
    return list;
}

static int compile(struct work *w, const char *known, struct error *err)
{
    const struct build_source *s = &w->b->options->source;
    struct compile_source one = {.path = s->path}, header = {.path = "cloche/module.h"};
    const struct compile_source *sources = &one;
    size_t source_count = 1;
    _cleanup_free_ char *data = NULL;
    if (s->fd >= 0) {
        ssize_t n = io_read_to_end(s->fd, COMPILE_SOURCE_MAX, &data);
        if (n < 0)
            return error_set(err, "compile.source", errno, "cannot read \"%s\"", s->path);
        one.data = data;
        one.size = (size_t)n;
    } else {
        sources = with_headers(w, s->path, &source_count);
    }
    header.data = config_builtin("versions/module.h", &header.size);
    const struct compile_job job = {
        .toolchain = s->toolchain,
        .sources = sources,
        .source_count = source_count,
        .headers = &header,
        .header_count = header.data != NULL,
        .flags = s->flags,
        .flag_count = count_of(s->flags),
        .defines = s->defines,
        .define_count = count_of(s->defines),
        .kind = COMPILE_MODULE,
        .best_effort = w->b->options->best_effort,
        .unless_source = known,
    };
    uint64_t began = now_us();
    int state = compile_begin(&w->compile, &job, err);
    w->snapshot_us = now_us() - began;
    if (state < 0 && strcmp(err->code, "compile.source") != 0)
        w->step = "compile";
    if (state < 0 && strcmp(err->code, "toolchain.unknown") == 0) {
        err->hint[0] = '\0'; /* it speaks of all languages, and of an option of another command */
        error_hint(err, "a file or directory of C or C++, a shared object; or name a \"toolchain\" "
                        "of the module in the spec");
    }
    if (state < 0)
        return -1;
    began = now_us();
    enter(w, "compile");
    fault_point(3, w->b->keeper);
    if (state == 0) {
        tell_changed(w);
        call_publisher(w);
        state = drive(w, w->compile, err);
    }
    if (state > 0)
        state = compile_finish(w->compile, &w->result, err);
    w->compile_us = now_us() - began;
    if (state < 0)
        return -1;
    w->compiled = true;
    w->verdict = verdict_name(w->result.verdict);
    if (w->result.unchanged)
        return 1;
    keep_log(w);
    keep_diagnostics(w);
    if (w->result.verdict != VERDICT_OK)
        return describe(&w->result, err);
    w->artifact = w->result.artifact_fd;
    return 0;
}

/* --- an artifact that exists --------------------------------------------------------------------
 */

/* The fd of a source that is a shared object already, -1 when it is something else. */
static int open_artifact(const struct build_source *s)
{
    char magic[4] = "";
    size_t n = strlen(s->path);
    bool named = n > 3 && strcmp(s->path + n - 3, ".so") == 0;
    _cleanup_close_ int fd = s->fd >= 0
                                 ? fcntl(s->fd, F_DUPFD_CLOEXEC, 3)
                                 : open(s->path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode))
        return -1;
    bool elf = S_ISREG(st.st_mode) && pread(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
               memcmp(magic, "\177ELF", 4) == 0;
    return named || elf ? TAKE_FD(fd) : -1;
}

/* --- verify, publish ----------------------------------------------------------------------------
 */

static int memory_of(const char *name, const void *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
    return fd >= 0 && io_write_all(fd, data, size) == 0 ? TAKE_FD(fd) : -1;
}

/* Into a memfd, which nobody else can write: what was verified is what is published. */
static int verify(struct work *w, struct error *err)
{
    _cleanup_free_ void *data = NULL;
    size_t size;
    uint64_t began = now_us();
    enter(w, "verify");
    fault_point(4, w->b->keeper);
    struct elf_policy policy = w->b->policy;
    policy.file = w->b->options->source.path;
    if (elf_read_file(w->artifact, &policy, &data, &size, err) < 0 ||
        elf_verify(w->arena, data, size, &policy, &w->elf, err) < 0)
        return -1;
    if (!w->compiled) {
        w->artifact = memory_of("artifact", data, size);
        if (w->artifact < 0)
            return error_set(err, "build.memory", errno, "cannot keep the artifact");
    }
    w->verify_us = now_us() - began;
    return 0;
}

static void add_list(struct fields *f, const char *key, const struct strings *list)
{
    for (size_t i = 0; list != NULL && i < list->count; i++)
        fields_add(f, key, list->items[i]);
}

/** What the publisher needs to know beside the artifact, as a body of fields. */
static int write_facts(const struct work *w)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    const struct builder *b = w->b;
    fields_add(&f, "module", b->module);
    fields_add_int(&f, "attempt", (int64_t)w->attempt);
    fields_add(&f, "compiler", w->compiled && w->result.version != NULL ? w->result.version : "");
    fields_add(&f, "source_sha256", w->compiled ? w->result.source_digest : "");
    fields_add(&f, "sha256", w->compiled ? w->result.digest : "");
    fields_add_int(&f, "number", b->options->number);
    fields_add_int(&f, "pinned", b->options->pinned);
    fields_add_int(&f, "size_bytes", (int64_t)b->policy.size_cap_bytes);
    fields_add(&f, "root", b->root);
    add_list(&f, "depends", b->depends);
    add_list(&f, "deny_symbols", b->policy.deny_symbols);
    add_list(&f, "allow_libraries", b->policy.allow_libraries);
    add_facts(w, &f);
    return f.too_large ? -1 : memory_of("facts", f.data, f.used);
}

static void hand_over(struct work *w, struct error *err) __attribute__((noreturn));
static void hand_over(struct work *w, struct error *err)
{
    const int fds[JOB_FDS] = {
        [JOB_ANSWER] = w->b->socket,
        [JOB_ARTIFACT] = w->artifact,
        [JOB_LOG] = memory_of("log", w->log != NULL ? w->log : "", w->log_size),
        [JOB_FACTS] = write_facts(w),
    };
    const struct iovec part = {.iov_base = (char *)(uintptr_t) "job", .iov_len = 4};
    call_publisher(w);
    if (w->publisher > 0 && packet_send(w->job, &part, 1, fds, JOB_FDS, 0) == 0)
        leave(w); /* it answers */
    error_set(err, "build.publisher", errno, "cannot start the publisher");
    fail(w, err);
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static int compare(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}

/* A copy of the keeper has all of its fds. With init's socket among them, init would not see the
 * keeper die; with the locked directory, the next keeper could not start. */
static void close_others(const struct builder *b, int exports)
{
    int keep[] = {2, b->socket, b->state_fd, b->log_fd, b->options->source.fd, exports};
    const int count = (int)(sizeof keep / sizeof *keep);
    qsort(keep, (size_t)count, sizeof *keep, compare);
    int next = 3;
    for (int i = 0; i < count; i++) {
        if (keep[i] < next)
            continue;
        if (keep[i] > next)
            sys_close_range((unsigned)next, (unsigned)keep[i] - 1, 0);
        next = keep[i] + 1;
    }
    sys_close_range((unsigned)next, ~0U, 0);
}

/* The same directory by an fd of its own, which does not share the keeper's lock. */
static bool reopen(struct builder *b)
{
    int fd = openat(b->state_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    close(b->state_fd);
    b->state_fd = fd;
    return true;
}

void builder_main(struct builder *b)
{
    struct error err = ERROR_INIT;
    const struct build_options *o = b->options;
    struct work w = {.b = b,
                     .step = "snapshot",
                     .attempt = o->attempt,
                     .artifact = -1,
                     .job = -1,
                     .arena = arena_new()};
    char known[65] = "";
    umask(022); /* what the jail and the workers are to see is made with modes */
    bool ok = reopen(b);
    close_others(b, elf_exports_fd(b->policy.exports));
    if (!ok) {
        error_set(&err, "build.start", errno, "cannot open the sandbox's directory");
        fail(&w, &err);
    }
    if (o->change != NULL) { /* of the store alone */
        w.step = o->change;
        w.artifact = o->source.fd >= 0 ? o->source.fd : memory_of("nothing", "", 0);
        hand_over(&w, &err);
    }
    if (o->source.cwd != NULL && chdir(o->source.cwd) < 0) {
        error_set(&err, "compile.source", errno, "cannot enter \"%s\"", o->source.cwd);
        fail(&w, &err);
    }
    uint32_t number = o->same_source_stop ? newest(b, known) : 0;
    w.artifact = open_artifact(&o->source);
    if (w.artifact >= 0)
        call_publisher(&w);
    if (w.artifact < 0) {
        int rc = compile(&w, known[0] != '\0' ? known : NULL, &err);
        if (rc < 0)
            fail(&w, &err);
        if (rc > 0)
            succeed(&w, "unchanged", number);
    }
    if (verify(&w, &err) < 0)
        fail(&w, &err);
    wait_until_wanted(&w);
    if (o->no_publish)
        succeed(&w, "verified", 0);
    enter(&w, "publish");
    fault_point(5, b->keeper);
    hand_over(&w, &err);
}
