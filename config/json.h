/**
 * JSON behind checked getters. Private to config/.
 *
 * json_parse() first walks the text itself: size, depth, RFC 8259 to the letter (cJSON forgives
 * leading zeros, trailing commas of numbers, control characters), no NUL, no key twice in one
 * object. Only then cJSON builds its tree, and every number keeps its text beside its double, so
 * that integers of 64 bits are read exactly.
 *
 * What a file may say is data: tables of `struct json_field` that name a property, the function
 * that reads it, where it goes and its range. A reader collects every problem of a file with its
 * JSON path instead of stopping at the first. In OCI's objects a JSON null counts as "not given".
 */
#ifndef CLOCHE_CONFIG_JSON_H
#define CLOCHE_CONFIG_JSON_H

#include "base/arena.h"
#include "base/error.h"
#include "config/problems.h"
#include "config/spec.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/** Errors: spec.syntax, with line and column. Free with cJSON_Delete before the arena. */
cJSON *json_parse(struct arena *a, const char *text, size_t size, struct error *err);

static inline void cleanup_json(cJSON **item)
{
    cJSON_Delete(*item);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/** The walk over the text alone: 0, or -1 with spec.syntax. Calls @number, when it is not NULL, for
 * each number in the order of the text. */
int json_scan(const char *text, size_t size,
              void (*number)(void *context, const char *text, size_t len), void *context,
              struct error *err);

/** A parsed value as compact text again, numbers to the digit. Lives in the arena. */
char *json_text(struct arena *a, const cJSON *value);

/** Give every number below @value its own text back when it is printed. */
void json_keep_numbers(cJSON *value);

/** Where a value stands: a chain on the stack, turned into text only when something is wrong. */
struct json_at {
    const struct json_at *up;
    const char *key; /* NULL: an array element */
    size_t index;
};

/** "process.rlimits[0].type"; keys that are not plain words stand in brackets and quotes. */
char *json_path(struct arena *a, const struct json_at *at);

struct json_reader {
    struct arena *arena; /* what is read lives here */
    struct problems problems;
    struct strings *unknown; /* collects the paths of ignored properties, or NULL */
};

struct json_field;
typedef void json_read_fn(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field);

struct json_field {
    const char *name;
    json_read_fn *read;
    size_t offset;         /* of the target in what json_object() was given */
    uint64_t min, max;     /* of whole numbers */
    const char *expect;    /* "a number of bytes > 0"; NULL: made from min and max */
    bool null_means_value; /* call read() for a JSON null, too */
};

#define JSON_FIELD(name_, read_, type_, member_, ...)                                              \
    {                                                                                              \
        .name = name_, .read = read_, .offset = offsetof(type_, member_), __VA_ARGS__              \
    }

enum json_unknown { JSON_TOLERANT, JSON_STRICT };

/** Read an object by its table, in the table's order. JSON_TOLERANT, for OCI's objects: unknown
 * properties are noted, null counts as not given. JSON_STRICT, for ours: both are problems, but for
 * a null that means something. */
void json_object(struct json_reader *r, const struct json_at *at, const cJSON *object, void *to,
                 const struct json_field *fields, size_t count, enum json_unknown unknown);

/** The same, tolerant, where every property of the table must stand. False: there was a problem. */
bool json_record(struct json_reader *r, const struct json_at *at, const cJSON *object, void *to,
                 const struct json_field *fields, size_t count);

/** For properties that are only looked at, with the reader of no value: never a problem. */
json_read_fn json_ignore;

/* Readers for tables. The target's type is in the name. */
json_read_fn json_read_string; /* const char *, not empty */
json_read_fn json_read_path;   /* const char *, absolute */
json_read_fn json_read_bool;   /* bool */
json_read_fn json_read_u64, json_read_u32, json_read_u16, json_read_i64, json_read_int;
json_read_fn json_read_strings; /* struct strings, replaced */
json_read_fn json_read_paths;   /* struct strings of absolute paths, replaced */

/* The same as functions: false after a problem was noted. */
bool json_get_u64(struct json_reader *r, const struct json_at *at, const cJSON *value, uint64_t min,
                  uint64_t max, const char *expect, uint64_t *ret);
bool json_get_i64(struct json_reader *r, const struct json_at *at, const cJSON *value, int64_t min,
                  int64_t max, const char *expect, int64_t *ret);
bool json_get_string(struct json_reader *r, const struct json_at *at, const cJSON *value,
                     const char **ret);
bool json_get_path(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const char **ret);
bool json_get_strings(struct json_reader *r, const struct json_at *at, const cJSON *value,
                      struct strings *ret);

/** One word of a table that ends with a NULL name; a near miss is named. */
struct json_word {
    const char *name;
    uint64_t value;
};
bool json_get_word(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const struct json_word *words, uint64_t *ret);

/** "expected EXPECT, found ..." */
void json_wrong(struct json_reader *r, const struct json_at *at, const cJSON *value,
                const char *expect);
/** Any other problem of the value. */
void json_problem(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** Known, but not to be had here. */
void json_unsupported(struct json_reader *r, const struct json_at *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

bool json_is_array(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   const char *expect);
bool json_is_object(struct json_reader *r, const struct json_at *at, const cJSON *value);

/** The object has this property (and it is not null). */
bool json_has(const cJSON *object, const char *name);

/** Walk an array whose type was checked: @element is its place, @item its value. */
#define JSON_EACH(item, element, at, array)                                                        \
    struct json_at element = {.up = (at)};                                                         \
    for (const cJSON *item = (array)->child; item != NULL; item = item->next, element.index++)

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

#endif
