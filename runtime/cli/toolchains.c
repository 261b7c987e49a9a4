/* cloche toolchains: what compiles here, and what is missing. */
#include "runtime/cli/cli.h"

#include "compiler/compiler.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {.name = "json", .help = "as JSON"},
    {0, NULL, NULL, NULL, NULL},
};

static const char *joined(struct arena *a, const struct strings *list)
{
    const char *text = "";
    for (size_t i = 0; i < list->count; i++)
        text = arena_printf(a, "%s%s%s", text, i > 0 ? " " : "", list->items[i]);
    return text;
}

int cli_toolchains(int argc, char **argv)
{
    if (cli_wants_help("toolchains", options, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct strings names = {0};
    bool json = false, chosen = true;
    if (cli_parse_all(options, &json, argc, argv, a, &names, &err) < 0)
        return cli_fail(&err, json, EXIT_USAGE);
    if (names.count == 0) {
        toolchain_names(a, &names);
        chosen = false;
    }

    int status = 0;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        char version[256] = "";
        if (toolchain_load(&tc, names.items[i], &err) < 0) {
            status = cli_fail(&err, json, EXIT_FAILURE);
            continue;
        }
        bool works = compile_toolchain_version(tc, version, sizeof version, &err) == 0;
        if (json) {
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "name", tc->name);
            cJSON_AddStringToObject(o, "description", tc->description);
            cJSON_AddStringToObject(o, "origin", tc->origin);
            cJSON_AddItemToObject(o, "extensions",
                                  cJSON_CreateStringArray((const char *const *)tc->extensions.items,
                                                          (int)tc->extensions.count));
            cJSON_AddItemToObject(o, "flags",
                                  cJSON_CreateStringArray((const char *const *)tc->flags.items,
                                                          (int)tc->flags.count));
            cJSON_AddBoolToObject(o, "works", works);
            cJSON_AddBoolToObject(o, "modules", tc->module.count > 0);
            cJSON_AddStringToObject(o, works ? "version" : "problem",
                                    works ? version : err.message);
            cJSON_AddItemToArray(list, o);
            continue;
        }
        printf("%-11s %-34s %s\n", tc->name, joined(a, &tc->extensions),
               works ? version
                     : arena_printf(a, "no: %s; fix: %s", err.message,
                                    err.hint[0] != '\0' ? err.hint : "see above"));
        if (chosen)
            printf("            %s (%s)\n            flags: %s\n            not: %s\n",
                   tc->description, tc->origin, joined(a, &tc->flags),
                   joined(a, &tc->denied_flags));
        err = (struct error)ERROR_INIT;
    }
    if (json) {
        char *text = cJSON_Print(list);
        puts(text);
        free(text);
    }
    cJSON_Delete(list);
    return status;
}
