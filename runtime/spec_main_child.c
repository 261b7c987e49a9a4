#include "runtime/spec_children.h"

#include "base/cleanup.h"

#include <cjson/cJSON.h>

int spec_takes_command(const struct spec *spec, struct error *err)
{
    if (spec->children_json == NULL)
        return 0;
    error_set(err, "usage.command", 0, "a command is given, and the spec has children of its own");
    return error_hint(err, "make it one of the children");
}

void spec_add_main_child(struct spec *spec)
{
    if (spec->args.count == 0 || spec->children_json != NULL)
        return;
    cJSON *list = cJSON_CreateArray(), *child = cJSON_CreateObject();
    cJSON_AddStringToObject(child, "id", "main");
    cJSON_AddStringToObject(child, "kind", "command");
    cJSON_AddItemToObject(
        child, "args",
        cJSON_CreateStringArray((const char *const *)spec->args.items, (int)spec->args.count));
    cJSON_AddStringToObject(child, "restart", "transient");
    cJSON_AddItemToArray(list, child);
    _cleanup_free_ char *text = cJSON_PrintUnformatted(list);
    cJSON_Delete(list);
    spec->children_json = arena_strdup(spec->arena, text);
    spec->args = (struct strings){0};
}
