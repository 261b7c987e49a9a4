/* The half of cJSON that writes, for the start program, which has none: what a spec is printed
 * with (config/oci_write.c), as cJSON prints it; but JSON that comes as text keeps its own blanks.
 * Names of items are not copied: they outlive the tree. */
#include "config/json.h"
#include "runtime/start/hand_over.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *item_new(int type, const char *text)
{
    cJSON *item = calloc(1, sizeof *item);
    if (item == NULL)
        abort();
    item->type = type;
    if (text != NULL && (item->valuestring = strdup(text)) == NULL)
        abort();
    return item;
}

cJSON *cJSON_CreateObject(void)
{
    return item_new(cJSON_Object, NULL);
}

cJSON *cJSON_CreateArray(void)
{
    return item_new(cJSON_Array, NULL);
}

cJSON *cJSON_CreateString(const char *text)
{
    return item_new(cJSON_String, text);
}

cJSON *cJSON_CreateRaw(const char *text)
{
    return item_new(cJSON_Raw, text);
}

cJSON *cJSON_CreateStringArray(const char *const *texts, int count)
{
    cJSON *array = cJSON_CreateArray();
    for (int i = 0; i < count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(texts[i]));
    return array;
}

void cJSON_Delete(cJSON *item)
{
    (void)item; /* a spec is written once: the exit gives it back (memory.c) */
}

/* as cJSON has it: the first item's prev is the last one */
cJSON_bool cJSON_AddItemToArray(cJSON *array, cJSON *item)
{
    cJSON *first = array->child;
    if (first == NULL) {
        array->child = item->prev = item;
        return true;
    }
    first->prev->next = item;
    item->prev = first->prev;
    first->prev = item;
    return true;
}

cJSON_bool cJSON_AddItemToObject(cJSON *object, const char *name, cJSON *item)
{
    item->string = (char *)(uintptr_t)name;
    return cJSON_AddItemToArray(object, item);
}

static cJSON *add(cJSON *object, const char *name, cJSON *item)
{
    cJSON_AddItemToObject(object, name, item);
    return item;
}

cJSON *cJSON_AddObjectToObject(cJSON *object, const char *name)
{
    return add(object, name, cJSON_CreateObject());
}

cJSON *cJSON_AddArrayToObject(cJSON *object, const char *name)
{
    return add(object, name, cJSON_CreateArray());
}

cJSON *cJSON_AddStringToObject(cJSON *object, const char *name, const char *text)
{
    return add(object, name, cJSON_CreateString(text));
}

cJSON *cJSON_AddBoolToObject(cJSON *object, const char *name, cJSON_bool value)
{
    return add(object, name, cJSON_CreateRaw(value ? "true" : "false"));
}

cJSON *cJSON_AddNullToObject(cJSON *object, const char *name)
{
    return add(object, name, cJSON_CreateRaw("null"));
}

cJSON *cJSON_GetObjectItemCaseSensitive(const cJSON *object, const char *name)
{
    cJSON *item = object->child;
    while (item != NULL && strcmp(item->string, name) != 0)
        item = item->next;
    return item;
}

void cJSON_DeleteItemFromObjectCaseSensitive(cJSON *object, const char *name)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name), *first = object->child;
    if (item == NULL)
        return;
    if (item == first)
        object->child = item->next;
    else
        item->prev->next = item->next;
    if (item->next != NULL)
        item->next->prev = item->prev;
    else if (item != first)
        first->prev = item->prev;
}

/* --- to text -------------------------------------------------------------------------------------
 */

static void print_string(FILE *out, const char *text)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const char *which = strchr(escaped, *p);
        if (which != NULL)
            fprintf(out, "\\%c", letters[which - escaped]);
        else if (*p < 32)
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

static void print_tabs(FILE *out, int count)
{
    for (int i = 0; i < count; i++)
        fputc('\t', out);
}

static void print_item(FILE *out, const cJSON *item, bool blanks, int depth)
{
    if (item->type == cJSON_Raw) {
        fputs(item->valuestring, out);
        return;
    }
    if (item->type == cJSON_String) {
        print_string(out, item->valuestring);
        return;
    }
    bool object = item->type == cJSON_Object;
    fputs(object ? blanks ? "{\n" : "{" : "[", out);
    for (const cJSON *i = item->child; i != NULL; i = i->next) {
        if (object) {
            print_tabs(out, blanks ? depth + 1 : 0);
            print_string(out, i->string);
            fputs(blanks ? ":\t" : ":", out);
        }
        print_item(out, i, blanks, depth + 1);
        if (i->next != NULL)
            fputs(blanks && !object ? ", " : ",", out);
        if (object && blanks)
            fputc('\n', out);
    }
    print_tabs(out, object && blanks ? depth : 0);
    fputc(object ? '}' : ']', out);
}

static char *print(const cJSON *item, bool blanks)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    print_item(out, item, blanks, 0);
    return fclose(out) == 0 ? text : NULL;
}

char *cJSON_Print(const cJSON *item)
{
    return print(item, true);
}

char *cJSON_PrintUnformatted(const cJSON *item)
{
    return print(item, false);
}

/* --- from text -----------------------------------------------------------------------------------
 */

cJSON *json_parse(struct arena *a, const char *text, size_t size, struct error *err)
{
    (void)a;
    return json_scan(text, size, NULL, NULL, err) < 0 ? NULL : cJSON_CreateRaw(text);
}

void json_keep_numbers(cJSON *value)
{
    (void)value; /* their text is all there is of them */
}

/** A quota: read before anything is made. */
cJSON *cJSON_ParseWithLength(const char *text, size_t size)
{
    (void)text;
    (void)size;
    hand_over();
}

cJSON_bool cJSON_IsObject(const cJSON *item)
{
    return item != NULL && item->type == cJSON_Object;
}

cJSON_bool cJSON_IsNumber(const cJSON *item)
{
    (void)item;
    return false; /* not reached: nothing is parsed */
}
