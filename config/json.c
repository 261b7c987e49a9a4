#include "config/json.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct numbers {
    struct arena *arena;
    char **texts;
    size_t count, next;
};

static void remember_number(void *context, const char *text, size_t len)
{
    struct numbers *n = context;
    n->texts = arena_grow(n->arena, n->texts, n->count, sizeof *n->texts);
    n->texts[n->count++] = arena_strndup(n->arena, text, len);
}

static int compare_keys(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static const char *duplicate_key(struct arena *a, const cJSON *object)
{
    size_t count = 0;
    for (const cJSON *c = object->child; c != NULL; c = c->next)
        count++;
    if (count < 2)
        return NULL;
    if (count <= 16) {
        for (const cJSON *c = object->child; c != NULL; c = c->next) {
            for (const cJSON *d = c->next; d != NULL; d = d->next) {
                if (strcmp(c->string, d->string) == 0)
                    return c->string;
            }
        }
        return NULL;
    }
    const cJSON **sorted = arena_alloc(a, count * sizeof(void *));
    size_t i = 0;
    for (const cJSON *c = object->child; c != NULL; c = c->next)
        sorted[i++] = c;
    qsort(sorted, count, sizeof(void *), compare_keys);
    for (i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->string, sorted[i]->string) == 0)
            return sorted[i]->string;
    }
    return NULL;
}

/* cJSON keeps the order of the text, so the n-th number of the tree is the n-th of the scan. The
 * text belongs to the arena: the reference flag keeps cJSON_Delete from freeing it. */
static int finish_tree(struct numbers *n, cJSON *value, const struct json_at *at, struct error *err)
{
    if (cJSON_IsNumber(value)) {
        if (n->next >= n->count)
            return error_set(err, "spec.syntax", 0, "not valid JSON");
        value->valuestring = n->texts[n->next++];
        value->type |= cJSON_IsReference;
        return 0;
    }
    if (cJSON_IsObject(value)) {
        const char *twice = duplicate_key(n->arena, value);
        if (twice != NULL) {
            struct json_at here = {at, twice, 0};
            char *path = json_path(n->arena, &here);
            error_set(err, "spec.syntax", 0, "not valid JSON: property %s stands there twice",
                      path);
            return error_path(err, path);
        }
    }
    size_t index = 0;
    for (cJSON *c = value->child; c != NULL; c = c->next) {
        struct json_at here = {at, c->string, index++};
        if (finish_tree(n, c, &here, err) < 0)
            return -1;
    }
    return 0;
}

cJSON *json_parse(struct arena *a, const char *text, size_t size, struct error *err)
{
    struct numbers numbers = {.arena = a};
    if (json_scan(text, size, remember_number, &numbers, err) < 0)
        return NULL;
    cJSON *root = cJSON_ParseWithLength(text, size);
    if (root == NULL) {
        error_set(err, "spec.syntax", 0, "not valid JSON");
        return NULL;
    }
    if (finish_tree(&numbers, root, NULL, err) < 0) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

void json_keep_numbers(cJSON *value)
{
    if (cJSON_IsNumber(value) && value->valuestring != NULL)
        value->type = (value->type & ~0xff) | cJSON_Raw;
    for (cJSON *c = value->child; c != NULL; c = c->next)
        json_keep_numbers(c);
}

char *json_text(struct arena *a, const cJSON *value)
{
    cJSON *copy = cJSON_Duplicate(value, true);
    json_keep_numbers(copy);
    char *printed = cJSON_PrintUnformatted(copy);
    char *kept = arena_strdup(a, printed == NULL ? "null" : printed);
    free(printed);
    cJSON_Delete(copy);
    return kept;
}

static bool plain_word(const char *key)
{
    if (*key == '\0')
        return false;
    for (; *key != '\0'; key++) {
        if (!((*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') ||
              (*key >= '0' && *key <= '9') || *key == '_' || *key == '-'))
            return false;
    }
    return true;
}

char *json_path(struct arena *a, const struct json_at *at)
{
    if (at == NULL)
        return arena_strdup(a, "");
    char *up = json_path(a, at->up);
    if (at->key == NULL)
        return arena_printf(a, "%s[%zu]", up, at->index);
    if (!plain_word(at->key))
        return arena_printf(a, "%s[%s]", up, problem_quote(a, at->key));
    return arena_printf(a, "%s%s%s", up, *up == '\0' ? "" : ".", at->key);
}

/* --- problems -------------------------------------------------------------------------------- */

void json_problem(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    problem_add(&r->problems, json_path(r->problems.arena, at), "%s", text);
}

void json_unsupported(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    problem_add_unsupported(&r->problems, json_path(r->problems.arena, at), "%s", text);
}

static const char *describe(struct arena *a, const cJSON *value)
{
    switch (value->type & 0xff) {
    case cJSON_String:
        return arena_printf(a, "%s (a string)", problem_quote(a, value->valuestring));
    case cJSON_Number:
        return arena_printf(a, "%s", value->valuestring);
    case cJSON_True:
        return "true";
    case cJSON_False:
        return "false";
    case cJSON_NULL:
        return "null";
    case cJSON_Array:
        return value->child == NULL ? "an empty array" : "an array";
    default:
        return "an object";
    }
}

void json_wrong(struct json_reader *r, const struct json_at *at, const cJSON *value,
                const char *expect)
{
    json_problem(r, at, "expected %s, found %s", expect, describe(r->problems.arena, value));
}

bool json_is_array(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const char *expect)
{
    if (cJSON_IsArray(value))
        return true;
    json_wrong(r, at, value, expect);
    return false;
}

bool json_is_object(struct json_reader *r, const struct json_at *at, const cJSON *value)
{
    if (cJSON_IsObject(value))
        return true;
    json_wrong(r, at, value, "an object");
    return false;
}

bool json_has(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return value != NULL && !cJSON_IsNull(value);
}

/* --- numbers --------------------------------------------------------------------------------- */

enum whole { WHOLE, FRACTION, TOO_LARGE };

/* The exact value of a JSON number: "1e3" and "5.0" are whole, "0.5" is not. */
static enum whole whole_number(const char *text, bool *negative, uint64_t *ret)
{
    *negative = *text == '-';
    if (*negative)
        text++;
    size_t used = 0;              /* digits up to the last that is not 0 */
    size_t digits = 0, point = 0; /* digits in all, and those before the point */
    bool seen_point = false;
    const char *p = text;
    for (; *p != '\0' && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            seen_point = true;
            continue;
        }
        digits++;
        if (!seen_point)
            point++;
        if (*p != '0')
            used = digits;
    }
    long shift = *p == '\0' ? 0 : strtol(p + 1, NULL, 10); /* clamps; the scan checked its form */
    uint64_t value = 0;
    size_t n = 0;
    for (p = text; n < used; p++) {
        if (*p == '.')
            continue;
        n++;
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return TOO_LARGE;
    }
    *ret = value;
    if (value == 0) {
        *negative = false;
        return WHOLE;
    }
    if (shift > 1000 || shift < -1000)
        return shift > 0 ? TOO_LARGE : FRACTION;
    shift += (long)point - (long)used;
    if (shift < 0)
        return FRACTION;
    for (; shift > 0; shift--) {
        if (__builtin_mul_overflow(value, 10U, &value))
            return TOO_LARGE;
    }
    *ret = value;
    return WHOLE;
}

static const char *range(struct json_reader *r, const char *expect, int64_t min, uint64_t max)
{
    if (expect != NULL)
        return expect;
    if (max == UINT64_MAX || max == INT64_MAX)
        return arena_printf(r->problems.arena, "a whole number, at least %" PRId64, min);
    return arena_printf(r->problems.arena, "a whole number from %" PRId64 " to %" PRIu64, min, max);
}

bool json_get_u64(struct json_reader *r, const struct json_at *at, const cJSON *value, uint64_t min,
                  uint64_t max, const char *expect, uint64_t *ret)
{
    bool negative;
    uint64_t number;
    if (cJSON_IsNumber(value) && whole_number(value->valuestring, &negative, &number) == WHOLE &&
        !negative && number >= min && number <= max) {
        *ret = number;
        return true;
    }
    json_wrong(r, at, value, range(r, expect, (int64_t)min, max));
    return false;
}

bool json_get_i64(struct json_reader *r, const struct json_at *at, const cJSON *value, int64_t min,
                  int64_t max, const char *expect, int64_t *ret)
{
    bool negative;
    uint64_t number;
    if (cJSON_IsNumber(value) && whole_number(value->valuestring, &negative, &number) == WHOLE &&
        number <= (uint64_t)INT64_MAX + negative) {
        int64_t signed_number = negative ? (int64_t)(0 - number) : (int64_t)number;
        if (signed_number >= min && signed_number <= max) {
            *ret = signed_number;
            return true;
        }
    }
    json_wrong(r, at, value, range(r, expect, min, (uint64_t)max));
    return false;
}

/* --- getters --------------------------------------------------------------------------------- */

bool json_get_string(struct json_reader *r, const struct json_at *at, const cJSON *value,
                     const char **ret)
{
    if (!cJSON_IsString(value) || value->valuestring[0] == '\0') {
        json_wrong(r, at, value, "a string that is not empty");
        return false;
    }
    *ret = arena_strdup(r->arena, value->valuestring);
    return true;
}

bool json_get_path(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const char **ret)
{
    if (!cJSON_IsString(value) || value->valuestring[0] != '/') {
        json_wrong(r, at, value, "an absolute path");
        return false;
    }
    if (strlen(value->valuestring) >= PATH_MAX) {
        json_problem(r, at, "a path of more than %d bytes", PATH_MAX - 1);
        return false;
    }
    *ret = arena_strdup(r->arena, value->valuestring);
    return true;
}

bool json_get_strings(struct json_reader *r, const struct json_at *at, const cJSON *value,
                      struct strings *ret)
{
    if (!json_is_array(r, at, value, "an array of strings"))
        return false;
    struct strings list = {.items = arena_alloc(r->arena, sizeof *list.items)};
    bool ok = true;
    JSON_EACH(item, element, at, value)
    {
        if (cJSON_IsString(item)) {
            strings_add(r->arena, &list, item->valuestring);
        } else {
            json_wrong(r, &element, item, "a string");
            ok = false;
        }
    }
    if (ok)
        *ret = list;
    return ok;
}

bool json_get_word(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const struct json_word *words, uint64_t *ret)
{
    size_t count = 0;
    for (; words[count].name != NULL; count++) {
        if (cJSON_IsString(value) && strcmp(value->valuestring, words[count].name) == 0) {
            *ret = words[count].value;
            return true;
        }
    }
    struct arena *a = r->problems.arena;
    const char **names = arena_alloc(a, (count + 1) * sizeof *names);
    char *all = arena_strdup(a, "");
    for (size_t i = 0; i < count; i++) {
        names[i] = words[i].name;
        /* long tables are cut: the likely spelling is what helps */
        if (i < 16)
            all = arena_printf(a, "%s%s\"%s\"", all, i == 0 ? "" : ", ", words[i].name);
        else if (i == 16)
            all = arena_printf(a, "%s, ...", all);
    }
    const char *near =
        cJSON_IsString(value) ? spec_nearest(value->valuestring, names, count) : NULL;
    json_problem(r, at, "expected one of %s, found %s%s%s%s", all, describe(a, value),
                 near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                 near == NULL ? "" : "\"?");
    return false;
}

/* --- tables ---------------------------------------------------------------------------------- */

static void note_unknown(struct json_reader *r, const struct json_at *at, const char *key,
                         const struct json_field *fields, size_t count, enum json_unknown unknown)
{
    struct json_at here = {at, key, 0};
    if (unknown == JSON_TOLERANT && r->unknown == NULL)
        return;
    struct arena *a = r->problems.arena;
    const char **names = arena_alloc(a, (count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = fields[i].name;
    const char *near = spec_nearest(key, names, count);
    if (unknown == JSON_STRICT) {
        json_problem(r, &here, "no such property%s%s%s", near == NULL ? "" : "; did you mean \"",
                     near == NULL ? "" : near, near == NULL ? "" : "\"?");
    } else if (near == NULL) {
        strings_add(r->arena, r->unknown, json_path(a, &here));
    } else {
        strings_add(r->arena, r->unknown,
                    arena_printf(a, "%s (did you mean \"%s\"?)", json_path(a, &here), near));
    }
}

void json_object(struct json_reader *r, const struct json_at *at, const cJSON *object, void *to,
                 const struct json_field *fields, size_t count, enum json_unknown unknown)
{
    if (!json_is_object(r, at, object))
        return;
    for (size_t i = 0; i < count; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, fields[i].name);
        if (value == NULL ||
            (cJSON_IsNull(value) && !fields[i].null_means_value && unknown == JSON_TOLERANT))
            continue;
        struct json_at here = {at, fields[i].name, 0};
        /* tables that only check have no target */
        fields[i].read(r, &here, value, to == NULL ? NULL : (char *)to + fields[i].offset,
                       &fields[i]);
    }
    for (const cJSON *c = object->child; c != NULL; c = c->next) {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, c->string) != 0)
            i++;
        if (i == count)
            note_unknown(r, at, c->string, fields, count, unknown);
    }
}

bool json_record(struct json_reader *r, const struct json_at *at, const cJSON *object, void *to,
                 const struct json_field *fields, size_t count)
{
    size_t before = r->problems.count;
    json_object(r, at, object, to, fields, count, JSON_TOLERANT);
    bool fine = r->problems.count == before;
    for (size_t i = 0; fine && i < count; i++) {
        if (!json_has(object, fields[i].name))
            json_problem(r, at, "has no \"%s\"", fields[i].name);
    }
    return r->problems.count == before;
}

void json_ignore(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                 const struct json_field *field)
{
    (void)r, (void)at, (void)value, (void)to, (void)field;
}

void json_read_string(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    json_get_string(r, at, value, to);
}

void json_read_path(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                    const struct json_field *field)
{
    (void)field;
    json_get_path(r, at, value, to);
}

void json_read_bool(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                    const struct json_field *field)
{
    (void)field;
    if (cJSON_IsBool(value))
        *(bool *)to = cJSON_IsTrue(value);
    else
        json_wrong(r, at, value, "true or false");
}

void json_read_u64(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                   const struct json_field *field)
{
    json_get_u64(r, at, value, field->min, field->max, field->expect, to);
}

void json_read_u32(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                   const struct json_field *field)
{
    uint64_t number;
    if (json_get_u64(r, at, value, field->min, field->max, field->expect, &number))
        *(uint32_t *)to = (uint32_t)number;
}

void json_read_u16(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                   const struct json_field *field)
{
    uint64_t number;
    if (json_get_u64(r, at, value, field->min, field->max, field->expect, &number))
        *(uint16_t *)to = (uint16_t)number;
}

void json_read_i64(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                   const struct json_field *field)
{
    json_get_i64(r, at, value, (int64_t)field->min, (int64_t)field->max, field->expect, to);
}

void json_read_int(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                   const struct json_field *field)
{
    int64_t number;
    if (json_get_i64(r, at, value, (int64_t)field->min, (int64_t)field->max, field->expect,
                     &number))
        *(int *)to = (int)number;
}

void json_read_strings(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    (void)field;
    json_get_strings(r, at, value, to);
}

void json_read_paths(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
{
    (void)field;
    if (!json_is_array(r, at, value, "an array of absolute paths"))
        return;
    struct strings list = {.items = arena_alloc(r->arena, sizeof *list.items)};
    JSON_EACH(item, element, at, value)
    {
        const char *path;
        if (json_get_path(r, &element, item, &path))
            strings_add(r->arena, &list, path);
    }
    *(struct strings *)to = list;
}
