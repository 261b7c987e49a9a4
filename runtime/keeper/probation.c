/* Steps 13 to 15 of a reload: N serves, M is parked alive, and what is answered is kept for replay.
 *
 *   N is fine             step 15: N saves (durable), row GOOD, M is stopped
 *   N dies or is unfit    the way back: rollback.c */
#include "base/cleanup.h"
#include "runtime/keeper/checkpoints.h"
#include "runtime/keeper/fault.h"
#include "runtime/keeper/transaction.h"

#include <stdlib.h>
#include <string.h>

#define PROBATION_MS         10000
#define PROBATION_STUDENT_MS 3000
#define HEALTH_EVERY_MS      1000 /* at most, */
#define HEALTH_LEAST_MS      50   /* at least: */
#define HEALTH_FAILURES      3
#define RECORD_AFTER_MS      2 /* what was held back during the pause goes first */

static void step_13(void *context);
static void step_15(struct reload *t);

/** What M leaves: to start from, and for who wants to come back to exactly that. */
static void keep_left(const struct reload *t)
{
    const struct state_expect expect = service_expect(t->s, t->from.number);
    if (t->s->base < 0 || !service_has_state(&t->from))
        return;
    checkpoint(t->k, CHECKPOINT_GOOD, t->s->base, &expect, NULL, NULL);
    checkpoint(t->k, CHECKPOINT_KEEP, t->s->base, &expect, NULL, NULL);
}

static void on_parked_gone(struct worker *w)
{
    struct reload *t = w->owner;
    if (t->parked == w)
        t->parked = NULL;
}

static void on_parked_lost(struct worker *w)
{
    if (w->service != NULL)
        calls_replay_lost(w->service, w);
}

static void park(struct reload *t, struct worker *w)
{
    t->parked = w;
    if (w == NULL)
        return;
    w->owner = t;
    w->on_lost = on_parked_lost;
    w->on_gone = on_parked_gone;
    worker_hold(w, false);
}

void transaction_fall_behind(struct reload *t, uint64_t requests)
{
    t->behind = true;
    t->behind_by += requests;
}

void probation_give_up_log(struct reload *t)
{
    struct service *s = t->s;
    uint64_t lost = s->log_answered + t->behind_by;
    if (!t->behind)
        return;
    t->behind = false;
    t->behind_by = 0;
    cleanup_close(&t->given);
    t->given = -1;
    calls_drop_log(s);
    s->log_incomplete = true;
    s->log_answered = lost;
}

static void on_sealed(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    struct service *s = t->s;
    struct state_header h;
    struct error why = ERROR_INIT;
    const struct state_expect expect = service_expect_own(s, &t->from);
    struct worker *m = t->parked != NULL ? t->parked : s->starting;
    cleanup_close(&fd);
    if (t->given < 0)
        return;
    if (err == NULL && state_check(t->given, &expect, &h, &why) == 0) {
        cleanup_close(&s->base);
        s->base = TAKE_FD(t->given);
        t->behind = false;
        t->behind_by = 0;
        keep_left(t);
        rollback_settle(t);
        return;
    }
    cleanup_close(&t->given); /* and the gap remains: M is the only way back */
    t->given = -1;
    if (err == NULL && m != NULL)
        worker_kill(m, why.message);
    if (t->back)
        probation_give_up_log(t);
    rollback_settle(t);
}

void probation_seal(struct reload *t)
{
    if (t->given < 0 || t->sealing || t->parked == NULL || t->parked->lost)
        return;
    t->sealing = true;
    worker_ask(t->parked, WIRE_SEAL, 0, -1, SERVICE_MOVE_MS, on_sealed, t);
}

void probation_begin(struct reload *t)
{
    const struct reload_result r = transaction_result(t, ATTEMPT_ACTIVATED, NULL);
    park(t, t->parked);
    if (t->watch.switched != NULL)
        t->watch.switched(t->watch.context, &r);
    t->timer = loop_after(t->k->loop, RECORD_AFTER_MS, step_13, t);
}

void probation_hand_on(struct reload *before, struct reload *newer)
{
    if (newer->parked != NULL)
        worker_drop(newer->parked, CLOCHE_STOP_REPLACED);
    if (newer->s->replay_worker != NULL && newer->s->replay_worker == before->parked)
        newer->s->replay_context = newer;
    newer->catching = before->catching;
    newer->given = TAKE_FD(before->given);
    newer->sealing = before->sealing;
    newer->behind = before->behind;
    newer->behind_by = before->behind_by;
    newer->parked = before->parked;
    if (newer->parked != NULL)
        worker_hand_on(newer->parked, before, newer);
    newer->from = before->from;
    before->parked = NULL;
    transaction_end(before, ATTEMPT_SUPERSEDED, NULL, VERSION_PUBLISHED, NULL);
    newer->s->probation = newer;
}

/* --- 13: record ----------------------------------------------------------------------------------
 */

static void on_probation_timer(void *context)
{
    struct reload *t = context;
    t->timer = NULL;
    t->time_over = true;
    if (t->completed > 0) {
        step_15(t);
    } else if (!t->untried) {
        t->untried = true;
        const struct reload_result r = transaction_result(t, ATTEMPT_ACTIVATED, NULL);
        if (t->watch.untried != NULL)
            t->watch.untried(t->watch.context, &r);
    }
}

/** Often enough that it can fail as often as it may before the probation is over. */
static uint64_t health_every_ms(const struct reload *t)
{
    uint64_t ms = t->probation_ms / (HEALTH_FAILURES + 1);
    return ms > HEALTH_EVERY_MS ? HEALTH_EVERY_MS : ms < HEALTH_LEAST_MS ? HEALTH_LEAST_MS : ms;
}

static void on_health_timer(void *context);

static void on_health(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    cleanup_close(&fd);
    if (t->rolling)
        return;
    t->health_failures = err != NULL ? t->health_failures + 1 : 0;
    if (t->health_failures >= HEALTH_FAILURES && t->s->serving != NULL)
        worker_kill(t->s->serving, "health failed three times");
    else
        t->health_timer = loop_after(t->k->loop, health_every_ms(t), on_health_timer, t);
}

static void on_health_timer(void *context)
{
    struct reload *t = context;
    t->health_timer = NULL;
    if (t->s->serving != NULL)
        worker_ask(t->s->serving, WIRE_HEALTH, 0, -1, SERVICE_HEALTH_MS, on_health, t);
}

void probation_record(struct reload *t)
{
    struct keeper *k = t->k;
    struct error err = ERROR_INIT;
    if (t->step >= 13)
        return;
    transaction_step(t, 13, "record");
    if (history_note(k->versions, t->attempt, ATTEMPT_ACTIVATED, t->to.number, NULL, &err) < 0 ||
        store_set_current(k->versions, t->s->name, t->to.number, &err) < 0)
        journal_event(k, "reload.unrecorded", err.message);
}

static void step_13(void *context)
{
    struct reload *t = context;
    struct service *s = t->s;
    struct keeper *k = t->k;
    t->timer = NULL;
    transaction_drop(&t->rehearsal);
    transaction_drop(&t->migrator);
    probation_seal(t);
    probation_record(t);
    if (!t->behind)
        keep_left(t);
    /* 14 */
    transaction_step(t, 14, "probation");
    const char *profile = k->spec->profile;
    t->probation_ms = s->module->probation_ms != UINT64_MAX                ? s->module->probation_ms
                      : profile != NULL && strcmp(profile, "student") == 0 ? PROBATION_STUDENT_MS
                                                                           : PROBATION_MS;
    if (t->r.no_probation) {
        step_15(t);
        return;
    }
    t->timer = loop_after(k->loop, t->probation_ms, on_probation_timer, t);
    t->health_timer = loop_after(k->loop, health_every_ms(t), on_health_timer, t);
}

void reload_record(struct service *s)
{
    struct reload *t = s->probation;
    if (t == NULL || t->rolling || t->step >= 13)
        return;
    transaction_cancel(t, &t->timer);
    step_13(t);
}

/* --- 15: confirm ---------------------------------------------------------------------------------
 */

/* The log is bounded, a probation is not: M, which is idle, answers the older part of it already
 * now, and is saved again, so that S and what is left of the log stay worth the same. */

static void on_parked_saved(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    struct service *s = t->s;
    struct state_header h;
    const struct state_expect expect = service_expect_own(s, &t->from);
    t->catching = false;
    if (err != NULL || state_check(fd, &expect, &h, NULL) < 0) {
        cleanup_close(&fd);
    } else {
        cleanup_close(&s->base);
        s->base = fd;
        calls_drop_logged(s, s->log_applied);
    }
    s->log_full = false;
    calls_dispatch(s);
}

static void on_applied(void *context, bool ok)
{
    struct reload *t = context;
    struct service *s = t->s;
    if (!ok || t->parked == NULL) {
        t->catching = false;
        s->log_full = false;
        calls_dispatch(s);
        return;
    }
    s->log_applied = s->replay_at;
    if (service_has_arena(&t->from)) { /* its copy takes longer than clients can wait */
        uint64_t applied = s->log_applied;
        calls_drop_logged(s, s->log_applied);
        transaction_fall_behind(t, applied);
        t->catching = false;
        calls_dispatch(s);
        return;
    }
    worker_ask(t->parked, WIRE_SAVE, s->answered, -1, SERVICE_SAVE_MS, on_parked_saved, t);
}

bool reload_catch_up(struct service *s)
{
    struct reload *t = s->probation;
    if (t->rolling || t->parked == NULL || t->parked->lost || s->log_incomplete)
        return false;
    /* while a newer one prepares, too: it inherits M as it is; only a pause is no time to begin */
    if (t->catching || (s->reload != NULL && s->reload->step >= 9))
        return t->catching;
    t->catching = true;
    probation_seal(t);
    calls_replay(s, t->parked, s->log_applied, on_applied, t);
    return true;
}

/** The log begins anew behind @snapshot; @answered requests were answered since. */
static void begin_log(struct service *s, const struct service_version *v, int snapshot,
                      uint64_t answered)
{
    bool logged = s->logging && !s->log_incomplete && s->log.count >= answered;
    s->logging = service_has_state(v) && (v->flags & CLOCHE_DETERMINISTIC) != 0;
    if (answered == 0 || !logged || !s->logging) {
        service_set_base(s, snapshot);
        s->log_answered = answered;
        s->log_incomplete = answered > 0;
        return;
    }
    cleanup_close(&s->base);
    s->base = snapshot;
    calls_drop_logged(s, s->log.count - answered);
    s->log_applied = 0;
}

/** The disk's fault, not the version's: again. */
static void confirm_later(struct reload *t, const struct error *err)
{
    const struct reload_result r = transaction_result(t, ATTEMPT_ACTIVATED, err);
    journal_event(t->k, "checkpoint.failed", err->message);
    cleanup_close(&t->confirmed);
    t->confirmed = -1;
    transaction_tell_confirmer(t, &r);
    t->confirming = t->time_over = false; /* no request begins it anew */
    transaction_cancel(t, &t->timer);
    t->timer = loop_after(t->k->loop, PROBATION_MS, on_probation_timer, t);
}

static void confirm(struct reload *t, int snapshot)
{
    const uint64_t answered = snapshot >= 0 ? t->s->answered - t->confirmed_at : 0;
    struct service *s = t->s;
    struct keeper *k = t->k;
    const struct service_version to = t->to;
    struct worker *parked = t->parked;
    struct error err = ERROR_INIT;
    transaction_step(t, 15, "confirm");
    /* before its state takes the place of M's */
    if (transaction_record(t, ATTEMPT_GOOD, NULL, VERSION_GOOD, NULL, &err) < 0) {
        transaction_step(t, 14, "probation");
        cleanup_close(&snapshot);
        confirm_later(t, &err);
        return;
    }
    if (s->replay_worker != NULL && s->replay_worker == parked)
        calls_replay_forget(s);
    t->parked = NULL;
    s->fell_back = s->fell_back && strcmp(t->r.cause, "automatic") == 0;
    transaction_end(t, ATTEMPT_GOOD, NULL, VERSION_GOOD, NULL);
    fault_point(16, 0);
    if (parked != NULL)
        worker_drop(parked, CLOCHE_STOP_REPLACED);
    if (snapshot >= 0) {
        const struct state_expect expect = service_expect(s, to.number);
        checkpoint(k, CHECKPOINT_PROMOTE, -1, &expect, NULL, NULL);
    }
    s->active.status = VERSION_GOOD;
    begin_log(s, &to, snapshot, answered);
    transaction_collect(s);
}

static void on_confirm_kept(void *context, const struct error *err)
{
    struct reload *t = context;
    struct service *s = t->s;
    if (t->rolling) /* it died meanwhile */
        return;
    if (err == NULL) {
        confirm(t, TAKE_FD(t->confirmed));
        calls_dispatch(s); /* what a full log held back: no packet need come that would do it */
        return;
    }
    confirm_later(t, err);
}

static void on_confirm_saved(void *context, const struct error *err, int fd)
{
    struct reload *t = context;
    char why[160];
    struct error failed = ERROR_INIT;
    struct state_header h;
    const struct state_expect own = service_expect_own(t->s, &t->to);
    if (t->rolling) { /* it died over it */
        cleanup_close(&fd);
        return;
    }
    if (err == NULL && state_check(fd, &own, &h, &failed) < 0)
        err = &failed;
    if (err == NULL) {
        const struct state_expect expect = service_expect(t->s, t->to.number);
        t->confirmed = fd;
        t->confirmed_at = t->s->answered;
        checkpoint(t->k, CHECKPOINT_PROBATION, fd, &expect, on_confirm_kept, t);
        return;
    }
    cleanup_close(&fd);
    snprintf(why, sizeof why, "save_state: %.140s", err->message);
    if (t->s->serving != NULL)
        worker_kill(t->s->serving, why);
}

static void step_15(struct reload *t)
{
    struct service *s = t->s;
    if (t->confirming || t->rolling || s->serving == NULL)
        return;
    t->confirming = true;
    if (service_has_state(&t->to))
        worker_ask(s->serving, WIRE_SAVE, s->answered, -1,
                   service_has_arena(&t->to) ? SERVICE_MOVE_MS : SERVICE_SAVE_MS, on_confirm_saved,
                   t);
    else
        confirm(t, -1);
}

int reload_confirm(struct keeper *k, const char *module, const struct reload_watch *w,
                   struct error *err)
{
    struct service *s = service_require(k, module, err);
    if (s == NULL)
        return -1;
    reload_record(s);
    if (s->probation == NULL || s->probation->rolling) {
        error_set(err, "reload.none", 0, "no version of module \"%s\" is on probation", s->name);
        return error_hint(err, "cloche versions %s %s", k->id, s->name);
    }
    if (k->status == STATUS_PAUSED) {
        error_set(err, "sandbox.paused", 0, "sandbox \"%s\" is paused", k->id);
        return error_hint(err, "cloche resume %s", k->id);
    }
    if (s->probation->confirmer.ended != NULL)
        return error_set(err, "reload.busy", 0, "version %u of module \"%s\" is being confirmed",
                         s->active.number, s->name);
    s->probation->confirmer = *w;
    step_15(s->probation);
    return 0;
}

/* --- asked and told by others -------------------------------------------------------------------
 */

uint32_t reload_fallback(const struct service *s)
{
    return s->probation != NULL ? s->probation->from.number : 0;
}

bool reload_takes_over(const struct service *s)
{
    return s->reload != NULL && s->reload->took_over;
}

bool reload_on_probation(const struct service *s)
{
    return s->probation != NULL && !s->probation->rolling;
}

void reload_answered(struct service *s, const struct call *c)
{
    struct reload *t = s->probation;
    if (t != NULL && t->rolling) {
        rollback_answered(t, c);
    } else if (t != NULL) {
        t->completed++;
        if (t->time_over && !t->confirming)
            step_15(t);
    }
}

void reload_stop(struct service *s)
{
    struct reload *t = s->probation;
    if (s->reload != NULL)
        reload_abort(s, "the sandbox stops");
    if (t == NULL)
        return;
    if (t->rolling) {
        transaction_end(t, ATTEMPT_ROLLED_BACK, t->why, VERSION_BAD, NULL);
        return;
    }
    /* it did not fail: who ends the sandbox takes it as it is, and service_stop saves its state */
    struct worker *parked = t->parked;
    t->parked = NULL;
    probation_record(t);
    transaction_end(t, ATTEMPT_GOOD, "stopped during probation", VERSION_GOOD, NULL);
    s->active.status = VERSION_GOOD;
    if (parked != NULL)
        worker_drop(parked, CLOCHE_STOP_REPLACED);
}

void reload_detach(struct service *s)
{
    struct reload *t = s->probation;
    if (s->reload != NULL)
        reload_abort(s, "the sandbox ended");
    if (t == NULL)
        return;
    t->parked = t->losing = NULL;
    probation_give_up_log(t);
    s->active = t->from;
    transaction_end(t, ATTEMPT_ROLLED_BACK, "sandbox ended", VERSION_PUBLISHED, NULL);
}
