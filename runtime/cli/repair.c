/* doctor --repair: sweep what is left over, and say what needs a hand. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/reconcile.h"

#include <cjson/cJSON.h>

static void add_ids(cJSON *o, const char *name, const struct strings *ids)
{
    cJSON_AddItemToObject(
        o, name, cJSON_CreateStringArray((const char *const *)ids->items, (int)ids->count));
}

static void print_json(const struct reconciled *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "orphans", r->orphans);
    cJSON_AddNumberToObject(o, "doors", r->doors);
    cJSON_AddNumberToObject(o, "groups", r->groups);
    add_ids(o, "alive", &r->alive);
    add_ids(o, "stopped", &r->stopped);
    add_ids(o, "collected", &r->collected);
    add_ids(o, "without_keeper", &r->without_keeper);
    cJSON *ruined = cJSON_AddArrayToObject(o, "ruined");
    for (size_t i = 0; i < r->ruined.count; i++) {
        cJSON *x = cJSON_CreateObject();
        cJSON_AddStringToObject(x, "id", r->ruined.items[i]);
        cJSON_AddStringToObject(x, "reason", r->reasons.items[i]);
        cJSON_AddItemToArray(ruined, x);
    }
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    puts(text != NULL ? text : "null");
    cJSON_Delete(o);
}

static void print_text(const struct reconciled *r)
{
    printf("%zu alive, %zu stopped; swept: %u keepers without state, %u doors without a sandbox, "
           "%u control groups without a keeper, %zu sandboxes past their time\n",
           r->alive.count, r->stopped.count, r->orphans, r->doors, r->groups, r->collected.count);
    for (size_t i = 0; i < r->without_keeper.count; i++)
        printf("  %s has lost its keeper; cloche restart %s, or cloche destroy %s\n",
               r->without_keeper.items[i], r->without_keeper.items[i], r->without_keeper.items[i]);
    for (size_t i = 0; i < r->ruined.count; i++)
        printf("  %s cannot be started again: %s; cloche destroy %s\n", r->ruined.items[i],
               r->reasons.items[i], r->ruined.items[i]);
}

int cli_repair(bool json)
{
    struct error err = ERROR_INIT;
    struct reconciled r;
    _cleanup_arena_ struct arena *a = arena_new();
    if (reconcile(a, &r, &err) < 0)
        return cli_fail(&err, json, 1);
    (json ? print_json : print_text)(&r);
    return r.ruined.count == 0 ? 0 : 1;
}
