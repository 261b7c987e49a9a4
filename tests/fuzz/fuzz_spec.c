/* The reader of specs, over anything: it must not break, must say why it refuses, and what it took
 * and judged good must be the same sandbox after it was written and read again. */
#include "config/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const struct spec *s)
{
    struct error err = ERROR_INIT;
    struct spec *back = spec_new();
    char *first = spec_to_json(s);
    if (spec_apply_json(back, first, strlen(first), NULL, &err) < 0 ||
        spec_validate(back, &err) < 0) {
        fprintf(stderr, "%s\n%s\n", err.message, first);
        abort();
    }
    char *second = spec_to_json(back);
    if (strcmp(first, second) != 0) {
        fprintf(stderr, "%s\n%s\n", first, second);
        abort();
    }
    free(second);
    free(first);
    spec_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size == 0 ? 1 : size); /* of the exact size, for the sanitizer */
    if (text == NULL)
        return 0;
    memcpy(text, data, size);

    struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    struct strings unknown;
    int listed = spec_unknown_properties(s->arena, text, size, &unknown, &err);
    if (listed < 0 && err.code == NULL)
        abort();
    err = (struct error)ERROR_INIT;
    int r = spec_apply_json(s, text, size, "/bundle", &err);
    if (r == 0)
        r = spec_validate(s, &err);
    if (r < 0 && (err.code == NULL || err.message[0] == '\0'))
        abort();
    if (r == 0 && listed < 0)
        abort(); /* what is no JSON cannot be a spec */
    if (r == 0)
        write_and_read(s);
    spec_free(s);
    free(text);
    return 0;
}
