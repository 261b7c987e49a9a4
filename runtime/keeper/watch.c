#include "runtime/keeper/watch.h"

#include "base/cleanup.h"
#include "config/toolchain.h"
#include "runtime/keeper/watch_private.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    watch_end_saves(w);
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
        .event = watch_event};
    w->watcher = watcher_open(m->keeper->loop, &o, watch_change, w, err);
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
        if (changed)
            watch_told(m->watch, 0);
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
    cJSON *o = watch_event_new(w, "watching");
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
