/* The transaction; its table is in reload.h. Steps 6 and 7 are in rehearsal.c, 13
 * to 15 in probation.c, the way back in rollback.c, how it ends when a step fails in transaction.c.
 *
 * Each step is a function that asks something of a worker, the disk or a builder, and names the
 * function that goes on from the answer. */
#include "runtime/keeper/reload.h"

#include "base/cleanup.h"
#include "runtime/keeper/affinity.h"
#include "runtime/keeper/build.h"
#include "runtime/keeper/fault.h"
#include "runtime/keeper/transaction.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void step_9(struct reload *t);
static void step_11(struct reload *t);
static void step_12(struct reload *t);

/* --- 1: the slot ---------------------------------------------------------------------------------
 */

static int check(struct keeper *k, const struct reload_request *r, struct error *err)
{
    if (k->sandbox == NULL || k->status == STATUS_STOPPING) {
        error_set(err, "sandbox.not_running", 0, "sandbox \"%s\" is %s", k->id,
                  status_name(k->status));
        return error_hint(err, "cloche restart %s", k->id);
    }
    if (k->status == STATUS_PAUSED) {
        error_set(err, "sandbox.paused", 0, "sandbox \"%s\" is paused", k->id);
        return error_hint(err, "cloche resume %s", k->id);
    }
    if (r->number == 0 && r->artifact < 0 && r->source == NULL) {
        struct module *m = modules_find(k, r->module, err);
        if (m == NULL)
            return -1;
        if (m->source == NULL) {
            error_set(err, "reload.no_source", 0, "no source is known of module \"%s\"", r->module);
            return error_hint(err, "cloche reload %s %s=SOURCE", k->id, r->module);
        }
    }
    return 0;
}

static int busy(const struct reload *t, struct error *err)
{
    error_set(err, "reload.busy", 0, "module \"%s\" is busy: attempt %llu, step %d (%s)",
              t->s->name, (unsigned long long)t->attempt, t->step, transaction_step_name(t->step));
    return error_hint(err, "wait for it (--wait), or pass --supersede");
}

static void on_begin(void *context);
static void on_built(void *context, const struct build_result *r);

int reload_start(struct keeper *k, const struct reload_request *r, const struct reload_watch *w,
                 struct error *err)
{
    if (check(k, r, err) < 0 || modules_store(k, err) == NULL)
        return -1;
    if (r->number == 0 && modules_add(k, r->module, err) == NULL)
        return -1;
    struct service *s = service_require(k, r->module, err);
    if (s == NULL)
        return -1;
    if (s->node == NULL && tree_check_room(k->tree, err) < 0)
        return -1;
    struct service_version to = {0};
    if (r->number != 0 && service_version(s, r->number, &to, err) < 0)
        return -1;
    if (strcmp(r->kind, "rollback") == 0 && s->active.number == r->number && s->serving != NULL)
        return error_set(err, "reload.active", 0, "version %u of module \"%s\" serves already",
                         r->number, s->name);
    if (to.status == VERSION_BAD || to.status == VERSION_SUSPECT) {
        error_set(err, "reload.bad_version", 0, "version %u of module \"%s\" is %s", to.number,
                  s->name, version_status_name(to.status));
        return error_hint(err, "cloche history %s %s says why; choose another one", k->id, s->name);
    }
    if (s->reload != NULL && (!r->supersede || s->reload->step >= 8))
        return busy(s->reload, err);
    if (s->probation != NULL && s->probation->rolling)
        return busy(s->probation, err);
    struct reload *t = calloc(1, sizeof *t);
    if (t == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot begin a reload");
    if (s->reload != NULL) {
        struct error why = ERROR_INIT;
        error_set(&why, "reload.superseded", 0, "a newer attempt took over");
        transaction_fail(s->reload, ATTEMPT_SUPERSEDED, NULL, &why);
    }
    *t = (struct reload){.s = s,
                         .k = k,
                         .r = *r,
                         .watch = *w,
                         .to = to,
                         .live = -1,
                         .given = -1,
                         .snapshot = -1,
                         .kept = -1,
                         .confirmed = -1,
                         .began_ns = transaction_now_ns()};
    const struct attempt_start start = {.module = s->name,
                                        .kind = r->kind,
                                        .cause = r->cause,
                                        .from = s->active.number,
                                        .to = r->number};
    t->r.module = s->name;
    if (r->number != 0) /* they load while the row is written */
        rehearsal_ahead(t);
    if (history_start(k->versions, &start, &t->attempt, err) < 0) {
        rehearsal_forget(t);
        free(t);
        return -1;
    }
    s->reload = t;
    transaction_step(t, 1, "slot");
    if (r->number != 0) {
        if (t->ahead)
            rehearsal_start(t);
        else /* it ends now, which is not told from here */
            t->timer = loop_after(k->loop, 0, on_begin, t);
        return 0;
    }
    /* 2 to 5 */
    struct build_options o;
    module_build_options(s->module, &o);
    if (r->source != NULL)
        o.source.path = r->source;
    if (r->artifact >= 0)
        o.source = (struct build_source){
            .path = r->artifact_name != NULL ? r->artifact_name : "module.so", .fd = r->artifact};
    o.attempt = t->attempt;
    o.same_source_stop = strcmp(r->cause, "watch") == 0;
    t->r.artifact = -1;
    t->r.source = t->r.artifact_name = NULL;
    t->r.ahead = NULL;
    if (r->ahead != NULL) {
        transaction_step(t, 2, "snapshot");
        t->build = r->ahead;
        build_take(t->build, t->attempt, on_built, t);
        return 0;
    }
    if (reload_build(t, &o, err) == 0)
        return 0;
    s->reload = NULL;
    const struct attempt_end end = {.state = ATTEMPT_REFUSED, .reason = err->code};
    history_end(k->versions, t->attempt, &end, NULL);
    free(t);
    return -1;
}

static void on_begin(void *context)
{
    struct reload *t = context;
    t->timer = NULL;
    rehearsal_start(t);
}

void reload_forget(struct keeper *k, void *context)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        struct service *s = m->service;
        if (s != NULL && s->reload != NULL && s->reload->watch.context == context)
            s->reload->watch = (struct reload_watch){0};
        if (s != NULL && s->probation != NULL && s->probation->watch.context == context)
            s->probation->watch = (struct reload_watch){0};
        if (s != NULL && s->probation != NULL && s->probation->confirmer.context == context)
            s->probation->confirmer = (struct reload_watch){0};
    }
}

/* --- 2 to 5: build -------------------------------------------------------------------------------
 */

static void on_built(void *context, const struct build_result *r)
{
    static const struct {
        const char *name;
        int step;
    } steps[] = {{"snapshot", 2}, {"compile", 3}, {"verify", 4}, {"publish", 5}};
    struct reload *t = context;
    struct error err = r->error;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (strcmp(r->step, steps[i].name) == 0 && t->step != steps[i].step)
            transaction_step(t, steps[i].step, steps[i].name);
    }
    if (r->status == BUILD_STEP)
        return;
    t->build = NULL;
    t->to.number = r->number;
    if (r->status == BUILD_FAILED) {
        transaction_refuse(t, &err);
    } else if (r->status == BUILD_UNCHANGED && r->number == t->s->active.number) {
        group_unchanged(t);
        transaction_end(t, ATTEMPT_UNCHANGED, NULL, VERSION_PUBLISHED, NULL);
    } else if (service_version(t->s, r->number, &t->to, &err) < 0) {
        transaction_refuse(t, &err);
    } else if (t->to.status == VERSION_BAD || t->to.status == VERSION_SUSPECT) {
        error_set(&err, "reload.bad_version", 0, "these are the bytes of version %u, which is %s",
                  r->number, version_status_name(t->to.status));
        error_hint(&err, "cloche history %s %s says why", t->k->id, t->s->name);
        transaction_refuse(t, &err);
    } else if (t->s->probation != NULL && t->s->probation->rolling) {
        reload_abort(t->s, PROBATION_FAILED);
    } else { /* unchanged, too, when it was published and never served */
        rehearsal_start(t);
    }
}

int reload_build(struct reload *t, const struct build_options *o, struct error *err)
{
    transaction_step(t, 2, "snapshot");
    t->build = build_start(t->k, t->s->name, o, on_built, t, err);
    return t->build == NULL ? -1 : 0;
}

/* --- 8: the row INTENT ---------------------------------------------------------------------------
 */

void transaction_prepared(struct reload *t)
{
    if (!transaction_missing(t, t->next) && !group_prepared(t))
        transaction_quiesce(t);
}

void transaction_quiesce(struct reload *t)
{
    struct error err = ERROR_INIT;
    transaction_step(t, 8, "intent");
    if (history_note(t->k->versions, t->attempt, ATTEMPT_INTENT, t->to.number, NULL, &err) < 0)
        transaction_abort(t, "disk", &err);
    else
        step_9(t);
}

/* --- 9, 10: quiesce and save ---------------------------------------------------------------------
 */

static void on_saved(void *context, const struct error *err, int fd);

static void on_drain_timer(void *context)
{
    struct reload *t = context;
    struct service *s = t->s;
    t->drain_timer = NULL;
    if (s->serving != NULL && worker_at_ask(s->serving)) { /* it saves, which has its own time */
        t->drain_timer = loop_after(t->k->loop, SERVICE_DRAIN_MS, on_drain_timer, t);
        return;
    }
    if (t->r.force_drain && s->serving != NULL) {
        t->forced = true;
        worker_kill(s->serving, "it did not drain, and was made to");
        return;
    }
    /* M owes an answer: it goes on when that has come */
    t->owed = true;
    transaction_abort_drain(t);
}

/** What follows is done by one after the other. */
static void gather(struct reload *t)
{
    if (((t->from.flags | t->to.flags) & CLOCHE_THREADS) != 0)
        return;
    affinity_gather(t->k, t->s->serving);
    affinity_gather(t->k, t->next);
    affinity_gather(t->k, t->migrator);
}

static void step_9(struct reload *t)
{
    struct service *s = t->s;
    struct worker *m = s->serving;
    gather(t);
    transaction_step(t, 9, "quiesce");
    t->paused_ns = transaction_now_ns();
    s->paused = true;
    if (m == NULL) { /* it is down: N begins from the last checkpoint, and answers the log */
        t->forced = t->took_over = true;
        if (s->starting != NULL)
            transaction_drop(&s->starting);
        t->snapshot = s->base >= 0 ? fcntl(s->base, F_DUPFD_CLOEXEC, 3) : -1;
        step_11(t);
        return;
    }
    /* M's state is kept for the way back, also when N does not get it */
    bool save = service_has_state(&t->from);
    if (m->inflight.head == NULL && !save) {
        step_11(t);
        return;
    }
    if (m->inflight.head != NULL)
        worker_hold(m, true);
    t->drain_timer = loop_after(t->k->loop, SERVICE_DRAIN_MS, on_drain_timer, t);
    int type = service_has_arena(&t->from) ? WIRE_GIVE : save ? WIRE_SAVE : WIRE_PING;
    worker_ask(m, type, s->answered, -1, SERVICE_SAVE_MS, on_saved, t);
}

static void on_saved(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    struct service *s = t->s;
    struct error why = ERROR_INIT;
    struct state_header h;
    struct state_expect expect = service_expect_own(s, &t->from);
    if (t->ended) { /* aborted for want of this answer */
        cleanup_close(&fd);
        if (s->reload == NULL || s->reload->step < 9)
            transaction_resume(s);
        free(t);
        return;
    }
    transaction_cancel(t, &t->drain_timer);
    transaction_step(t, 10, "save");
    if (t->forced) { /* killed by us; what it had in hand has been taken back */
        t->snapshot = t->hand_over && s->base >= 0 ? fcntl(s->base, F_DUPFD_CLOEXEC, 3) : -1;
        if (!s->logging || s->log_incomplete)
            t->lost_updates = s->log_answered;
        if (t->hand_over && t->snapshot < 0)
            t->hand_over = false;
        step_11(t);
        return;
    }
    expect.given = true;
    if (err == NULL && service_has_state(&t->from) && state_check(fd, &expect, &h, &why) < 0)
        err = &why;
    if (err != NULL)
        cleanup_close(&fd);
    t->unsaved = err != NULL && !t->hand_over && s->serving != NULL && !s->serving->lost;
    if (err != NULL && !t->unsaved) {
        transaction_abort(t, "save", err);
        return;
    }
    calls_take_back(s, s->serving, false);
    if (t->unsaved || !service_has_state(&t->from)) {
        cleanup_close(&fd);
        step_11(t);
        return;
    }
    t->snapshot = fd;
    expect.given = false;
    t->unsealed = h.arena_pages != 0 && state_check(fd, &expect, &h, NULL) < 0;
    step_11(t);
}

/* --- 11: load ------------------------------------------------------------------------------------
 */

/** N has answered what M had answered since the checkpoint. */
static void on_caught_up(void *context, bool ok)
{
    struct reload *t = context;
    if (!ok)
        transaction_missing(t, NULL);
    else
        step_12(t);
}

static void on_loaded(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    cleanup_close(&fd);
    if (err != NULL)
        transaction_bad(t, err);
    else if (t->forced && t->s->log.head != NULL && !t->s->log_incomplete)
        calls_replay(t->s, t->next, 0, on_caught_up, t);
    else
        step_12(t);
}

static void on_migrated(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    _cleanup_close_ int migrated = fd;
    if (err != NULL)
        transaction_bad(t, err);
    else if (!transaction_missing(t, t->next))
        worker_ask(t->next, WIRE_LOAD, 0, migrated, SERVICE_LOAD_MS, on_loaded, t);
}

static void step_11(struct reload *t)
{
    transaction_step(t, 11, "load");
    if (transaction_missing(t, t->next))
        return;
    if (!t->hand_over)
        step_12(t);
    else if (!t->down)
        worker_ask(t->next, WIRE_LOAD, 0, t->snapshot, SERVICE_LOAD_MS, on_loaded, t);
    else if (!transaction_missing(t, t->migrator))
        worker_ask(t->migrator, WIRE_MIGRATE, t->to.schema, t->snapshot, SERVICE_LOAD_MS,
                   on_migrated, t);
}

/* --- 12: switch ----------------------------------------------------------------------------------
 */

static void step_12(struct reload *t)
{
    if (t->next == NULL || t->next->lost)
        transaction_missing(t, NULL);
    else if (!group_loaded(t))
        transaction_switch(t);
}

void transaction_switch(struct reload *t)
{
    struct service *s = t->s;
    struct error err = ERROR_INIT;
    struct reload *before = s->probation;
    /* whose pages and calls are given back when N serves */
    _cleanup_close_ int old_base = -1;
    struct call_list old_log = {0};
    t->group = NULL;
    transaction_step(t, 12, "switch");
    if (before != NULL && (before->from.number == 0 || strcmp(before->r.cause, "automatic") == 0)) {
        /* on probation, but there was none before it, or one that was given up: M is what can be
         * gone back to */
        transaction_end(before, ATTEMPT_SUPERSEDED, NULL, VERSION_PUBLISHED, NULL);
        before = NULL;
    }
    t->parked = s->serving;
    s->reload = NULL;
    s->probation = t;
    if (before != NULL) {
        probation_hand_on(before, t);
    } else if (t->unsealed || t->unsaved) {
        uint64_t requests = s->log_answered;
        calls_drop_log(s);
        transaction_fall_behind(t, requests);
        t->given = TAKE_FD(t->snapshot);
        s->logging = (t->from.flags & CLOCHE_DETERMINISTIC) != 0;
    } else if (!t->forced || s->base < 0) { /* else base and log stay what they are */
        old_base = TAKE_FD(s->base);
        old_log = s->log;
        s->log = (struct call_list){0};
        service_set_base(s, t->snapshot);
        t->snapshot = -1;
        s->logging = service_has_state(&t->from) && (t->from.flags & CLOCHE_DETERMINISTIC) != 0;
    }
    struct worker *next = t->next;
    t->next = NULL;
    service_serve(s, next, &t->to);
    if (s->node == NULL && tree_add_service(t->k->tree, s, &err) < 0)
        journal_event(t->k, "child.failed", err.message);
    if (s->node != NULL && s->node->state == NODE_STARTING)
        node_is_up(s->node);
    else if (s->node != NULL && s->node->state == NODE_DOWN)
        node_mended(s->node);
    t->pause_us = (transaction_now_ns() - t->paused_ns) / 1000;
    probation_begin(t);
    affinity_part(t->k);
    for (struct call *c; (c = call_pop(&old_log)) != NULL;)
        call_free(c);
}

/* --- for service.c -------------------------------------------------------------------------------
 */

bool reload_waits(const struct service *s)
{
    return s->reload != NULL && s->reload->step >= 6;
}

void reload_abort(struct service *s, const char *reason)
{
    struct reload *t = s->reload;
    struct error err = ERROR_INIT;
    error_set(&err, "reload.aborted", 0, "%s", reason);
    if (t != NULL)
        transaction_abort(t, reason, &err);
}

cJSON *reload_json(const struct service *s)
{
    const struct reload *t = s->reload != NULL ? s->reload : s->probation;
    if (t == NULL)
        return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "attempt", (double)t->attempt);
    cJSON_AddNumberToObject(o, "step", t->step);
    cJSON_AddNumberToObject(o, "version", t->to.number);
    return o;
}
