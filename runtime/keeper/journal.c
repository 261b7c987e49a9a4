/* What is kept on disk: record.json, the sandbox's status for clients that find no keeper, and
 * events.jsonl, who did what and with what result; when the sandbox goes, the latter goes into the
 * audit of all (runtime/audit.h). */
#include "runtime/keeper/keeper.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/probes.h"
#include "runtime/audit.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define EVENTS_MAX_BYTES (4 * 1024 * 1024)
#define LONG_S           (100ULL * 366 * 24 * 3600)
#define RETAINED_BYTES   (256 * 1024) /* of each of the two files */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/** On a full disk there is room where the last one is. */
static void overwrite_status(const struct keeper *k, const char *text, size_t size)
{
    unlinkat(k->state_fd, "record.new", 0);
    _cleanup_close_ int fd = openat(k->state_fd, "record.json", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || io_write_all(fd, text, size) < 0 || ftruncate(fd, (off_t)size) < 0)
        fprintf(stderr, "cannot write record.json: %s\n", strerror(errno));
}

void journal_status(struct keeper *k)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", k->id);
    cJSON_AddStringToObject(o, "status", status_name(k->status));
    cJSON_AddStringToObject(o, "reason", k->reason);
    cJSON_AddNumberToObject(o, "created_ms", (double)k->created_ms);
    cJSON_AddNumberToObject(o, "restarts", k->restarts);
    /* for whoever finds no keeper that watches over them */
    if (k->spec->ttl_s < LONG_S)
        cJSON_AddNumberToObject(o, "expires_ms",
                                (double)k->created_ms + (double)k->spec->ttl_s * 1000);
    if (k->spec->idle_timeout_s < LONG_S)
        cJSON_AddNumberToObject(o, "idle_timeout_s", (double)k->spec->idle_timeout_s);
    cJSON_AddStringToObject(o, "profile", k->spec->profile != NULL ? k->spec->profile : "");
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    _cleanup_close_ int fd =
        openat(k->state_fd, "record.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = text != NULL ? strlen(text) : 0;
    if (size > 0 && (fd < 0 || io_write_all(fd, text, size) < 0 ||
                     renameat(k->state_fd, "record.new", k->state_fd, "record.json") < 0))
        overwrite_status(k, text, size);
}

void journal_read(struct keeper *k)
{
    char text[4096];
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    k->created_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    ssize_t n = io_read_file_at(k->state_fd, "record.json", text, sizeof text);
    if (n < 0 && errno == ENOENT)
        return;
    k->restarts = 1; /* there was a keeper before this one, whatever became of its record */
    cJSON *o = n < 0 ? NULL : cJSON_Parse(text);
    const cJSON *created = cJSON_GetObjectItemCaseSensitive(o, "created_ms"),
                *restarts = cJSON_GetObjectItemCaseSensitive(o, "restarts");
    if (cJSON_IsNumber(created) && created->valuedouble > 0 && created->valuedouble < 9e15)
        k->created_ms = (int64_t)created->valuedouble;
    if (cJSON_IsNumber(restarts) && restarts->valueint >= 0)
        k->restarts = (unsigned)restarts->valueint + 1;
    cJSON_Delete(o);
}

static void write_event(struct keeper *k, cJSON *o)
{
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    struct stat st;
    struct error err = ERROR_INIT;
    if (text == NULL)
        return;
    if (k->retired) {
        size_t size = strlen(text);
        text[size] = '\n'; /* over the NUL */
        if (audit_append(text, size + 1, &err) < 0)
            fprintf(stderr, "%s\n", err.message);
        return;
    }
    _cleanup_close_ int fd =
        openat(k->state_fd, "events.jsonl", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > EVENTS_MAX_BYTES) {
        renameat(k->state_fd, "events.jsonl", k->state_fd, "events.jsonl.1");
        close(fd);
        fd = openat(k->state_fd, "events.jsonl", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    size_t n = strlen(text);
    text[n] = '\n'; /* over the NUL: one write, so that lines never mix */
    if (fd < 0 || write(fd, text, n + 1) != (ssize_t)n + 1)
        fprintf(stderr, "cannot write events.jsonl: %s\n", strerror(errno));
}

/** From the beginning of a line on, at most the last @max bytes of a file. */
static ssize_t read_end(int dir, const char *file, size_t max, char **ret)
{
    struct stat st;
    *ret = NULL;
    _cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    bool cut = (size_t)st.st_size > max;
    if (cut)
        lseek(fd, st.st_size - (off_t)max, SEEK_SET);
    ssize_t n = io_read_to_end(fd, 2 * max, ret);
    const char *line = n > 0 && cut ? memchr(*ret, '\n', (size_t)n) : NULL;
    if (line == NULL)
        return n > 0 ? n : 0;
    n -= line + 1 - *ret;
    memmove(*ret, line + 1, (size_t)n);
    return n;
}

void journal_retire(struct keeper *k)
{
    static const char *const files[] = {"events.jsonl.1", "events.jsonl"};
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *text = NULL;
        ssize_t n = read_end(k->state_fd, files[i], RETAINED_BYTES, &text);
        if (n > 0 && audit_append(text, (size_t)n, &err) < 0)
            fprintf(stderr, "%s\n", err.message);
    }
    k->retired = true;
}

void journal_violation(struct keeper *k, const struct sandbox_child_event *e, const char *who)
{
    const char *call = e->blocked_syscall;
    if (call == NULL && !e->process_limit &&
        !(WIFSIGNALED(e->status) && WTERMSIG(e->status) == SIGSYS))
        return;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "kind", e->process_limit ? "processes" : "syscall");
    cJSON_AddStringToObject(o, "detail",
                            call != NULL       ? call
                            : e->process_limit ? "process limit"
                                               : "(killed by the filter)");
    cJSON_AddStringToObject(o, "who", who);
    journal_fields(k, "security.violation", o);
}

static cJSON *new_event(struct keeper *k, const char *event, const char *suffix)
{
    char name[96];
    cJSON *o = cJSON_CreateObject();
    snprintf(name, sizeof name, "%s%s", event, suffix);
    cJSON_AddNumberToObject(o, "time", now_s());
    cJSON_AddStringToObject(o, "event", name);
    cJSON_AddStringToObject(o, "sandbox", k->id);
    return o;
}

static void add_actor(cJSON *o, const struct connection *by)
{
    if (by == NULL)
        return;
    cJSON_AddNumberToObject(o, "uid", by->uid);
    cJSON_AddNumberToObject(o, "pid", by->pid);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A span's number is the time it began, so that its duration needs no table. */
uint64_t journal_start(struct keeper *k, const char *event, const struct connection *by,
                       const char *detail)
{
    uint64_t now = now_us();
    k->next_span = now > k->next_span ? now : k->next_span + 1;
    PROBE3(span_start, k->id, event, k->next_span);
    cJSON *o = new_event(k, event, ".start");
    cJSON_AddNumberToObject(o, "span", (double)k->next_span);
    add_actor(o, by);
    if (detail != NULL)
        cJSON_AddStringToObject(o, "detail", detail);
    write_event(k, o);
    return k->next_span;
}

void journal_stop(struct keeper *k, uint64_t span, const char *event, const struct connection *by,
                  const struct error *err)
{
    if (err == NULL)
        PROBE3(span_stop, k->id, event, span);
    else
        PROBE4(span_exception, k->id, event, span, err->code);
    cJSON *o = new_event(k, event, err == NULL ? ".stop" : ".exception");
    cJSON_AddNumberToObject(o, "span", (double)span);
    cJSON_AddNumberToObject(o, "duration_ms", (double)(now_us() - span) / 1000.0);
    add_actor(o, by);
    if (err != NULL) {
        cJSON_AddStringToObject(o, "code", err->code != NULL ? err->code : "");
        cJSON_AddStringToObject(o, "message", err->message);
    }
    write_event(k, o);
}

void journal_fields(struct keeper *k, const char *event, cJSON *more)
{
    PROBE3(event, k->id, event, NULL);
    cJSON *o = new_event(k, event, "");
    for (cJSON *item; more != NULL && (item = more->child) != NULL;) {
        cJSON_DetachItemViaPointer(more, item);
        cJSON_AddItemToObject(o, item->string, item);
    }
    cJSON_Delete(more);
    write_event(k, o);
}

void journal_dropped(const struct connection *who, const char *why)
{
    cJSON *o = cJSON_CreateObject();
    add_actor(o, who);
    cJSON_AddStringToObject(o, "detail", why);
    journal_fields(who->keeper, "client.dropped", o);
}

void journal_event(struct keeper *k, const char *event, const char *detail)
{
    PROBE3(event, k->id, event, detail);
    cJSON *o = new_event(k, event, "");
    if (detail != NULL)
        cJSON_AddStringToObject(o, "detail", detail);
    write_event(k, o);
}
