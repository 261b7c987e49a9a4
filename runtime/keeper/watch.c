#include "runtime/keeper/watch.h"

#include "base/cleanup.h"
#include "config/toolchain.h"
#include "runtime/keeper/reload.h"
#include "runtime/keeper/watcher.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RETRY_MS 20 /* the slot is taken by somebody past step 8 */

struct follower {
    struct follower *next;
    struct connection *client;
    uint32_t serial;
};

/* One reload that a save began. */
struct save {
    struct save *next;
    struct watch *watch;
    uint64_t at_us; /* of the save */
    bool live;
};

struct watch {
    struct module *module;
    struct arena *arena;
    const char *path, *source;
    struct watcher *watcher;
    struct follower *followers;
    const struct connection *owner; /* ends with it; NULL: the sandbox's */
    struct save *saves;
    struct loop_timer *retry;
    /* A save is built from its first event on, beside the debounce: nothing comes of it before the
     * change is told, and the next event ends it. */
    struct build *ahead;
    enum { NOTHING, CHANGED, UNCHANGED } found; /* by it, up to now */
    uint32_t same;                              /* the version that it is */
    bool due;                                   /* the change was told */
    uint64_t at_us;                             /* of the save that waits for its turn */
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- telling ------------------------------------------------------------------------------------
 */

static cJSON *event_new(const struct watch *w, const char *event)
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
    cJSON *o = event_new(w, event);
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
    cJSON *o = event_new(s->watch, "step");
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
    cJSON *o = event_new(s->watch, "live");
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
    cJSON *o = event_new(w, word);
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
    cJSON *o = event_new(w, "unchanged");
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

static void on_event(void *context, bool saved)
{
    struct watch *w = context;
    if (w->due || w->retry != NULL) /* of the change before */
        return;
    if (saved && !building(w))
        look(w);
    else
        forget_ahead(w);
}

static void on_told(struct watch *w)
{
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

static void on_change(void *context, const struct watcher_change *c)
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
        cJSON *o = event_new(w, "gone");
        cJSON_AddStringToObject(o, "path", w->source);
        tell(w, o);
        return;
    }
    cJSON *o = event_new(w, "changed"), *files = cJSON_AddArrayToObject(o, "files");
    for (size_t i = 0; i < c->file_count; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(c->files[i]));
    cJSON_AddNumberToObject(o, "events", (double)c->event_count);
    if (c->overflow)
        cJSON_AddTrueToObject(o, "overflow");
    tell(w, o);
    w->at_us = c->at_us;
    on_told(w);
}

/* --- what is watched ----------------------------------------------------------------------------
 */

/* As a pattern that matches nothing else. */
static const char *literal(struct arena *a, const char *name)
{
    char *pattern = arena_alloc(a, 2 * strlen(name) + 1), *to = pattern;
    for (; *name != '\0'; name++) {
        if (strchr("*?[\\", *name) != NULL)
            *to++ = '\\';
        *to++ = *name;
    }
    return pattern;
}

/* Endings that a toolchain for modules reads, as patterns; beside a single file @name only headers.
 */
static const char *const *patterns_of(struct arena *a, const char *toolchain, const char *name)
{
    struct strings names = {0}, list = {0};
    if (toolchain != NULL)
        strings_add(a, &names, toolchain);
    else
        toolchain_names(a, &names);
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        struct error ignored = ERROR_INIT;
        if (toolchain_load(&tc, names.items[i], &ignored) < 0 ||
            (tc->module.count == 0 && tc->module_link.count == 0))
            continue;
        const struct strings *endings[] = {&tc->includes, &tc->extensions};
        for (size_t k = 0; k < (name != NULL ? 1 : 2); k++) {
            for (size_t n = 0; n < endings[k]->count; n++)
                strings_add(a, &list, arena_printf(a, "*%s", endings[k]->items[n]));
        }
    }
    strings_add(a, &list, name != NULL ? literal(a, name) : "*.so");
    return (const char *const *)list.items;
}

static bool below(const char *path, const char *directory)
{
    size_t n = strlen(directory);
    return strncmp(path, directory, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

struct watch_request {
    const char *path; /* absolute; NULL: the module's source */
    const char *const *include, *const *exclude;
    uint64_t debounce_ms;
    const struct connection *owner;
};

static void end_followers(struct watch *w)
{
    while (w->followers != NULL) {
        struct follower *f = w->followers;
        w->followers = f->next;
        connection_reply(f->client, f->serial, NULL);
        free(f);
    }
}

static void stop(struct module *m)
{
    struct watch *w = m->watch;
    if (w == NULL)
        return;
    m->watch = NULL;
    watcher_close(w->watcher);
    build_cancel(w->ahead);
    if (w->retry != NULL)
        loop_cancel(m->keeper->loop, w->retry);
    while (w->saves != NULL) {
        reload_forget(m->keeper, w->saves);
        drop(w->saves);
    }
    end_followers(w);
    arena_free(w->arena);
}

static int start(struct module *m, const struct watch_request *r, struct error *err)
{
    const char *path = r->path != NULL ? r->path : m->source;
    struct stat st;
    if (path == NULL) {
        error_set(err, "watch.no_source", 0, "module \"%s\" was not built from a source", m->name);
        return error_hint(err, "cloche watch %s %s DIR", m->keeper->id, m->name);
    }
    struct arena *a = arena_new();
    struct watch *w = arena_alloc(a, sizeof *w);
    *w = (struct watch){.module = m, .arena = a, .owner = r->owner};
    char *clean = arena_strdup(a, path);
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = '\0';
    w->path = clean;
    /* a module of one file stays one when the directory around it is watched */
    w->source = m->source != NULL && below(m->source, clean) ? arena_strdup(a, m->source) : clean;
    /* a file is watched in its directory, with the headers beside it */
    const char *slash = strrchr(w->source, '/');
    bool one_file = lstat(w->source, &st) == 0 && S_ISREG(st.st_mode) && slash != w->source;
    const char *name = one_file ? slash + 1 : NULL;
    const struct watcher_options o = {
        .path = one_file ? arena_strndup(a, w->source, (size_t)(slash - w->source)) : w->path,
        .include = r->include != NULL ? r->include : patterns_of(a, m->toolchain, name),
        .exclude = r->exclude,
        .flat = one_file,
        .debounce_ms = r->debounce_ms,
        .event = on_event};
    w->watcher = watcher_open(m->keeper->loop, &o, on_change, w, err);
    if (w->watcher == NULL) {
        arena_free(a);
        return -1;
    }
    m->watch = w;
    return 0;
}

void watches_start(struct keeper *k, bool changed)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        struct error err = ERROR_INIT;
        const struct watch_request r = {.path = m->watch_wanted};
        if (m->watch_wanted == NULL || m->watch != NULL)
            continue;
        if (start(m, &r, &err) < 0) {
            journal_event(k, "watch.failed", err.message);
            continue;
        }
        if (changed) {
            m->watch->at_us = now_us();
            on_told(m->watch);
        }
    }
}

void watches_stop(struct keeper *k)
{
    for (struct module *m = k->modules; m != NULL; m = m->next)
        stop(m);
}

static void unfollow(struct watch *w, const struct connection *c)
{
    for (struct follower **at = &w->followers; *at != NULL;) {
        struct follower *f = *at;
        if (f->client != c) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        free(f);
    }
}

void watches_forget(struct keeper *k, const struct connection *c)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        if (m->watch == NULL)
            continue;
        unfollow(m->watch, c);
        if (m->watch->owner == c)
            stop(m);
    }
}

cJSON *watch_json(const struct module *m)
{
    if (m->watch == NULL)
        return NULL;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "path", m->watch->path);
    cJSON_AddStringToObject(o, "source", m->watch->source);
    cJSON_AddNumberToObject(o, "directories", (double)watcher_directories(m->watch->watcher));
    return o;
}

/* --- operations ---------------------------------------------------------------------------------
 */

static const char *const *list_of(struct arena *a, const struct frame *f, const char *key)
{
    struct strings list = {0};
    for (const char *v = NULL; (v = frame_next(f, key, v)) != NULL;)
        strings_add(a, &list, v);
    return (const char *const *)list.items;
}

/* In the spec, so that the next tree and the next keeper watch it, too. */
static int remember(struct module *m, const char *path, struct error *err)
{
    struct keeper *k = m->keeper;
    cJSON *all = k->spec->modules_json != NULL ? cJSON_Parse(k->spec->modules_json) : NULL;
    if (all == NULL)
        all = cJSON_CreateObject();
    cJSON *o = cJSON_GetObjectItemCaseSensitive(all, m->name);
    if (o == NULL)
        o = cJSON_AddObjectToObject(all, m->name);
    cJSON_DeleteItemFromObject(o, "watch");
    if (path != NULL)
        cJSON_AddStringToObject(o, "watch", path);
    _cleanup_free_ char *text = cJSON_PrintUnformatted(all);
    cJSON_Delete(all);
    k->spec->modules_json = arena_strdup(k->spec->arena, text);
    m->watch_wanted = path != NULL ? arena_strdup(k->spec->arena, path) : NULL;
    return keeper_save_spec(k, err);
}

static int follow(struct watch *w, struct connection *c, uint32_t serial, struct error *err)
{
    struct follower *f = calloc(1, sizeof *f);
    if (f == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot follow the watch");
    *f = (struct follower){.next = NULL, .client = c, .serial = serial};
    cJSON *o = event_new(w, "watching");
    cJSON_AddItemToObject(o, "watch", watch_json(w->module));
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    fields_add(&fields, "json", text != NULL ? text : "{}");
    connection_data(c, serial, &fields, -1);
    f->next = w->followers;
    w->followers = f;
    return 0;
}

int op_watch(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    _cleanup_arena_ struct arena *a = arena_new();
    struct module *m = modules_find(k, frame_get(f, "module"), err);
    bool following = frame_get_int(f, "follow", 0, 1, 0) == 1;
    if (m == NULL)
        return -1;
    if (k->sandbox == NULL || k->status == STATUS_STOPPING) {
        error_set(err, "sandbox.not_running", 0, "sandbox \"%s\" is %s", k->id,
                  status_name(k->status));
        return error_hint(err, "cloche restart %s", k->id);
    }
    const struct watch_request r = {.path = frame_get(f, "path"),
                                    .include = list_of(a, f, "include"),
                                    .exclude = list_of(a, f, "exclude"),
                                    .debounce_ms =
                                        (uint64_t)frame_get_int(f, "debounce_ms", 1, 60000, 0),
                                    .owner = following ? c : NULL};
    if (m->watch != NULL && r.path != NULL && strcmp(r.path, m->watch->path) != 0) {
        error_set(err, "watch.exists", 0, "module \"%s\" is reloaded from \"%s\" already", m->name,
                  m->watch->path);
        return error_hint(err, "cloche unwatch %s %s", k->id, m->name);
    }
    if (m->watch == NULL && start(m, &r, err) < 0)
        return -1;
    if (following)
        return follow(m->watch, c, f->head.serial, err);
    m->watch->owner = NULL;
    if (remember(m, m->watch->path, err) < 0)
        return -1;
    cJSON *o = watch_json(m);
    cJSON_AddStringToObject(o, "module", m->name);
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}

int op_unwatch(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    struct module *m = modules_find(k, frame_get(f, "module"), err);
    if (m == NULL)
        return -1;
    if (m->watch == NULL && m->watch_wanted == NULL) {
        error_set(err, "watch.none", 0, "module \"%s\" is not watched", m->name);
        return error_hint(err, "cloche watch %s %s", k->id, m->name);
    }
    stop(m);
    if (m->watch_wanted != NULL && remember(m, NULL, err) < 0)
        return -1;
    connection_reply(c, f->head.serial, NULL);
    return 0;
}
