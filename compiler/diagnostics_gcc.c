/* gcc 9 and later, -fdiagnostics-format=json: one array a compiler process, on a line of its own
 * (gcc manual, "Options to Control Diagnostic Messages Formatting"). */
#include "compiler/diagnostics.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#define GCC_DEPTH_MAX 8

static const cJSON *member(const cJSON *o, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(o, key);
}

/* The macro of cJSON for this is more than some analysers can read. */
static const cJSON *first_of(const cJSON *list)
{
    return list == NULL ? NULL : list->child;
}

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *v = member(o, key);
    return cJSON_IsString(v) && v->valuestring != NULL ? v->valuestring : NULL;
}

static unsigned number_of(const cJSON *o, const char *key)
{
    const cJSON *v = member(o, key);
    if (!cJSON_IsNumber(v) || !isfinite(v->valuedouble) || v->valuedouble < 0 ||
        v->valuedouble > 1e9)
        return 0;
    return (unsigned)v->valuedouble;
}

static unsigned column_of(const cJSON *position)
{
    unsigned column = number_of(position, "byte-column");
    return column > 0 ? column : number_of(position, "column");
}

static const char *mapped(struct diagnostics *d, const char *file,
                          const struct diagnostics_map *map)
{
    if (file == NULL)
        return NULL;
    const char *outside = NULL;
    if (map != NULL && map->path != NULL)
        outside = map->path(map->data, d->arena, file);
    if (outside == NULL)
        outside = file;
    return diagnostics_clean(d->arena, outside, strlen(outside), MESSAGE_MAX);
}

static void add_fixits(struct diagnostics *d, struct diagnostic *item, const cJSON *list,
                       const struct diagnostics_map *map)
{
    for (const cJSON *x = first_of(list); x != NULL; x = x->next) {
        const cJSON *start = member(x, "start"), *next = member(x, "next");
        const char *text = text_of(x, "string");
        if (text == NULL || item->fixit_count == FIXITS_MAX)
            continue;
        item->fixits = arena_grow(d->arena, item->fixits, item->fixit_count, sizeof *item->fixits);
        item->fixits[item->fixit_count++] = (struct fixit){
            .file = mapped(d, text_of(start, "file"), map),
            .line = number_of(start, "line"),
            .column = column_of(start),
            .end_line = number_of(next, "line"),
            .end_column = column_of(next),
            .text = diagnostics_clean(d->arena, text, strlen(text), MESSAGE_MAX),
        };
    }
}

static enum severity severity_of(const char *kind)
{
    if (kind == NULL || strcmp(kind, "error") == 0 || strcmp(kind, "sorry") == 0)
        return SEVERITY_ERROR;
    if (strcmp(kind, "warning") == 0 || strcmp(kind, "pedwarn") == 0)
        return SEVERITY_WARNING;
    return strcmp(kind, "note") == 0 ? SEVERITY_NOTE : SEVERITY_FATAL;
}

static void add_item(struct diagnostics *d, const cJSON *o, const struct diagnostics_map *map,
                     unsigned depth)
{
    const char *message = text_of(o, "message");
    if (message == NULL || depth > GCC_DEPTH_MAX)
        return;
    enum severity severity = depth > 0 ? SEVERITY_NOTE : severity_of(text_of(o, "kind"));
    struct diagnostic *item = diagnostics_add(d, severity);
    if (item == NULL)
        return;
    item->message = diagnostics_clean(d->arena, message, strlen(message), MESSAGE_MAX);
    const char *option = text_of(o, "option");
    if (option != NULL)
        item->option = diagnostics_clean(d->arena, option, strlen(option), 200);

    const cJSON *where = cJSON_GetArrayItem(member(o, "locations"), 0);
    const cJSON *caret = member(where, "caret"), *finish = member(where, "finish");
    const char *file = text_of(caret, "file");
    if (file != NULL) {
        diagnostics_place(d, item, file, strlen(file), number_of(caret, "line"), column_of(caret),
                          map);
        if (number_of(finish, "line") == item->line)
            item->end_column = column_of(finish);
    }
    add_fixits(d, item, member(o, "fixits"), map);

    /* a note may be the first of its list only when the item itself was dropped; children belong
     * to the item that diagnostics_add() sees last, so they are added before anything else */
    for (const cJSON *child = first_of(member(o, "children")); child != NULL; child = child->next)
        add_item(d, child, map, depth + 1);
}

void diagnostics_parse_gcc(struct diagnostics *d, const char *line, size_t size,
                           const struct diagnostics_map *map)
{
    cJSON *list = cJSON_ParseWithLength(line, size);
    if (cJSON_IsArray(list)) {
        for (const cJSON *o = first_of(list); o != NULL; o = o->next)
            add_item(d, o, map, 0);
    }
    cJSON_Delete(list);
}
