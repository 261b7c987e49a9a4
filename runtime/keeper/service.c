/* Theory of operation: service.h. */
#include "runtime/keeper/service.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/keeper/checkpoints.h"
#include "runtime/keeper/watch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void on_checkpoint_timer(void *context);

struct service *service_of(struct module *m)
{
    if (m->service != NULL)
        return m->service;
    struct service *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    *s = (struct service){.keeper = m->keeper, .module = m, .name = m->name, .base = -1};
    m->service = s;
    return s;
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    service_set_base(s, -1);
    free(s);
}

struct service *service_require(struct keeper *k, const char *name, struct error *err)
{
    struct module *m = modules_find(k, name, err);
    if (m == NULL)
        return NULL;
    return service_of(m);
}

int service_version(struct service *s, uint32_t number, struct service_version *ret,
                    struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct versions *store = modules_store(s->keeper, err);
    struct version v;
    if (store == NULL || store_find(store, a, s->name, number, &v, err) < 0)
        return -1;
    if (v.collected) {
        error_set(err, "store.collected", 0, "version %u of module \"%s\" is no longer kept",
                  number, s->name);
        return error_hint(err, "cloche versions %s %s lists those that are; pin what must stay",
                          s->keeper->id, s->name);
    }
    *ret = (struct service_version){.number = number,
                                    .schema = v.schema,
                                    .schema_min = v.schema_min,
                                    .flags = v.flags,
                                    .status = v.status};
    return 0;
}

/* --- state ---------------------------------------------------------------------------------------
 */

void service_set_base(struct service *s, int snapshot)
{
    cleanup_close(&s->base);
    s->base = snapshot;
    calls_drop_log(s);
}

struct state_expect service_expect(const struct service *s, uint32_t version)
{
    return (struct state_expect){.module = s->name,
                                 .version = version,
                                 .any_schema = true,
                                 .cap_bytes = SERVICE_STATE_CAP,
                                 .arena_bytes = s->module->arena_bytes};
}

struct state_expect service_expect_own(const struct service *s, const struct service_version *v)
{
    struct state_expect e = service_expect(s, v->number);
    e.any_schema = false;
    e.schema = v->schema;
    return e;
}

/** What the last checkpoint on disk holds. */
static void load_base(struct service *s)
{
    const struct state_expect any = service_expect(s, 0);
    struct state_header h;
    struct error err = ERROR_INIT;
    int fd = -1;
    if (s->base >= 0)
        return;
    checkpoints_wait(s->keeper);
    if (state_load(s->keeper->state_fd, STATE_GOOD, &any, &fd, &h, &err) == 0)
        service_set_base(s, fd);
    else if (strcmp(err.code, "state.none") != 0)
        journal_event(s->keeper, "state.lost", err.message);
}

static void checkpoint_later(struct service *s)
{
    if (s->checkpoint_timer == NULL)
        s->checkpoint_timer = loop_after(s->keeper->loop, CHECKPOINT_MS, on_checkpoint_timer, s);
}

static void on_checkpoint(void *context, const struct error *err, int fd)
{
    struct service *s = context;
    struct error failed = ERROR_INIT;
    struct state_header h;
    const struct state_expect expect = service_expect_own(s, &s->active);
    uint64_t now = loop_now_ms();
    s->saving = false;
    s->checkpoint_ms = now + (now - s->saving_ms) * CHECKPOINT_SHARE;
    if (err != NULL || s->reload != NULL || s->probation != NULL ||
        state_check(fd, &expect, &h, &failed) < 0) {
        cleanup_close(&fd);
        return;
    }
    service_set_base(s, fd); /* all that was answered before this answer is in it */
    checkpoint(s->keeper, CHECKPOINT_GOOD, fd, &expect, NULL, NULL);
}

static void checkpoint_now(struct service *s)
{
    uint64_t now = loop_now_ms();
    if (s->saving || s->serving == NULL || s->serving->lost ||
        (service_has_arena(&s->active) && now < s->checkpoint_ms))
        return;
    s->saving = true;
    s->saving_ms = now;
    worker_ask(s->serving, WIRE_SAVE, s->answered, -1,
               service_has_arena(&s->active) ? SERVICE_MOVE_MS : SERVICE_SAVE_MS, on_checkpoint, s);
}

static void on_checkpoint_timer(void *context)
{
    struct service *s = context;
    s->checkpoint_timer = NULL;
    if (s->serving == NULL || s->serving->lost || s->stopping || !service_has_state(&s->active))
        return;
    checkpoint_later(s);
    /* not in a transaction: its rollback begins from the base as it is */
    if (s->log_answered > 0 && s->reload == NULL && s->probation == NULL && !s->paused)
        checkpoint_now(s);
}

/* --- serving -------------------------------------------------------------------------------------
 */

void service_serve(struct service *s, struct worker *w, const struct service_version *v)
{
    s->serving = w;
    s->active = *v;
    s->module->active = v->number;
    s->gave_up = false;
    s->paused = false;
    w->on_lost = service_serving_lost;
    w->on_gone = service_serving_gone;
    if (service_has_state(v))
        checkpoint_later(s);
    calls_dispatch(s);
    service_host_tell(w);
}

void service_answered(struct service *s, struct call *c)
{
    s->answered++;
    s->log_answered++;
    reload_answered(s, c);
    if (!s->logging || s->log_incomplete) {
        call_free(c);
        return;
    }
    call_push(&s->log, c);
    if (s->log.count <= LOG_MAX_CALLS / 2 && s->log.bytes <= LOG_MAX_BYTES / 2)
        return;
    bool catching = s->probation != NULL && reload_catch_up(s);
    if (s->probation == NULL && s->reload == NULL && !s->paused)
        checkpoint_now(s);
    if (s->log.count <= LOG_MAX_CALLS && s->log.bytes <= LOG_MAX_BYTES)
        return;
    if (catching) {
        s->log_full = true;
        return;
    }
    uint64_t answered = s->log_answered;
    calls_drop_log(s);
    s->log_incomplete = true;
    s->log_answered = answered;
}

void service_serving_lost(struct worker *w)
{
    struct service *s = w->service;
    calls_replay_lost(s, w);
    if (reload_worker_lost(s, w))
        return;
    if (s->serving == w)
        s->serving = NULL;
    calls_take_back(s, w, true);
}

void service_serving_gone(struct worker *w)
{
    struct service *s = w->service;
    if (reload_worker_gone(s, w))
        return;
    if (s->node == NULL || s->node->state == NODE_DOWN) {
        service_give_up(s, w->why); /* nobody starts it again */
        return;
    }
    enum supervise_end how = w->stopping ? END_SHUTDOWN : END_ABNORMAL;
    node_is_down(s->node, how, w->why);
}

void service_hung(struct worker *w)
{
    struct service *s = w->service;
    struct error err = ERROR_INIT;
    char why[96];
    const struct call *head = w->inflight.head;
    uint32_t limit = head != NULL ? head->timeout_ms : SERVICE_CALL_MS;
    snprintf(why, sizeof why, "a request took longer than %u ms", limit);
    /* on probation the request is the old version's to answer */
    bool first = s != NULL && s->serving == w && head != NULL && !reload_on_probation(s);
    if (first && head->deaths > 0) {
        service_poison(s, call_pop(&w->inflight));
        calls_flush(s->keeper);
    } else if (first) {
        error_set(&err, "call.timeout", 0, "module \"%s\" took longer than %u ms", s->name, limit);
        error_hint(&err, "give it more time, or look at `cloche logs %s %s`", s->keeper->id,
                   s->name);
        calls_fail(s, call_pop(&w->inflight), &err);
        calls_flush(s->keeper);
    }
    worker_kill(w, why);
}

void service_poison(struct service *s, struct call *c)
{
    struct keeper *k = s->keeper;
    struct error err = ERROR_INIT;
    char name[128];
    mkdirat(k->state_fd, "poison", 0700);
    snprintf(name, sizeof name, "poison/%s-%llu", s->name, (unsigned long long)c->id);
    _cleanup_close_ int fd =
        openat(k->state_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    _cleanup_free_ char *large = NULL;
    const void *data = c->data;
    if (c->fd >= 0 && lseek(c->fd, 0, SEEK_SET) == 0 &&
        io_read_to_end(c->fd, c->size + 1u, &large) >= 0)
        data = large;
    if (fd < 0 || io_write_all(fd, data, c->size) < 0)
        journal_event(k, "poison.unwritable", name);
    journal_event(k, "call.poison", name);
    error_set(&err, "call.poison", 0, "two workers of module \"%s\" died of this request", s->name);
    error_hint(&err, "it is kept in the sandbox's state directory as %s", name);
    calls_fail(s, c, &err);
    reload_poisoned(s);
}

/* --- start and stop ------------------------------------------------------------------------------
 */

static void start_failed(struct service *s, const char *why)
{
    struct worker *w = s->starting;
    s->starting = NULL;
    if (w != NULL)
        worker_drop(w, CLOCHE_STOP_REJECTED);
    snprintf(s->why, sizeof s->why, "%s", why);
    if (s->node != NULL)
        node_is_down(s->node, END_START_FAILED, why);
}

static void on_lost_starting(struct worker *w)
{
    calls_replay_lost(w->service, w);
}

static void came_up(struct service *s)
{
    struct worker *w = s->starting;
    s->starting = NULL;
    s->logging = (s->active.flags & CLOCHE_DETERMINISTIC) != 0 && service_has_state(&s->active);
    service_serve(s, w, &s->active);
    if (s->node != NULL && s->node->state == NODE_STARTING)
        node_is_up(s->node);
    reload_came_up(s);
}

static void on_replayed(void *context, bool ok)
{
    struct service *s = context;
    if (ok)
        came_up(s);
    else
        start_failed(s, s->starting != NULL ? s->starting->why : "died while it replayed");
}

static void on_loaded(void *context, const struct error *err, int fd)
{
    struct service *s = context;
    cleanup_close(&fd);
    if (err != NULL)
        start_failed(s, err->message);
    else if (s->log.head != NULL && !s->log_incomplete)
        calls_replay(s, s->starting, 0, on_replayed, s);
    else
        came_up(s);
}

static void on_started(void *context, const struct error *err, int fd)
{
    struct service *s = context;
    cleanup_close(&fd);
    if (err != NULL)
        start_failed(s, err->message);
    else if (service_has_state(&s->active) && s->base >= 0)
        worker_ask(s->starting, WIRE_LOAD, 0, s->base, SERVICE_LOAD_MS, on_loaded, s);
    else
        on_loaded(s, NULL, -1);
}

static void create_ended(void *context, const struct reload_result *r)
{
    struct service *s = context;
    if (s->serving == NULL && s->node != NULL && s->node->state == NODE_STARTING)
        node_is_down(s->node, END_START_FAILED,
                     r->error != NULL ? r->error->message : "its first version failed");
}

static void create_switched(void *context, const struct reload_result *r)
{
    struct service *s = context;
    (void)r;
    if (s->node != NULL && s->node->state == NODE_STARTING)
        node_is_up(s->node);
}

/** The first version of all, or one that is not GOOD yet: by a transaction like any other. */
static int create(struct service *s, uint32_t number, struct error *err)
{
    const struct reload_request r = {
        .module = s->name, .number = number, .artifact = -1, .kind = "create", .cause = "start"};
    const struct reload_watch w = {
        .switched = create_switched, .ended = create_ended, .context = s};
    return reload_start(s->keeper, &r, &w, err);
}

bool service_fall_back(struct service *s)
{
    struct error err = ERROR_INIT;
    struct reload_request r = {
        .module = s->name, .artifact = -1, .kind = "rollback", .cause = "automatic"};
    const struct reload_watch w = {
        .switched = create_switched, .ended = create_ended, .context = s};
    if (s->node != NULL)
        reload_gave_up(s, s->node->last);
    if (s->fell_back || s->active.number == 0 || s->reload != NULL || s->probation != NULL ||
        s->stopping ||
        history_previous_good(s->keeper->versions, s->name, s->active.number, &r.number, &err) <
            0 ||
        r.number == 0 || r.number == s->active.number)
        return false;
    s->fell_back = true;
    return reload_start(s->keeper, &r, &w, &err) == 0;
}

static void up_later(void *context)
{
    struct service *s = context;
    s->down_timer = NULL;
    if (s->node != NULL && s->node->state == NODE_STARTING)
        node_is_up(s->node);
}

static void down_later(void *context)
{
    struct service *s = context;
    s->down_timer = NULL;
    if (s->node != NULL && s->node->state != NODE_DOWN)
        node_is_down(s->node, END_START_FAILED, s->why);
}

static int begin(struct service *s, struct error *err)
{
    uint32_t number = s->active.number != 0 ? s->active.number : s->module->start_version;
    bool again = s->active.number != 0;
    if (s->serving != NULL) { /* a reload was faster */
        s->down_timer = loop_after(s->keeper->loop, 0, up_later, s);
        return 0;
    }
    if (reload_takes_over(s)) /* and says when it is up, or that it is not */
        return 0;
    if (number == 0) { /* nothing to serve yet: up, and waiting for its first version */
        s->down_timer = loop_after(s->keeper->loop, 0, up_later, s);
        return 0;
    }
    if (service_version(s, number, &s->active, err) < 0)
        return -1;
    if (!again && s->active.status != VERSION_GOOD) {
        s->active = (struct service_version){0};
        return create(s, number, err);
    }
    load_base(s);
    s->starting = worker_open(s, number, 0, on_started, s, err);
    if (s->starting == NULL)
        return -1;
    s->starting->on_lost = on_lost_starting;
    return 0;
}

void service_start(struct service *s)
{
    struct error err = ERROR_INIT;
    s->stopping = s->gave_up = false;
    if (begin(s, &err) == 0)
        return;
    /* tried again: what it is BAD for is said already */
    bool again = strcmp(err.code, "reload.bad_version") == 0 && s->node->last[0] != '\0';
    snprintf(s->why, sizeof s->why, "%.199s", again ? s->node->last : err.message);
    s->down_timer = loop_after(s->keeper->loop, 0, down_later, s);
}

static void on_last_saved(void *context, const struct error *err)
{
    struct service *s = context;
    if (err != NULL)
        journal_event(s->keeper, "checkpoint.failed", err->message);
    if (s->serving != NULL)
        worker_stop(s->serving, CLOCHE_STOP_SHUTDOWN, SERVICE_STOP_MS);
}

static void on_last_save(void *context, const struct error *err, int fd)
{
    struct service *s = context;
    const struct state_expect expect = service_expect(s, s->active.number);
    if (err != NULL) {
        cleanup_close(&fd);
        on_last_saved(s, NULL);
        return;
    }
    checkpoint(s->keeper, CHECKPOINT_LAST, fd, &expect, on_last_saved, s);
    service_set_base(s, fd);
}

void service_stop(struct service *s, uint64_t grace_ms)
{
    s->stopping = true;
    reload_stop(s);
    if (s->starting != NULL) {
        struct worker *w = s->starting;
        s->starting = NULL;
        worker_drop(w, CLOCHE_STOP_SHUTDOWN);
    }
    if (s->serving == NULL || s->serving->lost) {
        if (s->down_timer == NULL && s->serving == NULL)
            s->down_timer = loop_after(s->keeper->loop, 0, down_later, s);
        return;
    }
    worker_hold(s->serving, true); /* nothing is answered that the last save does not hold */
    if (service_has_state(&s->active))
        worker_ask(s->serving, WIRE_SAVE, s->answered, -1, grace_ms, on_last_save, s);
    else
        worker_stop(s->serving, CLOCHE_STOP_SHUTDOWN, grace_ms);
}

void service_give_up(struct service *s, const char *why)
{
    struct error err = ERROR_INIT;
    snprintf(s->why, sizeof s->why, "%.199s", why);
    s->gave_up = true;
    reload_gave_up(s, why);
    error_set(&err, "module.failed", 0, "module \"%s\" has failed: %s", s->name, s->why);
    error_hint(&err, "cloche logs %s %s", s->keeper->id, s->name);
    calls_refuse(s, &err);
}

void service_detach(struct service *s)
{
    struct error err = ERROR_INIT;
    struct keeper *k = s->keeper;
    reload_detach(s);
    checkpoints_forget(k, s);
    s->node = NULL;
    s->serving = s->starting = NULL;
    s->paused = s->saving = false;
    if (s->checkpoint_timer != NULL)
        loop_cancel(k->loop, s->checkpoint_timer);
    if (s->down_timer != NULL)
        loop_cancel(k->loop, s->down_timer);
    s->checkpoint_timer = s->down_timer = NULL;
    error_set(&err, "sandbox.not_running", 0, "sandbox \"%s\" ended meanwhile", k->id);
    error_hint(&err, "cloche restart %s", k->id);
    calls_refuse(s, &err);
}

/* --- what the module asks of its host ------------------------------------------------------------
 */

bool service_event(struct worker *w, const struct wire_record *r, const void *payload)
{
    return service_ask_host(w, r, payload);
}

cJSON *service_json(const struct service *s)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", s->name);
    cJSON_AddNumberToObject(o, "active", s->serving != NULL ? s->active.number : 0);
    cJSON_AddStringToObject(o, "state",
                            s->gave_up           ? "failed"
                            : s->serving == NULL ? "down"
                            : s->reload != NULL  ? "reloading"
                                                 : "serving");
    cJSON_AddNumberToObject(o, "answered", (double)s->answered);
    cJSON_AddNumberToObject(o, "queued", (double)s->queue.count);
    cJSON_AddNumberToObject(o, "in_hand",
                            s->serving != NULL ? (double)s->serving->inflight.count : 0);
    cJSON_AddItemToObject(o, "attempt", reload_json(s));
    cJSON *watch = watch_json(s->module);
    if (watch != NULL)
        cJSON_AddItemToObject(o, "watch", watch);
    return o;
}
