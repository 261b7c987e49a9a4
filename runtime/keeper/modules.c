/* The list of modules: from the spec and from the store; theory of operation: modules.h. */
#include "runtime/keeper/modules.h"

#include "base/cleanup.h"
#include "runtime/keeper/checkpoints.h"
#include "runtime/keeper/queries.h"
#include "runtime/keeper/service.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MODULES_MAX 1000

static struct module *find(struct keeper *k, const char *name)
{
    struct module *m = k->modules;
    while (m != NULL && strcmp(m->name, name) != 0)
        m = m->next;
    return m;
}

struct module *modules_find(struct keeper *k, const char *name, struct error *err)
{
    struct module *m = name != NULL ? find(k, name) : NULL;
    char list[256] = "";
    size_t used = 0;
    if (m != NULL)
        return m;
    for (const struct module *o = k->modules; o != NULL && used < sizeof list - 80; o = o->next)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                 o->name);
    error_set(err, "module.unknown", 0, "sandbox \"%s\" has no module \"%.80s\"", k->id,
              name != NULL ? name : "");
    if (used > 0)
        error_hint(err, "it has %s", list);
    else
        error_hint(err, "cloche create ID --module NAME=SOURCE makes one");
    return NULL;
}

static void read_strings(struct arena *a, const cJSON *list, struct strings *ret)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item))
            strings_add(a, ret, item->valuestring);
    }
}

static void read_policy(struct module *m, const cJSON *o)
{
    struct arena *a = m->keeper->spec->arena;
    const cJSON *libraries = cJSON_GetObjectItemCaseSensitive(o, "allow_libraries"),
                *size = cJSON_GetObjectItemCaseSensitive(o, "size_bytes");
    read_strings(a, cJSON_GetObjectItemCaseSensitive(o, "deny_symbols"), &m->deny_symbols);
    if (libraries != NULL) {
        m->allow_libraries = (struct strings){0};
        read_strings(a, libraries, &m->allow_libraries);
    }
    if (cJSON_IsNumber(size))
        m->size_cap_bytes = (uint64_t)size->valuedouble;
}

struct module *modules_add(struct keeper *k, const char *name, struct error *err)
{
    if (name == NULL || !spec_valid_id(name)) {
        error_set(err, "module.bad_name", 0, "\"%.80s\" cannot be the name of a module",
                  name != NULL ? name : "");
        error_hint(err, "1 to 64 letters, digits, \"_\", \".\" and \"-\", the first a letter or "
                        "digit");
        return NULL;
    }
    struct module **at = &k->modules;
    size_t count = 0;
    for (; *at != NULL; at = &(*at)->next, count++) {
        if (strcmp((*at)->name, name) == 0)
            return *at;
    }
    if (count == MODULES_MAX) {
        error_set(err, "module.too_many", 0, "sandbox \"%s\" has %d modules already", k->id,
                  MODULES_MAX);
        return NULL;
    }
    /* as long as the keeper, whose spec's arena holds it */
    struct arena *a = k->spec->arena;
    *at = arena_alloc(a, sizeof **at);
    **at = (struct module){.keeper = k,
                           .name = arena_strdup(a, name),
                           .probation_ms = UINT64_MAX,
                           .arena_bytes = ARENA_DEFAULT};
    cJSON *policy =
        k->spec->module_policy_json != NULL ? cJSON_Parse(k->spec->module_policy_json) : NULL;
    read_policy(*at, policy);
    cJSON_Delete(policy);
    return *at;
}

/* --- the spec -----------------------------------------------------------------------------------
 */

static const char *text_of(struct arena *a, const cJSON *o, const char *name)
{
    const char *t = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return t != NULL ? arena_strdup(a, t) : NULL;
}

static void read_module(struct module *m, const cJSON *o)
{
    struct arena *a = m->keeper->spec->arena;
    const cJSON *probation = cJSON_GetObjectItemCaseSensitive(o, "probation_ms"),
                *keep = cJSON_GetObjectItemCaseSensitive(o, "keep"),
                *arena = cJSON_GetObjectItemCaseSensitive(o, "arena_bytes"),
                *watch = cJSON_GetObjectItemCaseSensitive(o, "watch");
    const char *mode = text_of(a, o, "state");
    m->source = text_of(a, o, "source");
    m->toolchain = text_of(a, o, "toolchain");
    m->watch_wanted = cJSON_IsString(watch) ? text_of(a, o, "watch")
                      : cJSON_IsTrue(watch) ? m->source
                                            : NULL;
    if (cJSON_IsNumber(probation))
        m->probation_ms = (uint64_t)probation->valuedouble;
    if (cJSON_IsNumber(arena))
        m->arena_bytes = ((uint64_t)arena->valuedouble + STATE_ARENA_PAGE - 1) / STATE_ARENA_PAGE *
                         STATE_ARENA_PAGE;
    if (cJSON_IsNumber(keep))
        m->keep = (unsigned)keep->valuedouble;
    m->state_mode = mode == NULL                 ? STATE_MIGRATE
                    : strcmp(mode, "keep") == 0  ? STATE_KEEP
                    : strcmp(mode, "empty") == 0 ? STATE_EMPTY
                                                 : STATE_MIGRATE;
    read_strings(a, cJSON_GetObjectItemCaseSensitive(o, "flags"), &m->flags);
    read_strings(a, cJSON_GetObjectItemCaseSensitive(o, "defines"), &m->defines);
    read_strings(a, cJSON_GetObjectItemCaseSensitive(o, "depends"), &m->depends);
    read_policy(m, o);
}

static int read_children(struct keeper *k, const cJSON *list, struct error *err)
{
    const cJSON *child;
    cJSON_ArrayForEach(child, list)
    {
        const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(child, "kind"));
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(child, "module"));
        if (kind != NULL && strcmp(kind, "module") == 0 && modules_add(k, name, err) == NULL)
            return -1;
        if (read_children(k, cJSON_GetObjectItemCaseSensitive(child, "children"), err) < 0)
            return -1;
    }
    return 0;
}

static int read_spec(struct keeper *k, struct error *err)
{
    const struct spec *s = k->spec;
    cJSON *children = s->children_json != NULL ? cJSON_Parse(s->children_json) : NULL;
    cJSON *modules = s->modules_json != NULL ? cJSON_Parse(s->modules_json) : NULL;
    int rc = read_children(k, children, err);
    for (const cJSON *o = modules != NULL ? modules->child : NULL; rc == 0 && o != NULL;
         o = o->next) {
        struct module *m = modules_add(k, o->string, err);
        if (m == NULL)
            rc = -1;
        else
            read_module(m, o);
    }
    cJSON_Delete(children);
    cJSON_Delete(modules);
    return rc;
}

/* --- the store ----------------------------------------------------------------------------------
 */

const char *modules_root(const struct keeper *k)
{
    return k->spec->rootfs == ROOTFS_DIR ? k->spec->rootfs_path : "/";
}

struct versions *modules_store(struct keeper *k, struct error *err)
{
    if (k->versions == NULL) {
        if (versions_open(k->state_fd, &k->versions, err) < 0)
            return NULL;
        versions_leave_log(k->versions);
    }
    /* the worker's root is bound from these, and a first look at libc takes a while: now, so that
     * no build pays for it */
    if (k->exports == NULL) {
        const struct elf_info nothing = {.name = ""};
        struct error ignored = ERROR_INIT;
        k->exports = elf_exports_new(modules_root(k), &ignored);
        if (k->exports != NULL)
            elf_exports_check(k->exports, &nothing, &ignored);
    }
    return k->versions;
}

static int read_store(struct keeper *k, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct versions_start *list;
    size_t count;
    struct strings names = {0};
    if (versions_recover(k->versions, a, &list, &count, err) < 0 ||
        store_modules(k->versions, a, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        if (modules_add(k, names.items[i], err) == NULL)
            return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct module *m = modules_add(k, list[i].module, err);
        if (m == NULL)
            return -1;
        m->start_version = list[i].good != 0 ? list[i].good : list[i].candidate;
    }
    return 0;
}

int modules_open(struct keeper *k, struct error *err)
{
    if (read_spec(k, err) < 0)
        return -1;
    if (k->modules == NULL && faccessat(k->state_fd, "sandbox.db", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (modules_store(k, err) == NULL || read_store(k, err) < 0)
        return query_store_failed(k->state_fd, k->id, err);
    return 0;
}

void modules_close(struct keeper *k)
{
    checkpoints_close(k);
    build_end_all(k);
    elf_exports_free(k->exports);
    k->exports = NULL;
    versions_close(k->versions);
    k->versions = NULL;
}

void modules_free(struct keeper *k)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        service_free(m->service);
        free(m->diagnostics);
        free(m->build_text);
    }
    k->modules = NULL; /* of the spec's memory */
}

void module_policy(const struct module *m, struct elf_policy *ret)
{
    *ret = (struct elf_policy){.name = m->name,
                               .size_cap_bytes = m->size_cap_bytes,
                               .allow_libraries = &m->allow_libraries,
                               .deny_symbols = &m->deny_symbols,
                               .exports = m->keeper->exports};
}

/* --- version 1 ----------------------------------------------------------------------------------
 */

struct preparation {
    struct keeper *keeper;
    void (*done)(struct keeper *k, const struct error *err);
    unsigned running;
    struct error failure;
    struct loop_timer *timer;
};

static void finish(void *context)
{
    struct preparation *p = context;
    p->keeper->preparation = NULL;
    p->done(p->keeper, p->failure.code != NULL ? &p->failure : NULL);
    free(p);
}

static void on_first(void *context, const struct build_result *r)
{
    struct module *m = context;
    struct preparation *p = m->keeper->preparation;
    m->first = NULL;
    p->running--;
    if (r->status == BUILD_FAILED) {
        journal_event(m->keeper, "build.failed", m->name);
        if (p->failure.code == NULL) {
            p->failure = r->error;
            error_wrap(&p->failure, "module \"%s\": %s", m->name, r->step);
        }
        for (struct module *o = m->keeper->modules; o != NULL; o = o->next) {
            if (o->first == NULL)
                continue;
            build_cancel(o->first);
            o->first = NULL;
            p->running--;
        }
    } else {
        m->start_version = r->number;
        journal_event(m->keeper, "build.published", m->name);
    }
    if (p->running == 0 && p->timer == NULL)
        finish(p);
}

void module_build_options(const struct module *m, struct build_options *ret)
{
    *ret = (struct build_options){
        .source = {.path = m->source,
                   .fd = -1,
                   .toolchain = m->toolchain,
                   .flags = (const char *const *)m->flags.items,
                   .defines = (const char *const *)m->defines.items},
        .best_effort = !m->keeper->spec->enforce_required,
    };
}

void modules_prepare(struct keeper *k, void (*done)(struct keeper *k, const struct error *err))
{
    struct preparation *p = calloc(1, sizeof *p);
    if (p == NULL)
        abort();
    *p = (struct preparation){.keeper = k, .done = done};
    k->preparation = p;
    for (struct module *m = k->modules; m != NULL && p->failure.code == NULL; m = m->next) {
        struct build_options o;
        if (m->start_version != 0 || m->source == NULL)
            continue;
        module_build_options(m, &o);
        m->first = build_start(k, m->name, &o, on_first, m, &p->failure);
        p->running += m->first != NULL;
    }
    if (p->running > 0 && k->status == STATUS_STARTING)
        keeper_set_status(k, STATUS_COMPILING, NULL);
    if (p->running == 0)
        p->timer = loop_after(k->loop, 0, finish, p);
}

void modules_cancel(struct keeper *k)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        build_cancel(m->first);
        m->first = NULL;
    }
    if (k->preparation != NULL && k->preparation->timer != NULL)
        loop_cancel(k->loop, k->preparation->timer);
    free(k->preparation);
    k->preparation = NULL;
}
