/* What becomes of a save: built ahead, told, begun as a reload, and its end told. */
#include "base/cleanup.h"
#include "runtime/keeper/build.h"
#include "runtime/keeper/reload.h"
#include "runtime/keeper/watch_private.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RETRY_MS 20 /* the slot is taken by somebody past step 8 */

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- telling ------------------------------------------------------------------------------------
 */

cJSON *watch_event_new(const struct watch *w, const char *event)
{
    cJSON *o = cJSON_CreateObject();
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    cJSON_AddStringToObject(o, "event", event);
    cJSON_AddStringToObject(o, "module", w->module->name);
    int64_t ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    cJSON_AddNumberToObject(o, "time_ms", (double)ms);
    return o;
}

/* To all who follow; takes over @o. */
static void tell(struct watch *w, cJSON *o)
{
    _cleanup_free_ char *text = w->followers != NULL ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    for (const struct follower *f = w->followers; text != NULL && f != NULL; f = f->next) {
        _cleanup_fields_ struct fields fields = FIELDS_INIT;
        fields_add(&fields, "json", text);
        connection_data(f->client, f->serial, &fields, -1);
    }
}

static void tell_error(struct watch *w, const char *event, const struct error *err)
{
    cJSON *o = watch_event_new(w, event);
    cJSON_AddStringToObject(o, "code", err->code != NULL ? err->code : "");
    cJSON_AddStringToObject(o, "message", err->message);
    if (err->hint[0] != '\0')
        cJSON_AddStringToObject(o, "hint", err->hint);
    tell(w, o);
}

/* --- a save -------------------------------------------------------------------------------------
 */

static void begin(struct watch *w);

static void forget_ahead(struct watch *w)
{
    build_cancel(w->ahead);
    w->ahead = NULL;
    w->found = NOTHING;
}

static void on_step(void *context, int step, const char *text)
{
    struct save *s = context;
    cJSON *o = watch_event_new(s->watch, "step");
    cJSON_AddNumberToObject(o, "step", step);
    cJSON_AddStringToObject(o, "text", text != NULL ? text : "");
    tell(s->watch, o);
}

static void add_result(cJSON *o, const struct save *s, const struct reload_result *r)
{
    cJSON_AddNumberToObject(o, "attempt", (double)r->attempt);
    cJSON_AddNumberToObject(o, "version", r->tried);
    cJSON_AddNumberToObject(o, "active", r->active);
    cJSON_AddNumberToObject(o, "step", r->step);
    cJSON_AddNumberToObject(o, "ms", (double)(now_us() - s->at_us) / 1000.0);
    cJSON_AddNumberToObject(o, "pause_us", (double)r->pause_us);
}

/* Where the time went: the rest is the debounce, the rehearsal and the switch. */
static void add_times(cJSON *o, const struct module *m)
{
    const struct {
        const char *name;
        uint64_t us;
    } times[] = {{"snapshot", m->took.snapshot},
                 {"compile", m->took.compile},
                 {"verify", m->took.verify},
                 {"publish", m->took.publish},
                 {"total", m->took.total}};
    cJSON *build = cJSON_AddObjectToObject(o, "build_us");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        cJSON_AddNumberToObject(build, times[i].name, (double)times[i].us);
}

static void on_switched(void *context, const struct reload_result *r)
{
    struct save *s = context;
    char detail[120];
    cJSON *o = watch_event_new(s->watch, "live");
    s->live = true;
    add_result(o, s, r);
    add_times(o, s->watch->module);
    tell(s->watch, o);
    snprintf(detail, sizeof detail, "%.64s: version %u", s->watch->module->name, r->tried);
    journal_event(s->watch->module->keeper, "watch.live", detail);
}

static void drop(struct save *s)
{
    for (struct save **at = &s->watch->saves; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    free(s);
}

/* A version that failed after it was live was taken back. */
static const char *ending(const struct save *s, const struct reload_result *r)
{
    switch (r->state) {
    case ATTEMPT_GOOD:
        return "confirmed";
    case ATTEMPT_UNCHANGED:
        return "unchanged";
    case ATTEMPT_SUPERSEDED:
        return "superseded";
    case ATTEMPT_ROLLED_BACK:
        return "rolled_back";
    case ATTEMPT_STARTED:
    case ATTEMPT_PUBLISHED:
    case ATTEMPT_INTENT:
    case ATTEMPT_ACTIVATED:
    case ATTEMPT_BAD:
    case ATTEMPT_REFUSED:
    case ATTEMPT_ABORTED:
    case ATTEMPT_STATES:
        break;
    }
    return s->live ? "rolled_back" : "failed";
}

static void on_ended(void *context, const struct reload_result *r)
{
    struct save *s = context;
    struct watch *w = s->watch;
    const char *word = ending(s, r);
    cJSON *o = watch_event_new(w, word);
    add_result(o, s, r);
    if (r->error != NULL) {
        cJSON_AddStringToObject(o, "code", r->error->code != NULL ? r->error->code : "");
        cJSON_AddStringToObject(o, "message", r->error->message);
        if (r->error->hint[0] != '\0')
            cJSON_AddStringToObject(o, "hint", r->error->hint);
        char detail[400];
        snprintf(detail, sizeof detail, "%.64s: %.300s", w->module->name, r->error->message);
        if (r->state != ATTEMPT_SUPERSEDED)
            journal_event(w->module->keeper, "watch.failed", detail);
    }
    if (strcmp(word, "failed") == 0 && r->step == 3 && w->module->diagnostics != NULL) {
        cJSON_AddItemToObject(o, "diagnostics", cJSON_Parse(w->module->diagnostics));
        cJSON_AddStringToObject(o, "text",
                                w->module->build_text != NULL ? w->module->build_text : "");
    }
    tell(w, o);
    drop(s);
}

static void on_retry(void *context)
{
    struct watch *w = context;
    w->retry = NULL;
    begin(w);
}

static void begin(struct watch *w)
{
    struct module *m = w->module;
    struct error err = ERROR_INIT;
    struct save *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    *s = (struct save){.next = w->saves, .watch = w, .at_us = w->at_us};
    const struct reload_request r = {.module = m->name,
                                     .artifact = -1,
                                     .source = w->source,
                                     .ahead = w->ahead,
                                     .kind = "reload",
                                     .cause = "watch",
                                     .state = m->state_mode == STATE_EMPTY ? RELOAD_STATE_EMPTY
                                                                           : RELOAD_STATE_MIGRATE,
                                     .supersede = true};
    const struct reload_watch watch = {
        .step = on_step, .switched = on_switched, .ended = on_ended, .context = s};
    w->saves = s;
    if (reload_start(m->keeper, &r, &watch, &err) == 0) {
        w->ahead = NULL;
        return;
    }
    drop(s);
    if (err.code != NULL && strcmp(err.code, "reload.busy") == 0) {
        if (w->retry == NULL)
            w->retry = loop_after(m->keeper->loop, RETRY_MS, on_retry, w);
        return;
    }
    forget_ahead(w);
    tell_error(w, "failed", &err);
}

/* A save that changed nothing is no attempt, and costs no disk. */
static void go_on(struct watch *w)
{
    bool changed = w->found == CHANGED || w->same != w->module->active;
    if (!w->due || w->found == NOTHING)
        return;
    w->due = false;
    w->found = NOTHING;
    if (changed) {
        begin(w);
        return;
    }
    cJSON *o = watch_event_new(w, "unchanged");
    cJSON_AddNumberToObject(o, "version", w->same);
    cJSON_AddNumberToObject(o, "active", w->same);
    cJSON_AddNumberToObject(o, "ms", (double)(now_us() - w->at_us) / 1000.0);
    tell(w, o);
}

static void on_looked(void *context, const struct build_result *r)
{
    struct watch *w = context;
    if (r->status != BUILD_CHANGED) /* it has ended */
        w->ahead = NULL;
    w->found = r->status == BUILD_UNCHANGED ? UNCHANGED : CHANGED;
    w->same = r->number;
    go_on(w);
}

/* Has a save been begun that is not live yet? Then this one is newer, whatever it is. */
static bool building(const struct watch *w)
{
    return w->saves != NULL && !w->saves->live;
}

static void look(struct watch *w)
{
    struct build_options o;
    module_build_options(w->module, &o);
    o.source.path = w->source;
    o.same_source_stop = o.ahead = true;
    forget_ahead(w);
    w->ahead = building(w)
                   ? NULL
                   : build_start(w->module->keeper, w->module->name, &o, on_looked, w, NULL);
    w->found = w->ahead != NULL ? NOTHING : CHANGED;
}

void watch_event(void *context, bool saved)
{
    struct watch *w = context;
    if (w->due || w->retry != NULL) /* of the change before */
        return;
    if (saved && !building(w))
        look(w);
    else
        forget_ahead(w);
}

void watch_told(struct watch *w, uint64_t at_us)
{
    w->at_us = at_us != 0 ? at_us : now_us();
    if (w->retry != NULL) {
        loop_cancel(w->module->keeper->loop, w->retry);
        w->retry = NULL;
        forget_ahead(w);
    }
    if (w->due || (w->ahead == NULL && w->found == NOTHING))
        look(w);
    w->due = true;
    go_on(w);
}

void watch_change(void *context, const struct watcher_change *c)
{
    struct watch *w = context;
    struct stat st;
    if (c->error != NULL) {
        forget_ahead(w);
        journal_event(w->module->keeper, "watch.failed", c->error->message);
        tell_error(w, "error", c->error);
        return;
    }
    if (c->gone || (lstat(w->source, &st) < 0 && errno == ENOENT)) {
        forget_ahead(w);
        cJSON *o = watch_event_new(w, "gone");
        cJSON_AddStringToObject(o, "path", w->source);
        tell(w, o);
        return;
    }
    cJSON *o = watch_event_new(w, "changed"), *files = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < c->file_count; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(c->files[i]));
    cJSON_AddNumberToObject(o, "events", (double)c->event_count);
    if (c->overflow)
        cJSON_AddTrueToObject(o, "overflow");
    tell(w, o);
    watch_told(w, c->at_us);
}

void watch_end_saves(struct watch *w)
{
    build_cancel(w->ahead);
    if (w->retry != NULL)
        loop_cancel(w->module->keeper->loop, w->retry);
    while (w->saves != NULL) {
        reload_forget(w->module->keeper, w->saves);
        drop(w->saves);
    }
}
