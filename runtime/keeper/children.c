/* The spec's children, which config/ has checked, as a tree of nodes. */
#include "runtime/keeper/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int read_supervisor(struct tree *t, struct node *s, const cJSON *list, int depth,
                           struct error *err);

static int read_child(struct tree *t, struct node *s, size_t i, const cJSON *o, int depth,
                      struct error *err)
{
    struct node *n = &s->children[i];
    struct arena *a = t->arena;
    const char *kind = text(o, "kind", "command");
    *n = (struct node){.keeper = s->keeper, .parent = s, .index = i, .pidfd = -1, .ready_fd = -1};
    n->id = arena_strdup(a, text(o, "id", ""));
    n->path = s->parent == NULL ? n->id : arena_printf(a, "%s/%s", s->path, n->id);
    s->logic.children[i].restart = restart_of(text(o, "restart", "permanent"));
    if (strcmp(kind, "module") == 0) {
        error_set(err, "spec.unsupported", 0, "child \"%s\": modules cannot be supervised yet",
                  n->path);
        return error_hint(err, "a child of kind \"command\" or \"supervisor\"");
    }
    if (strcmp(kind, "supervisor") == 0) {
        n->supervisor = true;
        n->logic.strategy = strategy_of(text(o, "strategy", "one_for_one"));
        n->logic.max_restarts = (unsigned)number(o, "max_restarts", 3);
        n->logic.window_ms = number(o, "max_seconds", 5) * 1000;
        return read_supervisor(t, n, cJSON_GetObjectItemCaseSensitive(o, "children"), depth + 1,
                               err);
    }
    const cJSON *arg, *args = cJSON_GetObjectItemCaseSensitive(o, "args");
    cJSON_ArrayForEach(arg, args)
    {
        strings_add(a, &n->args, cJSON_IsString(arg) ? arg->valuestring : "");
    }
    n->shutdown_ms = number(o, "shutdown_ms", SHUTDOWN_MS);
    n->ready_ms = number(o, "ready_ms", READY_MS);
    n->ready_line = strcmp(text(o, "ready", "none"), "line") == 0;
    return 0;
}

static int read_supervisor(struct tree *t, struct node *s, const cJSON *list, int depth,
                           struct error *err)
{
    int count = cJSON_GetArraySize(list);
    if (depth > DEPTH_MAX || count > CHILDREN_MAX || s->logic.max_restarts > RESTARTS_KEPT_MAX)
        return error_set(err, "spec.invalid", 0,
                         "children: at most %d in one supervisor, %d supervisors deep, %d restarts",
                         CHILDREN_MAX, DEPTH_MAX, RESTARTS_KEPT_MAX);
    s->logic.count = (size_t)count;
    s->children = arena_alloc(t->arena, ((size_t)count + 1) * sizeof *s->children);
    s->logic.children = arena_alloc(t->arena, ((size_t)count + 1) * sizeof *s->logic.children);
    s->logic.restarts = calloc(s->logic.max_restarts + 1, sizeof *s->logic.restarts);
    if (s->logic.restarts == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot make a supervisor");
    size_t i = 0;
    const cJSON *o;
    cJSON_ArrayForEach(o, list)
    {
        if (read_child(t, s, i++, o, depth, err) < 0)
            return -1;
    }
    return 0;
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
    int rc = read_supervisor(t, &t->root, list, 0, err);
    cJSON_Delete(list);
    if (rc == 0)
        return t;
    tree_free(t);
    return NULL;
}
