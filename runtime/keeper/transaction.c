/* What all parts of a reload share: its steps as others see them, and its ends. Whatever fails ends
 * in one of these:
 *
 *   refuse   no version came of it: REFUSED                       M never noticed
 *   bad      N is not fit: BAD                                    M serves, un-paused if need be
 *   abort    nothing is wrong with N: ABORTED                     M serves, un-paused if need be */
#include "runtime/keeper/transaction.h"

#include "base/cleanup.h"
#include "runtime/keeper/build.h"
#include "runtime/keeper/checkpoints.h"
#include "runtime/keeper/fault.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t transaction_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const char *transaction_step_name(int step)
{
    static const char *const names[] = {
        [1] = "slot",  [2] = "snapshot", [3] = "compile", [4] = "verify",     [5] = "publish",
        [6] = "start", [7] = "rehearse", [8] = "intent",  [9] = "drain",      [10] = "save",
        [11] = "load", [12] = "switch",  [13] = "record", [14] = "probation", [15] = "confirm"};
    return names[step];
}

void transaction_step(struct reload *t, int step, const char *text)
{
    t->step = step;
    fault_point(step, 0);
    if (t->watch.step != NULL)
        t->watch.step(t->watch.context, step, text);
}

/* --- ends ----------------------------------------------------------------------------------------
 */

struct reload_result transaction_result(const struct reload *t, enum attempt_state state,
                                        const struct error *err)
{
    return (struct reload_result){.module = t->s->name,
                                  .attempt = t->attempt,
                                  .state = state,
                                  .step = t->step,
                                  .tried = t->to.number,
                                  .active = t->s->serving != NULL ? t->s->active.number : 0,
                                  .pause_us = t->pause_us,
                                  .lost_updates = t->lost_updates,
                                  .replayed = t->replayed,
                                  .untried = t->untried,
                                  .error = err};
}

void transaction_drop(struct worker **w)
{
    if (*w != NULL)
        worker_drop(*w, CLOCHE_STOP_REJECTED);
    *w = NULL;
}

void transaction_cancel(struct reload *t, struct loop_timer **timer)
{
    if (*timer != NULL)
        loop_cancel(t->k->loop, *timer);
    *timer = NULL;
}

void transaction_release(struct reload *t)
{
    build_cancel(t->build);
    t->build = NULL;
    transaction_drop(&t->next);
    transaction_drop(&t->rehearsal);
    transaction_drop(&t->migrator);
    transaction_cancel(t, &t->timer);
    transaction_cancel(t, &t->drain_timer);
    transaction_cancel(t, &t->health_timer);
    cleanup_close(&t->live);
    cleanup_close(&t->given);
    cleanup_close(&t->kept);
    cleanup_close(&t->snapshot);
    cleanup_close(&t->confirmed);
    t->live = t->given = t->snapshot = t->kept = t->confirmed = -1;
    checkpoints_forget(t->k, t);
}

static cJSON *detail_of(const struct reload *t, const struct error *err)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "step", t->step);
    uint64_t total_us = (transaction_now_ns() - t->began_ns) / 1000;
    cJSON_AddNumberToObject(o, "total_us", (double)total_us);
    if (t->pause_us > 0)
        cJSON_AddNumberToObject(o, "pause_us", (double)t->pause_us);
    if (t->rolling) {
        cJSON_AddNumberToObject(o, "lost_updates", (double)t->lost_updates);
        cJSON_AddNumberToObject(o, "replayed", (double)t->replayed);
        cJSON_AddNumberToObject(o, "replies_differ", (double)t->differs);
    }
    if (err != NULL)
        cJSON_AddStringToObject(o, "message", err->message);
    return o;
}

static bool is_stored(void *context, uint32_t version)
{
    struct service_version v;
    return service_version(context, version, &v, NULL) == 0;
}

void transaction_collect(struct service *s)
{
    const struct reload *r = s->reload, *p = s->probation;
    const uint32_t in_use[] = {s->active.number, r != NULL ? r->to.number : 0,
                               p != NULL ? p->to.number : 0, p != NULL ? p->from.number : 0};
    const struct store_keep keep = {
        .in_use = in_use, .in_use_count = sizeof in_use / sizeof *in_use, .total = s->module->keep};
    struct keeper *k = s->keeper;
    struct error err = ERROR_INIT;
    size_t removed;
    if (store_collect(k->versions, s->name, &keep, &removed, &err) < 0)
        journal_event(k, "gc.failed", err.message);
    else if (removed > 0)
        state_prune(k->state_fd, s->name, is_stored, s, NULL);
}

void transaction_tell_confirmer(struct reload *t, const struct reload_result *r)
{
    const struct reload_watch w = t->confirmer;
    t->confirmer = (struct reload_watch){0};
    if (w.ended != NULL)
        w.ended(w.context, r);
}

int transaction_record(struct reload *t, enum attempt_state state, const char *reason,
                       enum version_status verdict, const struct error *why, struct error *err)
{
    cJSON *o = detail_of(t, why);
    _cleanup_free_ char *detail = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    const struct attempt_end end = {
        .state = state, .reason = reason, .detail = detail, .verdict = verdict};
    t->recorded = history_end(t->k->versions, t->attempt, &end, err) == 0;
    return t->recorded ? 0 : -1;
}

void transaction_end(struct reload *t, enum attempt_state state, const char *reason,
                     enum version_status verdict, const struct error *err)
{
    struct service *s = t->s;
    struct error failed = ERROR_INIT;
    if (!t->recorded && transaction_record(t, state, reason, verdict, err, &failed) < 0)
        journal_event(t->k, "history.failed", failed.message);
    transaction_release(t);
    if (!t->owed)
        worker_forget(t->k, t);
    if (s->reload == t)
        s->reload = NULL;
    if (s->probation == t)
        s->probation = NULL;
    struct reload_result result = transaction_result(t, state, err);
    char event[256], version[24] = "";
    if (t->to.number != 0)
        snprintf(version, sizeof version, "version %u ", t->to.number);
    snprintf(event, sizeof event, "%s attempt %llu: %s%s%s%.120s", s->name,
             (unsigned long long)t->attempt, version, attempt_state_name(state),
             reason != NULL ? ": " : "", reason != NULL ? reason : "");
    journal_event(t->k, "reload.ended", event);
    if (t->watch.ended != NULL)
        t->watch.ended(t->watch.context, &result);
    transaction_tell_confirmer(t, &result);
    if (state == ATTEMPT_BAD || state == ATTEMPT_ROLLED_BACK || state == ATTEMPT_ABORTED)
        transaction_collect(s); /* who tries again and again is never confirmed */
    t->watch = (struct reload_watch){0};
    t->ended = true;
    if (!t->owed)
        free(t);
}

void transaction_resume(struct service *s)
{
    if (s->serving != NULL && !s->serving->lost) {
        calls_take_back(s, s->serving, false);
        worker_hold(s->serving, false);
    }
    s->paused = false;
    calls_dispatch(s);
    if (s->serving != NULL)
        service_host_tell(s->serving);
}

void transaction_fail(struct reload *t, enum attempt_state state, const char *reason,
                      const struct error *why)
{
    struct error err = *why;
    error_wrap(&err, "step %d (%s) of module \"%s\"", t->step, transaction_step_name(t->step),
               t->s->name);
    if (t->s->serving != NULL && !t->s->serving->lost)
        error_append(&err, "version %u still serves", t->s->active.number);
    else if (t->s->active.number != 0)
        error_append(&err, "version %u comes up again", t->s->active.number);
    else
        error_append(&err, "nothing serves");
    if (strcmp(why->code, "store.full") == 0 || strcmp(why->code, "store.io") == 0 ||
        strcmp(why->code, "store.unwritable") == 0)
        error_hint(&err, "make room on the disk of CLOCHE_ROOT");
    if (t->step == 3 || t->step >= 6)
        error_hint(&err, "cloche logs %s %s%s", t->k->id, t->s->name, t->step == 3 ? ".build" : "");
    if (t->step >= 9 && !t->owed)
        transaction_resume(t->s);
    struct service *s = t->s;
    bool took_over = t->took_over;
    struct reload_group *group = group_leave(t);
    const char *module = t->s->name;
    transaction_end(t, state, reason, VERSION_PUBLISHED, &err);
    group_fail(group, module);
    /* it was down before: its supervisor goes on where it was interrupted */
    if (took_over && s->serving == NULL && s->node != NULL && s->node->state == NODE_STARTING)
        node_is_down(s->node, END_ABNORMAL, "what was to replace it failed");
}

void transaction_refuse(struct reload *t, const struct error *why)
{
    transaction_fail(t, ATTEMPT_REFUSED, why->code, why);
}

void transaction_bad(struct reload *t, const struct error *why)
{
    char reason[64];
    const char *code = strchr(why->code, '.');
    if (strcmp(why->code, "worker.start") == 0) { /* no byte of the version ran */
        transaction_abort(t, "start", why);
        return;
    }
    bool died = strcmp(why->code, "worker.died") == 0;
    /* who died says first where: worker.c */
    if (strcmp(why->code, "module.migrate") == 0 ||
        (died && strncmp(why->message, "migrate", strlen("migrate")) == 0))
        snprintf(reason, sizeof reason, "migrate %u->%u", t->from.schema, t->to.schema);
    else if (died)
        snprintf(reason, sizeof reason, "%s",
                 t->step == 6   ? "init"
                 : t->step == 7 ? "rehearsal"
                                : "load");
    else
        snprintf(reason, sizeof reason, "%s", code != NULL ? code + 1 : why->code);
    /* no way down is nobody's fault: the version served before */
    if (strcmp(t->r.kind, "rollback") == 0) {
        struct error err = *why;
        if (strcmp(why->code, "module.migrate") == 0)
            error_hint(&err, "choose what becomes of the state: --state migrate|snapshot|empty");
        transaction_fail(t, ATTEMPT_ABORTED, reason, &err);
        return;
    }
    struct error err = *why;
    if (strcmp(why->code, "module.migrate") == 0)
        error_hint(&err, "let its migrate do that, or begin anew with --state empty");
    transaction_fail(t, ATTEMPT_BAD, reason, &err);
}

void transaction_abort(struct reload *t, const char *reason, const struct error *why)
{
    struct error err = *why;
    if (strcmp(reason, "save") == 0 && strcmp(why->code, "worker.died") != 0)
        error_hint(&err, "cloche logs %s %s; without its state: --state empty", t->k->id,
                   t->s->name);
    transaction_fail(t, ATTEMPT_ABORTED, reason, &err);
}

void transaction_abort_drain(struct reload *t)
{
    struct error err = ERROR_INIT;
    error_set(&err, "reload.drain", 0, "version %u has a request in hand for longer than %d ms",
              t->from.number, SERVICE_DRAIN_MS);
    error_hint(&err, "try again, or pass --force-drain to take the request from it");
    transaction_abort(t, "drain", &err);
}

bool transaction_missing(struct reload *t, const struct worker *w)
{
    struct error err = ERROR_INIT;
    if (w != NULL)
        return false;
    error_set(&err, "worker.died", 0, "version %u died", t->to.number);
    transaction_bad(t, &err);
    return true;
}
