/* What tools print, as every format, over anything: what is kept is clean, bounded, and survives
 * the way to JSON and back. */
#include "compiler/diagnostics.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *line_of(const void *map_data, const char *path, unsigned line, size_t *ret_size)
{
    static const char text[] = "int \033[31m\xc3\xa9 main(void) { return \xff; }";
    (void)map_data;
    (void)path;
    *ret_size = sizeof text - 1;
    return line < 1000 ? text : NULL;
}

static void check_text(const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            abort();
    }
}

static void check_item(const struct diagnostic *item)
{
    check_text(item->file);
    check_text(item->message);
    check_text(item->option);
    check_text(item->source);
    if (item->note_count > NOTES_MAX || item->fixit_count > FIXITS_MAX)
        abort();
    for (size_t i = 0; i < item->fixit_count; i++)
        check_text(item->fixits[i].text);
    for (size_t i = 0; i < item->note_count; i++)
        check_item(&item->notes[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct diagnostics_map map = {.line = line_of};
    /* on the heap, so that the sanitizer sees its end */
    char *text = malloc(size + 1);
    if (text == NULL)
        abort();
    memcpy(text, data, size);
    text = realloc(text, size > 0 ? size : 1);
    for (int format = DIAGNOSTICS_PLAIN; format <= DIAGNOSTICS_CLANG; format++) {
        struct diagnostics *d = diagnostics_new(), *again = diagnostics_new();
        diagnostics_parse(d, (enum diagnostics_format)format, text, size, &map);
        if (d->count > DIAGNOSTICS_MAX)
            abort();
        for (size_t i = 0; i < d->count; i++)
            check_item(&d->items[i]);
        cJSON *json = diagnostics_to_json(d);
        char *printed = cJSON_PrintUnformatted(json);
        if (printed == NULL || diagnostics_from_json(again, printed, strlen(printed), NULL) < 0 ||
            again->count != d->count)
            abort();
        char *shown = NULL;
        size_t shown_size;
        FILE *f = open_memstream(&shown, &shown_size);
        diagnostics_print(d, f, true);
        fclose(f);
        free(shown);
        free(printed);
        cJSON_Delete(json);
        diagnostics_free(d);
        diagnostics_free(again);
    }
    free(text);
    return 0;
}
