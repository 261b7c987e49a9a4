#include "compiler/diagnostics.h"

#include "base/io.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static const char *const severity_names[] = {
    [SEVERITY_FATAL] = "fatal error",
    [SEVERITY_ERROR] = "error",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_NOTE] = "note",
};

const char *severity_name(enum severity s)
{
    return severity_names[s];
}

int diagnostics_format_parse(const char *name)
{
    static const char *const names[] = {"plain", "gcc-json", "clang"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    }
    return -1;
}

struct diagnostics *diagnostics_new(void)
{
    struct arena *a = arena_new();
    struct diagnostics *d = arena_alloc(a, sizeof *d);
    d->arena = a;
    return d;
}

void diagnostics_free(struct diagnostics *d)
{
    if (d != NULL)
        arena_free(d->arena);
}

const char *diagnostics_clean(struct arena *a, const char *text, size_t n, size_t max)
{
    if (n > max)
        n = max;
    char *out = arena_alloc(a, n * 3 + 1);
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        const unsigned char *p = (const unsigned char *)text + i;
        size_t len = io_utf8_length(text + i, n - i);
        /* C1 controls (U+0080..U+009F) steer terminals, too */
        bool control = (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) ||
                       (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        if (control) {
            out[used++] = ' ';
        } else if (len == 0) {
            memcpy(out + used, "\xef\xbf\xbd", 3);
            used += 3;
        } else {
            memcpy(out + used, p, len);
            used += len;
        }
        i += len == 0 ? 1 : len;
    }
    out[used] = '\0';
    return out;
}

struct diagnostic *diagnostics_add(struct diagnostics *d, enum severity severity)
{
    if (severity == SEVERITY_NOTE && d->count > 0) {
        struct diagnostic *last = &d->items[d->count - 1];
        if (last->note_count == NOTES_MAX)
            return NULL;
        last->notes = arena_grow(d->arena, last->notes, last->note_count, sizeof *last->notes);
        last->notes[last->note_count].severity = severity;
        return &last->notes[last->note_count++];
    }
    if (severity == SEVERITY_WARNING)
        d->warnings++;
    else if (severity != SEVERITY_NOTE)
        d->errors++;
    if (d->count == DIAGNOSTICS_MAX) {
        d->truncated = true;
        return NULL;
    }
    d->items = arena_grow(d->arena, d->items, d->count, sizeof *d->items);
    d->items[d->count].severity = severity;
    return &d->items[d->count++];
}

void diagnostics_place(struct diagnostics *d, struct diagnostic *item, const char *file,
                       size_t file_size, unsigned line, unsigned column,
                       const struct diagnostics_map *map)
{
    item->line = line;
    item->column = column;
    if (file_size == 0)
        return;
    const char *inside = arena_strndup(d->arena, file, file_size);
    const char *outside = NULL;
    if (map != NULL && map->path != NULL)
        outside = map->path(map->data, d->arena, inside);
    if (outside == NULL)
        outside = inside;
    item->file = diagnostics_clean(d->arena, outside, strlen(outside), MESSAGE_MAX);

    size_t size;
    const char *text = NULL;
    if (map != NULL && map->line != NULL && line > 0)
        text = map->line(map->data, inside, line, &size);
    if (text != NULL) {
        /* tabs keep their column: cleaning makes each one blank */
        item->source = diagnostics_clean(d->arena, text, size, SOURCE_LINE_MAX);
    }
}

/* --- JSON --- */

static void add_text(cJSON *o, const char *key, const char *text)
{
    if (text != NULL)
        cJSON_AddStringToObject(o, key, text);
    else
        cJSON_AddNullToObject(o, key);
}

static void add_number(cJSON *o, const char *key, unsigned value)
{
    if (value > 0)
        cJSON_AddNumberToObject(o, key, value);
    else
        cJSON_AddNullToObject(o, key);
}

static cJSON *item_to_json(const struct diagnostic *item)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "severity", severity_name(item->severity));
    add_text(o, "file", item->file);
    add_number(o, "line", item->line);
    add_number(o, "column", item->column);
    add_number(o, "end_column", item->end_column);
    cJSON_AddStringToObject(o, "message", item->message != NULL ? item->message : "");
    add_text(o, "option", item->option);
    add_text(o, "source", item->source);
    cJSON *notes = cJSON_AddArrayToObject(o, "notes");
    for (size_t i = 0; i < item->note_count; i++)
        cJSON_AddItemToArray(notes, item_to_json(&item->notes[i]));
    cJSON *fixits = cJSON_AddArrayToObject(o, "fixits");
    for (size_t i = 0; i < item->fixit_count; i++) {
        const struct fixit *f = &item->fixits[i];
        cJSON *x = cJSON_CreateObject();
        add_text(x, "file", f->file);
        add_number(x, "line", f->line);
        add_number(x, "column", f->column);
        add_number(x, "end_line", f->end_line);
        add_number(x, "end_column", f->end_column);
        add_text(x, "text", f->text);
        cJSON_AddItemToArray(fixits, x);
    }
    return o;
}

cJSON *diagnostics_to_json(const struct diagnostics *d)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < d->count; i++)
        cJSON_AddItemToArray(list, item_to_json(&d->items[i]));
    return list;
}

/* The macro of cJSON for this is more than some analysers can read. */
static const cJSON *first_of(const cJSON *list)
{
    return list == NULL ? NULL : list->child;
}

static const char *get_text(struct arena *a, const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsString(v) || v->valuestring == NULL)
        return NULL;
    return diagnostics_clean(a, v->valuestring, strlen(v->valuestring), MESSAGE_MAX);
}

static unsigned get_number(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsNumber(v) || !isfinite(v->valuedouble) || v->valuedouble < 0 ||
        v->valuedouble > 1e9)
        return 0;
    return (unsigned)v->valuedouble;
}

static enum severity severity_from(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof severity_names / sizeof *severity_names; i++) {
        if (strcmp(name, severity_names[i]) == 0)
            return (enum severity)i;
    }
    return SEVERITY_ERROR;
}

static const char *get_file(struct arena *a, const cJSON *o, const struct diagnostics_map *map)
{
    const char *file = get_text(a, o, "file"), *outside = NULL;
    if (file != NULL && map != NULL && map->path != NULL)
        outside = map->path(map->data, a, file);
    return outside == NULL ? file : diagnostics_clean(a, outside, strlen(outside), MESSAGE_MAX);
}

static void fixits_from_json(struct arena *a, struct diagnostic *item, const cJSON *list,
                             const struct diagnostics_map *map)
{
    for (const cJSON *x = first_of(list); x != NULL; x = x->next) {
        if (item->fixit_count == FIXITS_MAX)
            return;
        item->fixits = arena_grow(a, item->fixits, item->fixit_count, sizeof *item->fixits);
        item->fixits[item->fixit_count++] = (struct fixit){
            .file = get_file(a, x, map),
            .line = get_number(x, "line"),
            .column = get_number(x, "column"),
            .end_line = get_number(x, "end_line"),
            .end_column = get_number(x, "end_column"),
            .text = get_text(a, x, "text"),
        };
    }
}

static void item_from_json(struct diagnostics *d, const cJSON *o, const struct diagnostics_map *map)
{
    struct arena *a = d->arena;
    struct diagnostic *item = diagnostics_add(d, severity_from(get_text(a, o, "severity")));
    if (item == NULL)
        return;
    item->file = get_file(a, o, map);
    item->line = get_number(o, "line");
    item->column = get_number(o, "column");
    item->end_column = get_number(o, "end_column");
    item->message = get_text(a, o, "message");
    item->option = get_text(a, o, "option");
    item->source = get_text(a, o, "source");
    fixits_from_json(a, item, cJSON_GetObjectItemCaseSensitive(o, "fixits"), map);
    for (const cJSON *note = first_of(cJSON_GetObjectItemCaseSensitive(o, "notes")); note != NULL;
         note = note->next)
        item_from_json(d, note, map);
}

int diagnostics_from_json(struct diagnostics *d, const char *text, size_t size,
                          const struct diagnostics_map *map)
{
    cJSON *list = cJSON_ParseWithLength(text, size);
    int result = cJSON_IsArray(list) ? 0 : -1;
    for (const cJSON *o = first_of(list); o != NULL; o = o->next)
        item_from_json(d, o, map);
    d->truncated = d->count == DIAGNOSTICS_MAX; /* what is beyond was not kept */
    cJSON_Delete(list);
    return result;
}

/* --- terminal --- */

struct palette {
    const char *place, *severity[4], *caret, *fix, *plain;
};

static const struct palette no_color = {"", {"", "", "", ""}, "", "", ""};
static const struct palette ansi = {
    "\033[1m", {"\033[1;31m", "\033[1;31m", "\033[1;35m", "\033[1;36m"}, "\033[1;32m", "\033[32m",
    "\033[0m",
};

/* Columns count bytes; on a terminal each character takes one cell. */
static unsigned cells(const char *text, unsigned bytes)
{
    unsigned n = 0;
    for (unsigned i = 0; i < bytes && text[i] != '\0'; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

static void print_source(const struct diagnostic *item, FILE *out, const struct palette *p,
                         enum severity severity)
{
    if (item->source == NULL)
        return;
    fprintf(out, "%5u | %s\n", item->line, item->source);
    size_t length = strlen(item->source);
    if (item->column == 0 || item->column > length + 1)
        return;
    unsigned start = cells(item->source, item->column - 1), width = 1;
    if (item->end_column > item->column && item->end_column <= length)
        width = cells(item->source, item->end_column) - start;
    fprintf(out, "      | %*s%s^", (int)start, "", p->severity[severity]);
    for (unsigned i = 1; i < width; i++)
        fputc('~', out);
    fprintf(out, "%s\n", p->plain);

    for (size_t i = 0; i < item->fixit_count; i++) {
        const struct fixit *f = &item->fixits[i];
        if (f->line != item->line || f->column == 0 || f->column > length + 1 || f->text == NULL ||
            strchr(f->text, '\n') != NULL)
            continue;
        fprintf(out, "      | %*s%s%s%s\n", (int)cells(item->source, f->column - 1), "", p->fix,
                f->text[0] != '\0' ? f->text : "-", p->plain);
    }
}

static void print_item(const struct diagnostic *item, FILE *out, const struct palette *p)
{
    fputs(p->place, out);
    if (item->file != NULL) {
        fprintf(out, "%s:", item->file);
        if (item->line > 0)
            fprintf(out, "%u:", item->line);
        if (item->line > 0 && item->column > 0)
            fprintf(out, "%u:", item->column);
        fputc(' ', out);
    }
    fprintf(out, "%s%s%s:%s %s", p->plain, p->severity[item->severity],
            severity_name(item->severity), p->plain, item->message != NULL ? item->message : "");
    if (item->option != NULL)
        fprintf(out, " [%s%s%s]", p->severity[item->severity], item->option, p->plain);
    fputc('\n', out);
    print_source(item, out, p, item->severity);
    for (size_t i = 0; i < item->note_count; i++)
        print_item(&item->notes[i], out, p);
}

void diagnostics_print(const struct diagnostics *d, FILE *out, bool color)
{
    const struct palette *p = color ? &ansi : &no_color;
    for (size_t i = 0; i < d->count; i++)
        print_item(&d->items[i], out, p);
    if (d->truncated)
        fprintf(out, "there are more; the first %zu are shown\n", d->count);
}
