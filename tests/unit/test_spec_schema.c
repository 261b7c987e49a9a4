/* The schema of the cloche object against the reader: both must take and refuse the same. */
#include "base/cleanup.h"
#include "config/spec.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES                                                                                      \
    "tests/spec/good/cloche-everything.json tests/spec/good/*.json tests/spec/bad/cloche-*.json "  \
    "config/profiles/*.json"

static bool reader_takes(const char *cloche, struct error *err)
{
    size_t size = strlen(cloche) + 16;
    _cleanup_free_ char *text = malloc(size);
    cr_assert_not_null(text);
    int n = snprintf(text, size, "{\"cloche\":%s}", cloche);
    _cleanup_spec_ struct spec *s = spec_new();
    *err = (struct error)ERROR_INIT;
    return spec_apply_json(s, text, (size_t)n, "/bundle", err) == 0;
}

Test(spec_schema, agrees_with_the_reader)
{
    if (system("/usr/bin/python3 -c 'import jsonschema' 2>/dev/null") != 0)
        cr_skip_test("python3-jsonschema is not installed");
    FILE *lines = popen("tests/spec/mutations " FILES, "r");
    cr_assert_not_null(lines);
    _cleanup_free_ char *line = NULL;
    size_t room = 0, taken = 0, refused = 0;
    while (getline(&line, &room, lines) > 0) {
        char *tab = strchr(line, '\t');
        cr_assert_not_null(tab);
        *tab = '\0';
        struct error err;
        bool by_schema = strcmp(line, "taken") == 0, by_reader = reader_takes(tab + 1, &err);
        cr_expect_eq(by_schema, by_reader, "the schema says %s, the reader %s\n%s", line,
                     by_reader ? "taken" : err.message, tab + 1);
        taken += by_schema;
        refused += !by_schema;
    }
    cr_expect_eq(pclose(lines), 0, "the schema could not be used");
    cr_expect(taken > 200 && refused > 1000, "%zu taken, %zu refused", taken, refused);
}
