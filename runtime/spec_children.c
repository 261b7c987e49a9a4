/* The modules of a spec; the command of one: spec_main_child.c */
#include "runtime/spec_children.h"

#include "base/cleanup.h"

#include <cjson/cJSON.h>
#include <string.h>

static void print(struct spec *spec, const char **to, cJSON *from)
{
    _cleanup_free_ char *text = cJSON_PrintUnformatted(from);
    cJSON_Delete(from);
    *to = arena_strdup(spec->arena, text);
}

int spec_add_module(struct spec *spec, const struct spec_module *m, struct error *err)
{
    if (!spec_valid_id(m->name)) {
        error_set(err, "module.bad_name", 0, "\"%.80s\" cannot be the name of a module", m->name);
        return error_hint(err, "1 to 64 letters, digits, \"_\", \".\" and \"-\", the first a "
                               "letter or digit");
    }
    cJSON *modules = spec->modules_json != NULL ? cJSON_Parse(spec->modules_json) : NULL;
    cJSON *children = spec->children_json != NULL ? cJSON_Parse(spec->children_json) : NULL;
    if (modules == NULL)
        modules = cJSON_CreateObject();
    if (children == NULL)
        children = cJSON_CreateArray();
    cJSON *module = cJSON_GetObjectItemCaseSensitive(modules, m->name);
    if (module == NULL)
        module = cJSON_AddObjectToObject(modules, m->name);
    cJSON_DeleteItemFromObject(module, "source");
    cJSON_AddStringToObject(module, "source", m->source);
    if (m->toolchain != NULL)
        cJSON_AddStringToObject(module, "toolchain", m->toolchain);
    if (m->watch)
        cJSON_AddTrueToObject(module, "watch");
    if (m->probation_ms != UINT64_MAX)
        cJSON_AddNumberToObject(module, "probation_ms", (double)m->probation_ms);
    const cJSON *c;
    bool known = false;
    cJSON_ArrayForEach(c, children)
    {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c, "id"));
        known = known || (id != NULL && strcmp(id, m->name) == 0);
    }
    if (!known) {
        cJSON *child = cJSON_CreateObject();
        cJSON_AddStringToObject(child, "id", m->name);
        cJSON_AddStringToObject(child, "kind", "module");
        cJSON_AddStringToObject(child, "module", m->name);
        cJSON_AddItemToArray(children, child);
    }
    print(spec, &spec->modules_json, modules);
    print(spec, &spec->children_json, children);
    return 0;
}

void spec_modules_below(struct spec *spec, const char *dir)
{
    static const char *const paths[] = {"source", "watch"};
    cJSON *modules = spec->modules_json != NULL ? cJSON_Parse(spec->modules_json) : NULL;
    for (cJSON *m = modules != NULL ? modules->child : NULL; m != NULL; m = m->next) {
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
            const char *path = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(m, paths[i]));
            if (path == NULL || path[0] == '/')
                continue;
            const char *whole = arena_printf(spec->arena, "%s/%s", dir, path);
            cJSON_ReplaceItemInObjectCaseSensitive(m, paths[i], cJSON_CreateString(whole));
        }
    }
    if (modules != NULL)
        print(spec, &spec->modules_json, modules);
}
