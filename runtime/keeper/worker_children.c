/* Theory of operation: worker_children.h. */
#include "runtime/keeper/worker_children.h"

#include "base/cleanup.h"
#include "runtime/keeper/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CHILDREN_MAX 32
#define NOT_STARTED  (127 << 8) /* as of wait(2) */

struct worker_child {
    struct task task; /* first: a task is cast to it */
    struct worker_child *next;
    struct keeper *keeper;
    struct worker *worker; /* NULL: it has gone, and only the end of the process is due */
    uint64_t number, started_ms;
    struct spec *spec; /* whose arena holds args and path */
    struct strings args;
    const char *path;
    bool running, stopping;
    struct loop_timer *timer;
    struct supervise logic;
    struct supervise_child policy;
    uint64_t restarts[4];
};

static void start(struct worker_child *c);

static void child_free(struct worker_child *c)
{
    struct keeper *k = c->keeper;
    for (struct worker_child **at = c->worker != NULL ? &c->worker->children : NULL;
         at != NULL && *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            c->worker->child_count--;
            break;
        }
    }
    if (c->timer != NULL)
        loop_cancel(k->loop, c->timer);
    spec_free(c->spec);
    free(c);
    keeper_check_stopped(k);
}

/** For good: the module is told. */
static void ended(struct worker_child *c, int status)
{
    struct worker *w = c->worker;
    const struct wire_record r = {.type = WIRE_ENDED, .id = c->number, .value = (uint64_t)status};
    child_free(c);
    if (w != NULL)
        worker_tell(w, &r, NULL);
}

static void on_restart(void *context)
{
    struct worker_child *c = context;
    c->timer = NULL;
    start(c);
}

static void is_down(struct worker_child *c, int status, enum supervise_end how)
{
    uint64_t now = loop_now_ms();
    c->running = false;
    if (c->worker == NULL || c->stopping) {
        ended(c, status);
        return;
    }
    struct supervise_decision d = supervise_ended(&c->logic, 0, how, now, now - c->started_ms);
    if (d.action == SUPERVISE_RESTART)
        c->timer = loop_after(c->keeper->loop, d.delay_ms, on_restart, c);
    else
        ended(c, status);
}

static void on_task(struct task *t, const struct sandbox_child_event *e)
{
    struct worker_child *c = (struct worker_child *)t;
    if (e->type == CHILD_STARTED)
        close(e->fd);
    if (e->type != CHILD_FAILED && e->type != CHILD_EXITED)
        return;
    task_remove(c->keeper, t);
    is_down(c, e->type == CHILD_FAILED ? NOT_STARTED : e->status,
            e->type == CHILD_FAILED ? END_START_FAILED
            : e->status == 0        ? END_NORMAL
                                    : END_ABNORMAL);
}

static void start(struct worker_child *c)
{
    struct keeper *k = c->keeper;
    struct error err = ERROR_INIT;
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    _cleanup_close_ int log = log_open(k, c->path, &err);
    const struct sandbox_command command = {
        .args = c->args.items, .streams = {null, log, log}, .ready_fd = -1};
    int child =
        null < 0 || log < 0 || k->sandbox == NULL ? -1 : sandbox_spawn(k->sandbox, &command, &err);
    c->started_ms = loop_now_ms();
    if (child < 0) {
        is_down(c, NOT_STARTED, END_START_FAILED);
        return;
    }
    c->task = (struct task){.child = child, .call = on_task};
    c->running = true;
    task_add(k, &c->task);
}

/** false with @err: it is not one child of kind "command". */
static bool read_spec(struct worker_child *c, const char *module, const char *json, size_t size,
                      struct error *err)
{
    static const char head[] = "{\"ociVersion\":\"1.1.0\",\"cloche\":{\"children\":[",
                      tail[] = "]}}";
    struct arena *a = c->spec->arena;
    char *text = arena_alloc(a, sizeof head + size + sizeof tail);
    size_t n = sizeof head - 1;
    memcpy(text, head, n);
    memcpy(text + n, json, size);
    memcpy(text + n + size, tail, sizeof tail);
    n += size + sizeof tail - 1;
    /* one whole value, so that it stays within the brackets around it */
    char *copy = arena_strndup(a, json, size);
    cJSON *whole = cJSON_ParseWithOpts(copy, NULL, true);
    bool one = cJSON_IsObject(whole) && strlen(copy) == size;
    cJSON_Delete(whole);
    if (!one) {
        error_set(err, "child.spec", 0, "the spec of a child is one JSON object");
        return false;
    }
    if (spec_apply_json(c->spec, text, n, "/", err) < 0)
        return false;
    cJSON *list = c->spec->children_json != NULL ? cJSON_Parse(c->spec->children_json) : NULL;
    const cJSON *o = list != NULL && cJSON_GetArraySize(list) == 1 ? list->child : NULL, *arg;
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "kind")),
               *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "id")),
               *restart = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "restart"));
    bool good = kind != NULL && id != NULL && strcmp(kind, "command") == 0;
    if (good) {
        cJSON_ArrayForEach(arg, cJSON_GetObjectItemCaseSensitive(o, "args"))
        {
            strings_add(a, &c->args, cJSON_IsString(arg) ? arg->valuestring : "");
        }
        c->path = arena_printf(a, "%s/%s", module, id);
        c->policy.restart = restart != NULL && strcmp(restart, "permanent") == 0   ? PERMANENT
                            : restart != NULL && strcmp(restart, "transient") == 0 ? TRANSIENT
                                                                                   : TEMPORARY;
    } else {
        error_set(err, "child.spec", 0, "one child of kind \"command\" is wanted");
    }
    cJSON_Delete(list);
    return good;
}

void worker_child_start(struct worker *w, uint64_t number, const char *json, size_t size)
{
    struct error err = ERROR_INIT;
    struct worker_child *c =
        w->child_count < CHILDREN_MAX && w->service != NULL ? calloc(1, sizeof *c) : NULL;
    const struct wire_record refused = {
        .type = WIRE_ENDED, .id = number, .value = (uint64_t)NOT_STARTED};
    if (c == NULL) {
        worker_tell(w, &refused, NULL);
        return;
    }
    c->keeper = w->keeper;
    c->worker = w;
    c->number = number;
    c->spec = spec_new();
    c->logic = (struct supervise){.max_restarts = 3,
                                  .window_ms = 5000,
                                  .children = &c->policy,
                                  .count = 1,
                                  .restarts = c->restarts};
    c->next = w->children;
    w->children = c;
    w->child_count++;
    if (read_spec(c, w->service->name, json, size, &err)) {
        start(c);
        return;
    }
    journal_event(w->keeper, "child.refused", err.message);
    ended(c, NOT_STARTED);
}

static void end(struct worker_child *c, int sig)
{
    c->stopping = true;
    if (c->running && c->keeper->sandbox != NULL)
        sandbox_child_signal(c->keeper->sandbox, c->task.child, sig);
}

void worker_child_stop(struct worker *w, uint64_t number)
{
    for (struct worker_child *c = w->children; c != NULL; c = c->next) {
        if (c->number != number)
            continue;
        if (c->running)
            end(c, SIGTERM);
        else
            ended(c, 0);
        return;
    }
}

void worker_children_end(struct worker *w)
{
    for (struct worker_child *c; (c = w->children) != NULL;) {
        w->children = c->next;
        w->child_count--;
        c->worker = NULL;
        if (c->running)
            end(c, SIGKILL);
        else
            child_free(c);
    }
}
