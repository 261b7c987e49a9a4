/* Modules of runtime/cloche.h: client.c in public words; calls: library_calls.c. */
#include "runtime/library.h"

#include "base/cleanup.h"
#include <limits.h>
#include <stdlib.h>

/* --- versions ------------------------------------------------------------------------------------
 */

/** Asked of the keeper; the text of its answer, or none. */
static int ask(const char *id, const char *operation, const struct fields *f, char **ret_json,
               struct error *err)
{
    char *text = client_json(id, operation, f, err);
    if (text == NULL)
        return -1;
    if (ret_json != NULL)
        *ret_json = text;
    else
        free(text);
    return 0;
}

static int add_module(struct fields *f, const char *module, const char *source, struct error *err)
{
    char path[PATH_MAX];
    if (source != NULL && realpath(source, path) == NULL)
        return error_set(err, "usage.source", errno, "cannot find \"%s\"", source);
    fields_add(f, "module", module);
    fields_add(f, "source", source != NULL ? path : "");
    return 0;
}

/** The rest of @f, and the answer. */
static int change(const char *id, const char *operation, struct fields *f,
                  const struct cloche_reload_options *o, char **ret_json, struct error *err)
{
    if (o->state != NULL)
        fields_add(f, "state", o->state);
    fields_add_int(f, "wait", o->wait != 0);
    fields_add_int(f, "supersede", o->supersede != 0);
    fields_add_int(f, "force_drain", o->force_drain != 0);
    fields_add_int(f, "cascade", o->cascade != 0);
    return ask(id, operation, f, ret_json, err);
}

static int reload(const char *id, const struct cloche_module *const *modules,
                  const struct cloche_reload_options *options, char **ret_json, struct error *err)
{
    struct cloche_reload_options o = {0};
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (options != NULL)
        LIBRARY_OPTIONS(o, options);
    for (; *modules != NULL; modules++) {
        struct cloche_module m;
        LIBRARY_OPTIONS(m, *modules);
        if (add_module(&f, m.name, m.source, err) < 0)
            return -1;
    }
    return change(id, "reload", &f, &o, ret_json, err);
}

int cloche_reload(struct cloche *c, const char *id, const char *module,
                  const struct cloche_reload_options *options, char **ret_json,
                  struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    struct cloche_reload_options o = {0};
    if (options != NULL)
        LIBRARY_OPTIONS(o, options);
    const struct cloche_module one = {.size = sizeof one, .name = module, .source = o.source};
    const struct cloche_module *const modules[] = {&one, NULL};
    return library_give(reload(id, modules, options, ret_json, &e), &e, err);
}

int cloche_reload_all(struct cloche *c, const char *id, const struct cloche_module *const *modules,
                      const struct cloche_reload_options *options, char **ret_json,
                      struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    return library_give(reload(id, modules, options, ret_json, &e), &e, err);
}

int cloche_rollback(struct cloche *c, const char *id, const char *module, uint32_t version,
                    const struct cloche_reload_options *options, char **ret_json,
                    struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    struct cloche_reload_options o = {0};
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (options != NULL)
        LIBRARY_OPTIONS(o, options);
    fields_add(&f, "module", module);
    if (version > 0)
        fields_add_int(&f, "number", version);
    return library_give(change(id, "rollback", &f, &o, ret_json, &e), &e, err);
}

int cloche_confirm(struct cloche *c, const char *id, const char *module, struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_free_ struct frame *frame = client_frame_new();
    fields_add(&f, "module", module);
    return library_give(client_call(id, "confirm", &f, frame, &e), &e, err);
}

static void add_list(struct fields *f, const char *key, const char *const *list)
{
    for (; list != NULL && *list != NULL; list++)
        fields_add(f, key, *list);
}

static int watch(const char *id, const char *module, const struct cloche_watch_options *options,
                 struct error *err)
{
    struct cloche_watch_options o = {0};
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    char path[PATH_MAX];
    if (options != NULL)
        LIBRARY_OPTIONS(o, options);
    fields_add(&f, "module", module);
    if (o.path != NULL && realpath(o.path, path) == NULL) {
        error_set(err, "watch.unreadable", errno, "cannot watch \"%s\"", o.path);
        return error_path(err, o.path);
    }
    if (o.path != NULL)
        fields_add(&f, "path", path);
    if (o.debounce_ms > 0)
        fields_add_int(&f, "debounce_ms", (int64_t)o.debounce_ms);
    add_list(&f, "include", o.include);
    add_list(&f, "exclude", o.exclude);
    return ask(id, "watch", &f, NULL, err);
}

int cloche_watch(struct cloche *c, const char *id, const char *module,
                 const struct cloche_watch_options *options, struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    return library_give(watch(id, module, options, &e), &e, err);
}

int cloche_unwatch(struct cloche *c, const char *id, const char *module, struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_free_ struct frame *frame = client_frame_new();
    fields_add(&f, "module", module);
    return library_give(client_call(id, "unwatch", &f, frame, &e), &e, err);
}

static int stored(const char *id, const char *operation, const char *module, char **ret_json,
                  struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (module != NULL)
        fields_add(&f, "module", module);
    *ret_json = client_json(id, operation, &f, err);
    if (*ret_json == NULL && client_without_keeper(err))
        *ret_json = client_stored(id, operation, &f, -1, err);
    return *ret_json != NULL ? 0 : -1;
}

int cloche_versions(struct cloche *c, const char *id, const char *module, char **ret_json,
                    struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    return library_give(stored(id, "versions", module, ret_json, &e), &e, err);
}

int cloche_history(struct cloche *c, const char *id, const char *module, char **ret_json,
                   struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    return library_give(stored(id, "history", module, ret_json, &e), &e, err);
}

int cloche_pin(struct cloche *c, const char *id, const char *module, uint32_t version, int pinned,
               struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "module", module);
    fields_add_int(&f, "version", version);
    return library_give(ask(id, pinned != 0 ? "pin" : "unpin", &f, NULL, &e), &e, err);
}

int cloche_export(struct cloche *c, const char *id, const char *module, int fd,
                  struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "module", module);
    _cleanup_free_ char *text = client_stored(id, "export", &f, fd, &e);
    return library_give(text != NULL ? 0 : -1, &e, err);
}

static int import(const char *id, const char *module, int archive, char **ret_json,
                  struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_close_ int fd = client_connect(id, err);
    _cleanup_free_ struct frame *frame = client_frame_new();
    fields_add(&f, "module", module);
    if (fd < 0 || client_send(fd, "import", &f, &archive, 1, err) < 0 ||
        client_next(fd, id, frame, err) < 0)
        return -1;
    if (ret_json != NULL)
        *ret_json = frame_take_json(frame);
    frame_close_fds(frame);
    return 0;
}

int cloche_import(struct cloche *c, const char *id, const char *module, int fd, char **ret_json,
                  struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    return library_give(import(id, module, fd, ret_json, &e), &e, err);
}
