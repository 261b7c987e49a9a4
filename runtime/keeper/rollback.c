/* The way back from a probation: M gets the queue again.
 *
 *   N dies or is unfit    M is un-parked, answers the log again when it is DETERMINISTIC, then gets
 *                         what N had in hand, the request that N died of alone
 *     M answers that one  ROLLED_BACK, N is BAD
 *     M dies of it, too   it is poison: answered with an error and kept; N is SUSPECT; M is brought
 *                         up again from S and the log
 *
 * The row of a rollback is written when N is reaped with all that it forked, and what became of
 * that request is known. */
#include "runtime/keeper/transaction.h"

#include <stdio.h>
#include <string.h>

static void back(struct reload *t)
{
    t->back = true;
    if (t->given < 0) /* else when that is known */
        probation_give_up_log(t);
    t->replayed = t->s->replayed;
    t->differs = t->s->replay_differs;
    rollback_settle(t);
}

static void on_replayed(void *context, bool ok)
{
    struct reload *t = context;
    struct service *s = t->s;
    struct worker *m = s->starting;
    s->starting = NULL;
    if (!ok || m == NULL || m->lost) { /* it died over the replay: from S, by its supervisor */
        if (m != NULL)
            worker_drop(m, CLOCHE_STOP_REJECTED);
        probation_give_up_log(t);
        if (s->node != NULL)
            node_is_down(s->node, END_ABNORMAL, "died while it replayed");
        return;
    }
    service_serve(s, m, &t->from);
    back(t);
}

static void on_unparked_lost(struct worker *w)
{
    calls_replay_lost(w->service, w);
}

static void roll_back(struct reload *t, struct worker *w)
{
    struct service *s = t->s;
    t->rolling = true;
    /* what M still answers is this way's from here on, and holds nobody back */
    t->catching = s->log_full = false;
    t->losing = w;
    w->owner = t;
    transaction_cancel(t, &t->timer);
    transaction_cancel(t, &t->health_timer);
    s->serving = NULL;
    const struct call *suspect = calls_take_back(s, w, true);
    t->redispatched = suspect != NULL ? suspect->id : 0;
    if (s->reload != NULL && s->reload->step >= 6)
        reload_abort(s, PROBATION_FAILED);
    s->paused = false;
    s->active = t->from;
    s->module->active = t->from.number;
    s->replayed = s->replay_differs = 0;
    struct worker *m = t->parked;
    probation_seal(t); /* before it goes on */
    if (m == NULL || m->lost)
        probation_give_up_log(t);
    bool complete = s->logging && !s->log_incomplete;
    if (service_has_state(&t->from) && !complete)
        t->lost_updates = s->log_answered;

    t->parked = NULL;
    if (m != NULL && !m->lost) {
        m->on_lost = on_unparked_lost;
        m->on_gone = service_serving_gone;
        m->owner = NULL;
        worker_hold(m, false);
        s->starting = m;
        if (s->replay_worker == m)
            calls_replay_rest(s, on_replayed, t);
        else if (complete && s->log.count > s->log_applied)
            calls_replay(s, m, s->log_applied, on_replayed, t);
        else
            on_replayed(t, true);
        return;
    }
    if (t->from.number == 0) { /* it was the first of all: nothing serves */
        struct error err = ERROR_INIT;
        s->module->start_version = 0;
        error_set(&err, "module.none", 0,
                  "version %u of module \"%s\" failed, and there is no other", t->to.number,
                  s->name);
        error_hint(&err, "cloche history %s %s says why", s->keeper->id, s->name);
        calls_refuse(s, &err);
        t->redispatched = 0;
        t->back = true;
        return; /* settled when N is reaped */
    }
    if (s->node != NULL)
        node_is_down(s->node, END_ABNORMAL, "the parked version is gone, too");
}

/** Is all known that the row says? */
void rollback_settle(struct reload *t)
{
    struct error err = ERROR_INIT;
    struct service *s = t->s;
    if (!t->back || !t->rolling || t->given >= 0 || t->losing != NULL || t->redispatched != 0)
        return;
    probation_record(t);
    t->step = 14;
    error_set(&err, "reload.rolled_back", 0, "step 14 (probation) of module \"%s\": version %u: %s",
              s->name, t->to.number, t->why);
    if (s->active.number != 0)
        error_append(&err, "version %u serves", s->active.number);
    else
        error_append(&err, "nothing serves");
    if (t->poisoned)
        error_append(&err, "the request was poison for both");
    error_hint(&err, "cloche logs %s %s", t->k->id, s->name);
    if (s->active.number != 0 &&
        store_set_current(t->k->versions, s->name, s->active.number, NULL) < 0)
        journal_event(t->k, "reload.unrecorded", "the link of what serves");
    transaction_end(t, ATTEMPT_ROLLED_BACK, t->poisoned ? "poison" : t->why,
                    t->poisoned ? VERSION_SUSPECT : VERSION_BAD, &err);
}

static void on_answered(void *context)
{
    struct reload *t = context;
    t->timer = NULL;
    rollback_settle(t);
}

static bool ending(const struct keeper *k)
{
    return k->tree == NULL || k->tree->abandoned;
}

bool reload_worker_lost(struct service *s, struct worker *w)
{
    struct reload *t = s->reload;
    if (ending(s->keeper))
        return false;
    if (t != NULL && t->forced && w == s->serving) {
        s->serving = NULL;
        w->on_gone = NULL;
        calls_take_back(s, w, true);
        return true;
    }
    if (s->probation != NULL && !s->probation->rolling && w == s->serving) {
        roll_back(s->probation, w);
        return true;
    }
    /* while N is built, that goes on: it may well be what helps; later, what it is asked for fails
     * in a moment, and says of what it died */
    if (t != NULL && w == s->serving && t->step >= 6 && t->step < 9 && t->asked == 0)
        reload_abort(s, "the serving version died");
    return false;
}

bool reload_worker_gone(struct service *s, struct worker *w)
{
    struct reload *t = s->probation;
    if (ending(s->keeper))
        return true;
    if (t == NULL || t->losing != w)
        return false;
    snprintf(t->why, sizeof t->why, "%.239s", w->why);
    t->losing = NULL;
    rollback_settle(t);
    return true;
}

void reload_came_up(struct service *s)
{
    if (s->probation != NULL && s->probation->rolling && !s->probation->back)
        back(s->probation);
}

void reload_gave_up(struct service *s, const char *why)
{
    struct reload *t = s->probation;
    struct error err = ERROR_INIT;
    if (s->reload != NULL && s->reload->step < 6) /* the one before is there already */
        reload_abort(s, "the serving version gave up");
    if (t == NULL || !t->rolling)
        return;
    t->step = 14;
    error_set(&err, "reload.rolled_back", 0,
              "step 14 (probation) of module \"%s\": version %u: %s; version %u does not come up "
              "again: %s",
              s->name, t->to.number, t->why[0] != '\0' ? t->why : "it died", t->from.number, why);
    transaction_end(t, ATTEMPT_ROLLED_BACK, t->poisoned ? "poison" : t->why,
                    t->poisoned ? VERSION_SUSPECT : VERSION_BAD, &err);
}

void rollback_answered(struct reload *t, const struct call *c)
{
    if (c->id != t->redispatched)
        return;
    t->redispatched = 0;
    if (t->timer == NULL) /* the client first, then the row */
        t->timer = loop_after(t->k->loop, 0, on_answered, t);
}

void reload_poisoned(struct service *s)
{
    struct reload *t = s->probation;
    if (t == NULL || !t->rolling)
        return;
    t->poisoned = true;
    t->redispatched = 0;
    rollback_settle(t);
}
