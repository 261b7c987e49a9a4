/* What clients can ask; the table is runtime/operations.h. */
#include "runtime/operations.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/keeper/figures.h"
#include "runtime/keeper/sampling.h"
#include "runtime/keeper/tree.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int op_info(struct connection *c, struct frame *f, struct error *err)
{
    const struct keeper *k = c->keeper;
    (void)err;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", k->id);
    cJSON_AddStringToObject(o, "status", status_name(k->status));
    cJSON_AddStringToObject(o, "reason", k->reason);
    cJSON_AddNumberToObject(o, "created_ms", (double)k->created_ms);
    figures_add_u64(o, "uptime_ms", k->sandbox != NULL ? loop_now_ms() - k->started_ms : 0);
    cJSON_AddNumberToObject(o, "restarts", k->restarts);
    cJSON_AddStringToObject(o, "profile", k->spec->profile != NULL ? k->spec->profile : "");
    cJSON_AddNumberToObject(o, "keeper_pid", getpid());
    cJSON_AddNumberToObject(o, "init_pid", k->sandbox != NULL ? sandbox_pid(k->sandbox) : 0);
    cJSON_AddNumberToObject(o, "commands", exec_count(k));
    cJSON_AddItemToObject(o, "children", tree_json(k->tree));
    cJSON_AddItemToObject(o, "usage", figures_usage(k));
    cJSON_AddItemToObject(o, "limits", figures_limits(k));
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}

static int op_exec(struct connection *c, struct frame *f, struct error *err)
{
    return exec_operation(c, f, err);
}

/* --- open ----------------------------------------------------------------------------------------
 */

struct opening {
    struct task task; /* first: a task is cast to it */
    struct keeper *keeper;
    struct connection *client; /* NULL: gone, or answered */
    uint32_t serial;
};

static void on_opening(struct task *t, const struct sandbox_child_event *e)
{
    struct opening *o = (struct opening *)t;
    struct error err = ERROR_INIT;
    struct connection *c = o->client;
    if (e->type == CHILD_FILE) {
        if (c != NULL)
            connection_data(c, o->serial, NULL, e->fd);
        close(e->fd);
        if (c != NULL)
            connection_reply(c, o->serial, NULL);
        o->client = NULL;
        return;
    }
    if (e->type != CHILD_FAILED && e->type != CHILD_EXITED)
        return;
    if (e->type == CHILD_EXITED)
        error_set(&err, "sandbox.file", 0, "the sandbox ended meanwhile");
    if (c != NULL)
        connection_error(c, o->serial, e->type == CHILD_FAILED ? e->error : &err);
    task_remove(o->keeper, t);
    keeper_check_stopped(o->keeper);
    free(o);
}

void open_forget(struct connection *c)
{
    for (struct task *t = c->keeper->tasks; t != NULL; t = t->next) {
        if (t->call == on_opening && ((struct opening *)t)->client == c)
            ((struct opening *)t)->client = NULL;
    }
}

static int op_open(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    const char *path = frame_get(f, "path");
    if (keeper_is_running(k, err) < 0)
        return -1;
    if (k->status == STATUS_PAUSED)
        return keeper_is_paused(k, err);
    if (path == NULL || path[0] != '/')
        return error_set(err, "usage.path", 0, "a path inside the sandbox is absolute");
    char *args[] = {(char *)(uintptr_t)path, NULL};
    const struct sandbox_command command = {
        .open = frame_get_int(f, "write", 0, 1, 0) == 1 ? OPEN_WRITE : OPEN_READ,
        .mode = (uint16_t)frame_get_int(f, "mode", 0, 0777, 0644),
        .args = args,
        .ready_fd = -1};
    struct opening *o = calloc(1, sizeof *o);
    int child = o == NULL ? -1 : sandbox_spawn(k->sandbox, &command, err);
    if (child < 0) {
        free(o);
        return -1;
    }
    *o = (struct opening){.task = {.child = child, .call = on_opening},
                          .keeper = k,
                          .client = c,
                          .serial = f->head.serial};
    task_add(k, &o->task);
    return 0;
}

static int op_signal(struct connection *c, struct frame *f, struct error *err)
{
    int64_t sig = frame_get_int(f, "signal", 1, 64, 0);
    (void)err;
    c->waits_for--;
    if (sig != 0 && c->job != NULL) /* no answer: the command's end is one */
        exec_signal(c->job, (int)sig);
    return 0;
}

static int op_pause(struct connection *c, struct frame *f, struct error *err)
{
    if (keeper_freeze(c->keeper, true, err) < 0)
        return -1;
    connection_reply(c, f->head.serial, NULL);
    return 0;
}

static int op_resume(struct connection *c, struct frame *f, struct error *err)
{
    if (keeper_freeze(c->keeper, false, err) < 0)
        return -1;
    connection_reply(c, f->head.serial, NULL);
    return 0;
}

/* --- update -------------------------------------------------------------------------------------
 */

int keeper_save_spec(const struct keeper *k, struct error *err)
{
    _cleanup_free_ char *text = spec_to_json(k->spec);
    _cleanup_close_ int fd =
        openat(k->state_fd, "spec.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (text == NULL || fd < 0 || io_write_all(fd, text, strlen(text)) < 0 || fsync(fd) < 0 ||
        renameat(k->state_fd, "spec.new", k->state_fd, "spec.json") < 0)
        return error_set(err, "keeper.state", errno, "cannot write the spec of \"%s\"", k->id);
    return 0;
}

static int op_update(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    struct spec_resources before = k->spec->resources, *r = &k->spec->resources;
    if (keeper_is_running(k, err) < 0)
        return -1;
    int64_t memory = frame_get_int(f, "memory_bytes", 1, INT64_MAX, -1),
            processes = frame_get_int(f, "processes", 1, 4194304, -1),
            quota = frame_get_int(f, "cpu_quota_us", 1000, INT64_MAX, -1);
    struct sandbox_usage u = {0};
    sandbox_usage(k->sandbox, &u);
    if (memory >= 0 && (uint64_t)memory < u.memory_bytes) {
        error_set(err, "sandbox.in_use", 0,
                  "sandbox \"%s\" uses %llu bytes of memory, more than the new limit of %lld",
                  k->id, (unsigned long long)u.memory_bytes, (long long)memory);
        return error_hint(err, "give it more, or restart it first");
    }
    if (processes >= 0 && (uint64_t)processes < u.processes) {
        error_set(err, "sandbox.in_use", 0,
                  "sandbox \"%s\" has %llu processes, more than the new limit of %lld", k->id,
                  (unsigned long long)u.processes, (long long)processes);
        return error_hint(err, "allow more, or end some first");
    }
    if (memory >= 0)
        r->memory_bytes = (uint64_t)memory;
    if (processes >= 0)
        r->processes = (uint64_t)processes;
    if (quota >= 0) {
        r->cpu_quota_us = (uint64_t)quota;
        r->cpu_period_us = 100000;
    }
    if (sandbox_update(k->sandbox, r, err) < 0) {
        *r = before;
        sandbox_update(k->sandbox, r, NULL);
        return -1;
    }
    if (keeper_save_spec(k, err) < 0) { /* it holds for good or not at all */
        *r = before;
        sandbox_update(k->sandbox, r, NULL);
        return -1;
    }
    sampling_limits_changed(k);
    connection_reply(c, f->head.serial, NULL);
    return 0;
}

/* --- top -----------------------------------------------------------------------------------------
 */

struct process {
    int pid, parent;
    bool inside;
    char state;
    unsigned long long cpu_ticks, rss_pages;
    char name[32];
};

/** One line of /proc/PID/stat (proc(5)); the name may hold anything, so from its last ')' on. */
static bool read_process(int proc, const char *pid, struct process *ret)
{
    char path[300], text[1024];
    snprintf(path, sizeof path, "%s/stat", pid);
    if (io_read_file_at(proc, path, text, sizeof text) < 0)
        return false;
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    unsigned long long user, system;
    if (open == NULL || close == NULL || close < open ||
        sscanf(close + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u "
               "%*u %llu",
               &ret->state, &ret->parent, &user, &system, &ret->rss_pages) != 5)
        return false;
    ret->pid = atoi(pid);
    ret->cpu_ticks = user + system;
    ret->inside = false;
    *close = '\0';
    snprintf(ret->name, sizeof ret->name, "%.31s", open + 1);
    return true;
}

static int op_top(struct connection *c, struct frame *f, struct error *err)
{
    const struct keeper *k = c->keeper;
    if (keeper_is_running(k, err) < 0)
        return -1;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_closedir_ DIR *dir = opendir("/proc");
    struct process *all = NULL;
    size_t count = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        all = arena_grow(a, all, count, sizeof *all);
        count += read_process(dirfd(dir), e->d_name, &all[count]);
    }
    /* everything inside descends from init; /proc need not list parents first */
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < count; i++) {
            bool inside = all[i].pid == sandbox_pid(k->sandbox);
            for (size_t n = 0; !inside && !all[i].inside && n < count; n++)
                inside = all[n].inside && all[n].pid == all[i].parent;
            again = again || (inside && !all[i].inside);
            all[i].inside = all[i].inside || inside;
        }
    }
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "processes");
    const double tick_ms = 1000.0 / (double)sysconf(_SC_CLK_TCK),
                 page = (double)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].inside)
            continue;
        cJSON *p = cJSON_CreateObject();
        const char state[2] = {all[i].state, '\0'};
        cJSON_AddNumberToObject(p, "pid", all[i].pid);
        cJSON_AddNumberToObject(p, "parent", all[i].parent);
        cJSON_AddStringToObject(p, "state", state);
        cJSON_AddNumberToObject(p, "cpu_ms", (double)all[i].cpu_ticks * tick_ms);
        cJSON_AddNumberToObject(p, "memory_bytes", (double)all[i].rss_pages * page);
        cJSON_AddStringToObject(p, "name", all[i].name);
        cJSON_AddItemToArray(list, p);
    }
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}

/* --- table ---------------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *event;
    bool is_use;
    int (*handler)(struct connection *c, struct frame *f, struct error *err);
} operations[] = {
#define LOOK                                false
#define USE                                 true
#define ROW(symbol, name, event, use, help) {name, event, use, op_##symbol},
    OPERATIONS(ROW)
#undef ROW
};

void operation_call(struct connection *c, struct frame *f)
{
    const char *name = frame_get(f, "op");
    struct error err = ERROR_INIT;
    for (size_t i = 0; name != NULL && i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operations[i].name, name) != 0)
            continue;
        const char *event = operations[i].event;
        if (operations[i].is_use)
            collect_used(c->keeper);
        uint64_t span = event != NULL ? journal_start(c->keeper, event, c, NULL) : 0;
        int rc = operations[i].handler(c, f, &err);
        if (event != NULL)
            journal_stop(c->keeper, span, event, c, rc < 0 ? &err : NULL);
        if (rc < 0)
            connection_error(c, f->head.serial, &err);
        return;
    }
    error_set(&err, "protocol.operation", 0, "unknown operation \"%s\"", name != NULL ? name : "");
    connection_error(c, f->head.serial, &err);
}
