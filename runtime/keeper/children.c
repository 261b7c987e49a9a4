/* The spec's children, which config/ has checked, as a tree of nodes. */
#include "runtime/keeper/service.h"
#include "runtime/keeper/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ADDED_MAX         64 /* services beside the spec's children */
#define DEPTH_MAX         16
#define CHILDREN_MAX      256
#define SHUTDOWN_MS       5000
#define READY_MS          10000
#define RESTARTS_KEPT_MAX 100000

static const char *text(const cJSON *o, const char *name, const char *otherwise)
{
    const char *t = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return t != NULL ? t : otherwise;
}

static uint64_t number(const cJSON *o, const char *name, uint64_t otherwise)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) && n->valuedouble >= 0 && n->valuedouble < 1e15
               ? (uint64_t)n->valuedouble
               : otherwise;
}

static enum supervise_strategy strategy_of(const char *word)
{
    return strcmp(word, "one_for_all") == 0    ? ONE_FOR_ALL
           : strcmp(word, "rest_for_one") == 0 ? REST_FOR_ONE
                                               : ONE_FOR_ONE;
}

static enum supervise_restart restart_of(const char *word)
{
    return strcmp(word, "transient") == 0   ? TRANSIENT
           : strcmp(word, "temporary") == 0 ? TEMPORARY
                                            : PERMANENT;
}

static int ready_of(const char *word)
{
    return strcmp(word, "line") == 0     ? READY_LINE
           : strcmp(word, "socket") == 0 ? READY_SOCKET
                                         : READY_NONE;
}

/* --- who is started after whom ------------------------------------------------------------------
 *
 * A name in start_after means a child beside, else one beside the supervisor, and so on upwards.
 * At each level a supervisor waits for what any child below it waits for. */

struct scope {
    const cJSON *list;
    const struct scope *up;
};

static const cJSON *find_child(const cJSON *list, const cJSON *name)
{
    const cJSON *o;
    cJSON_ArrayForEach(o, list)
    {
        if (cJSON_IsString(name) && strcmp(text(o, "id", ""), name->valuestring) == 0)
            return o;
    }
    return NULL;
}

/** The nearest child of that name, and in *@ret the list that it is in. */
static const cJSON *resolve(const struct scope *from, const cJSON *name, const cJSON **ret)
{
    for (const struct scope *s = from; s != NULL; s = s->up) {
        const cJSON *found = find_child(s->list, name);
        *ret = s->list;
        if (found != NULL)
            return found;
    }
    return NULL;
}

static bool contains(const cJSON *const *items, int count, const cJSON *o)
{
    for (int i = 0; i < count; i++) {
        if (items[i] == o)
            return true;
    }
    return false;
}

/** What keeps @o, in the list of @at, or anything below it from being started after @done of the
 * list @level: a name of its start_after, or NULL. */
static const cJSON *waits_for(const cJSON *o, const struct scope *at, const cJSON *level,
                              const cJSON *const *done, int count, int depth)
{
    const cJSON *name, *child, *list = NULL,
                               *below = cJSON_GetObjectItemCaseSensitive(o, "children");
    cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(o, "start_after"))
    {
        const cJSON *other = resolve(at, name, &list);
        if (other == NULL || (list == level && !contains(done, count, other)))
            return name;
    }
    const struct scope inner = {.list = below, .up = at};
    cJSON_ArrayForEach(child, below)
    {
        name = depth < DEPTH_MAX ? waits_for(child, &inner, level, done, count, depth + 1) : NULL;
        if (name != NULL)
            return name;
    }
    return NULL;
}

static int wrong_order(const cJSON *o, const cJSON *name, const struct scope *at, struct error *err)
{
    const cJSON *list;
    const char *id = text(o, "id", ""), *other = cJSON_GetStringValue(name);
    if (resolve(at, name, &list) == NULL) {
        error_set(err, "spec.invalid", 0,
                  "child \"%s\": start_after: there is no child \"%s\" beside it or above", id,
                  other != NULL ? other : "");
        return error_hint(err, "name children of its own supervisor, or of one above");
    }
    error_set(err, "spec.invalid", 0, "child \"%s\": start_after \"%s\" leads back to itself", id,
              other);
    return error_hint(err, "take one name out of the circle");
}

/** The order of the list, but nobody before those that it is to be started after. */
static int put_in_order(const struct scope *at, const cJSON **ret, int count, struct error *err)
{
    for (int done = 0; done < count; done++) {
        const cJSON *o, *first = NULL, *obstacle = NULL;
        cJSON_ArrayForEach(o, at->list)
        {
            if (contains(ret, done, o))
                continue;
            const cJSON *name = waits_for(o, at, at->list, ret, done, 0);
            if (name == NULL)
                break;
            first = first != NULL ? first : o;
            obstacle = obstacle != NULL ? obstacle : name;
        }
        if (o == NULL)
            return wrong_order(first, obstacle, at, err);
        ret[done] = o;
    }
    return 0;
}

static int read_supervisor(struct tree *t, struct node *s, const struct scope *at, int depth,
                           struct error *err);

static int read_child(struct tree *t, struct node *s, size_t i, const cJSON *o,
                      const struct scope *at, int depth, struct error *err)
{
    struct node *n = &s->children[i];
    struct arena *a = t->arena;
    const char *kind = text(o, "kind", "command");
    *n = (struct node){.keeper = s->keeper, .parent = s, .index = i, .pidfd = -1, .ready_fd = -1};
    n->id = arena_strdup(a, text(o, "id", ""));
    n->path = s->parent == NULL ? n->id : arena_printf(a, "%s/%s", s->path, n->id);
    s->logic.children[i].restart = restart_of(text(o, "restart", "permanent"));
    n->shutdown_ms = number(o, "shutdown_ms", SHUTDOWN_MS);
    if (strcmp(kind, "module") == 0) {
        struct module *m = modules_add(s->keeper, text(o, "module", ""), err);
        if (m == NULL)
            return -1;
        if (m->service != NULL && m->service->node != NULL)
            return error_set(err, "spec.invalid", 0, "two children for module \"%s\"", m->name);
        n->service = service_of(m);
        n->service->node = n;
        return 0;
    }
    if (strcmp(kind, "supervisor") == 0) {
        n->supervisor = true;
        n->logic.strategy = strategy_of(text(o, "strategy", "one_for_one"));
        n->logic.max_restarts = (unsigned)number(o, "max_restarts", 3);
        n->logic.window_ms = number(o, "max_seconds", 5) * 1000;
        const struct scope inner = {.list = cJSON_GetObjectItemCaseSensitive(o, "children"),
                                    .up = at};
        return read_supervisor(t, n, &inner, depth + 1, err);
    }
    const cJSON *arg, *args = cJSON_GetObjectItemCaseSensitive(o, "args");
    cJSON_ArrayForEach(arg, args)
    {
        strings_add(a, &n->args, cJSON_IsString(arg) ? arg->valuestring : "");
    }
    n->ready_ms = number(o, "ready_ms", READY_MS);
    n->ready = ready_of(text(o, "ready", "none"));
    n->ready_socket = arena_strdup(a, text(o, "ready_socket", ""));
    const struct spec *spec = s->keeper->spec;
    if (n->ready != READY_SOCKET || n->ready_socket[0] == '/' || spec->network != NETWORK_NONE ||
        !spec->ns_new[NS_NETWORK])
        return 0;
    error_set(err, "spec.invalid", 0,
              "child \"%s\" is ready with %s, which the network \"none\" has not", n->path,
              n->ready_socket);
    return error_hint(err, "\"network\": \"loopback\"");
}

static int read_supervisor(struct tree *t, struct node *s, const struct scope *at, int depth,
                           struct error *err)
{
    int count = cJSON_GetArraySize(at->list);
    if (depth > DEPTH_MAX || count > CHILDREN_MAX || s->logic.max_restarts > RESTARTS_KEPT_MAX)
        return error_set(err, "spec.invalid", 0,
                         "children: at most %d in one supervisor, %d supervisors deep, %d restarts",
                         CHILDREN_MAX, DEPTH_MAX, RESTARTS_KEPT_MAX);
    s->logic.count = (size_t)count;
    size_t room = (size_t)count + (s->parent == NULL ? ADDED_MAX : 0) + 1;
    s->children = arena_alloc(t->arena, room * sizeof *s->children);
    s->logic.children = arena_alloc(t->arena, room * sizeof *s->logic.children);
    s->logic.restarts = calloc(s->logic.max_restarts + 1, sizeof *s->logic.restarts);
    if (s->logic.restarts == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot make a supervisor");
    const cJSON *ordered[CHILDREN_MAX] = {NULL};
    if (put_in_order(at, ordered, count, err) < 0)
        return -1;
    for (int i = 0; i < count; i++) {
        if (read_child(t, s, (size_t)i, ordered[i], at, depth, err) < 0)
            return -1;
    }
    return 0;
}

int tree_check_room(const struct tree *t, struct error *err)
{
    size_t wanted = t->added;
    for (const struct module *m = t->root.keeper->modules; m != NULL; m = m->next)
        wanted += m->service != NULL && m->service->node == NULL && m->service->reload != NULL;
    if (wanted < ADDED_MAX)
        return 0;
    return error_set(err, "module.too_many", 0, "%d modules have no child in the spec already",
                     ADDED_MAX);
}

struct node *tree_new_service(struct tree *t, struct service *s, struct error *err)
{
    struct node *root = &t->root;
    if (t->added == ADDED_MAX) {
        tree_check_room(t, err);
        return NULL;
    }
    size_t i = root->logic.count++;
    struct node *n = &root->children[i];
    *n = (struct node){.keeper = root->keeper,
                       .parent = root,
                       .index = i,
                       .id = arena_strdup(t->arena, s->name),
                       .service = s,
                       .shutdown_ms = SHUTDOWN_MS,
                       .pidfd = -1,
                       .ready_fd = -1};
    n->path = n->id;
    root->logic.children[i] = (struct supervise_child){.restart = PERMANENT};
    s->node = n;
    t->added++;
    return n;
}

struct tree *tree_new(struct keeper *k, struct error *err)
{
    struct arena *a = arena_new();
    struct tree *t = arena_alloc(a, sizeof *t);
    const struct spec *spec = k->spec;
    t->arena = a;
    t->root = (struct node){.keeper = k, .supervisor = true, .id = "", .path = ""};
    t->root.logic = (struct supervise){.strategy = strategy_of(spec->strategy),
                                       .max_restarts = spec->max_restarts,
                                       .window_ms = (uint64_t)spec->max_seconds * 1000};
    cJSON *list =
        spec->children_json != NULL ? cJSON_Parse(spec->children_json) : cJSON_CreateArray();
    int rc = read_supervisor(t, &t->root, &(struct scope){.list = list}, 0, err);
    cJSON_Delete(list);
    for (struct module *m = k->modules; rc == 0 && m != NULL; m = m->next) {
        const struct service *s = service_of(m);
        bool serves = s->active.number != 0 || m->start_version != 0 || m->source != NULL;
        if (s->node == NULL && serves && tree_new_service(t, m->service, err) == NULL)
            rc = -1;
    }
    if (rc == 0)
        return t;
    tree_free(t);
    return NULL;
}
