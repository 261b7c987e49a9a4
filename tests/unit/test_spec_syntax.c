/* JSON to the letter: what is refused before anything is read, and where the error points to. */
#include "config/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int scan(const char *text, size_t size, struct error *err)
{
    /* a copy of the exact size, so that the sanitizer sees a read beyond the end */
    char *copy = malloc(size == 0 ? 1 : size);
    cr_assert_not_null(copy);
    memcpy(copy, text, size);
    *err = (struct error)ERROR_INIT;
    int r = json_scan(copy, size, NULL, NULL, err);
    free(copy);
    return r;
}

Test(spec_syntax, good)
{
    static const char *const good[] = {
        "{}",
        "[]",
        "null",
        "true",
        " \t\r\n false \n",
        "\xef\xbb\xbf{}",
        "0",
        "-0",
        "-1.5e+10",
        "1E400",
        "123456789012345678901234567890",
        "\"\"",
        "\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\xc3\xa9\x7f\"",
        "[[],{},[{}],\"\",null]",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct error err;
        cr_expect_eq(scan(good[i], strlen(good[i]), &err), 0, "%s: %s", good[i], err.message);
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_json_ cJSON *root = json_parse(a, good[i], strlen(good[i]), &err);
        cr_expect_not_null(root, "%s: %s", good[i], err.message);
    }
}

Test(spec_syntax, bad)
{
    static const struct {
        const char *text, *where;
    } bad[] = {
        {"", "line 1, column 1: the text is empty"},
        {" \n\n ", "line 3, column 2: the text is empty"},
        {"{", "line 1, column 2: expected a property name in double quotes"},
        {"[", "line 1, column 2: the text ends too early"},
        {"}", "line 1, column 1: expected a value"},
        {"{\"a\"}", "line 1, column 5: expected ':' after a property name"},
        {"{\"a\":}", "line 1, column 6: expected a value"},
        {"{\"a\":1,}", "line 1, column 8: expected a property name in double quotes"},
        {"{a:1}", "line 1, column 2: expected a property name in double quotes"},
        {"{\"a\":1 \"b\":2}", "line 1, column 8: expected ',' or '}'"},
        {"[1,]", "line 1, column 4: expected a value"},
        {"[1 2]", "line 1, column 4: expected ',' or ']'"},
        {"[1}", "line 1, column 3: expected ',' or ']'"},
        {"{\"a\":1]", "line 1, column 7: expected ',' or '}'"},
        {"{} {}", "line 1, column 4: text after the end of the value"},
        {"{}x", "line 1, column 3: text after the end of the value"},
        {"// c\n{}", "line 1, column 1: expected a value"},
        {"{\n  \"a\": 1,\n  # no\n}",
         "line 3, column 3: expected a property name in double quotes"},
        {"[\"\xc3\xa9\", x]", "line 1, column 7: expected a value"},
        {"tru", "line 1, column 1: expected a value"},
        {"True", "line 1, column 1: expected a value"},
        {"nul", "line 1, column 1: expected a value"},
        {"NaN", "line 1, column 1: expected a value"},
        {"Infinity", "line 1, column 1: expected a value"},
        {"-", "line 1, column 2: a number needs digits"},
        {"-a", "line 1, column 2: a number needs digits"},
        {"+1", "line 1, column 1: expected a value"},
        {".5", "line 1, column 1: expected a value"},
        {"01", "line 1, column 1: a number may not begin with 0"},
        {"-01", "line 1, column 2: a number may not begin with 0"},
        {"1.", "line 1, column 3: a number needs digits after its point"},
        {"1.e5", "line 1, column 3: a number needs digits after its point"},
        {"1e", "line 1, column 3: a number needs digits in its exponent"},
        {"1e+", "line 1, column 4: a number needs digits in its exponent"},
        {"0x10", "line 1, column 2: text after the end of the value"},
        {"1234567890123456789012345678901234567890123456789012345678901234",
         "line 1, column 1: a number of more than 63 characters"},
        {"\"abc", "line 1, column 1: a string that never ends"},
        {"\"abc\\\"", "line 1, column 1: a string that never ends"},
        {"\"abc\\", "line 1, column 1: a string that never ends"},
        {"\"a\nb\"", "line 1, column 3: a control character in a string must be escaped"},
        {"\"a\tb\"", "line 1, column 3: a control character in a string must be escaped"},
        {"'a'", "line 1, column 1: expected a value"},
        {"\"\\x41\"", "line 1, column 2: unknown escape in a string"},
        {"\"\\U0041\"", "line 1, column 2: unknown escape in a string"},
        {"\"\\u00g0\"", "line 1, column 2: \\u needs four hexadecimal digits"},
        {"\"\\u00", "line 1, column 2: \\u needs four hexadecimal digits"},
        {"\"a\\u0000b\"", "line 1, column 3: a string may not hold the character NUL"},
        {"\"\\ud800\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\udc00\"", "line 1, column 2: half of a surrogate pair"},
        {"\"\\ud800\\udbff\"", "line 1, column 2: half of a surrogate pair"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct error err;
        char expected[256];
        snprintf(expected, sizeof expected, "not valid JSON: %s", bad[i].where);
        cr_expect_eq(scan(bad[i].text, strlen(bad[i].text), &err), -1, "%s was taken", bad[i].text);
        cr_expect_str_eq(err.code, "spec.syntax");
        cr_expect_str_eq(err.message, expected, "%s: %s", bad[i].text, err.message);
    }
}

Test(spec_syntax, every_beginning_of_a_text_is_refused)
{
    static const char text[] = "{\"a\": [1.5e3, true, \"\\u00e9\\\\x\", {\"b\": null}], \"c\": -7}";
    struct error err;
    cr_assert_eq(scan(text, strlen(text), &err), 0);
    for (size_t n = 0; n < strlen(text); n++)
        cr_expect_eq(scan(text, n, &err), -1, "%.*s", (int)n, text);
}

Test(spec_syntax, nul_bytes)
{
    struct error err;
    cr_expect_eq(scan("{}\0", 3, &err), -1);
    cr_expect_eq(scan("{\"a\0\":1}", 8, &err), -1);
    cr_expect_eq(scan("\"\\\0\"", 4, &err), -1);
    cr_expect_eq(scan("\0", 1, &err), -1);
}

Test(spec_syntax, depth_and_size)
{
    char text[SPEC_MAX_DEPTH * 2 + 4];
    struct error err;
    for (size_t depth = SPEC_MAX_DEPTH; depth <= SPEC_MAX_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        cr_expect_eq(scan(text, depth * 2, &err), depth <= SPEC_MAX_DEPTH ? 0 : -1);
    }
    cr_expect_str_eq(err.message, "not valid JSON: line 1, column 65: nested deeper than 64");

    size_t size = SPEC_MAX_BYTES;
    char *large = malloc(size + 1);
    cr_assert_not_null(large);
    memset(large, ' ', size + 1);
    large[0] = '1';
    cr_expect_eq(scan(large, size, &err), 0, "%s", err.message);
    cr_expect_eq(scan(large, size + 1, &err), -1);
    cr_expect_str_eq(err.message, "1048577 bytes long, at most 1048576 are accepted");
    memset(large, '[', size);
    cr_expect_eq(scan(large, size, &err), -1);
    free(large);
}

Test(spec_syntax, a_property_twice)
{
    static const struct {
        const char *text, *path;
    } table[] = {
        {"{\"a\":1,\"a\":2}", "a"},
        {"{\"a\":[0,{\"b\":1,\"c\":2,\"b\":3}]}", "a[1].b"},
        {"{\"a\":1,\"\\u0061\":2}", "a"},
        {"{\"x y\":{\"k\":1,\"k\":1}}", "[\"x y\"].k"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct error err = ERROR_INIT;
        _cleanup_json_ cJSON *root = json_parse(a, table[i].text, strlen(table[i].text), &err);
        cr_expect_null(root, "%s", table[i].text);
        cr_expect_str_eq(err.code, "spec.syntax");
        cr_expect_str_eq(err.path, table[i].path);
    }
    /* many keys are compared another way */
    char text[2000] = "{";
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "\"k%d\":0,", i);
    size_t end = strlen(text);
    struct error err = ERROR_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    snprintf(text + end, sizeof text - end, "\"k\":0}");
    _cleanup_json_ cJSON *apart = json_parse(a, text, strlen(text), &err);
    cr_expect_not_null(apart, "%s", err.message);
    snprintf(text + end, sizeof text - end, "\"k42\":0}");
    _cleanup_json_ cJSON *twice = json_parse(a, text, strlen(text), &err);
    cr_expect_null(twice);
    cr_expect_str_eq(err.path, "k42");
}

Test(spec_syntax, whole_numbers_are_exact)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } table[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.0e5", true, 0},
        {"9007199254740993", true, 9007199254740993ULL}, /* no double */
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"1e3", true, 1000},
        {"1.5e3", true, 1500},
        {"1500e-2", true, 15},
        {"10.0", true, 10},
        {"100e-2", true, 1},
        {"0.1e1", true, 1},
        {"1e19", true, 10000000000000000000ULL},
        {"1e20", false, 0},
        {"1e400", false, 0},
        {"1e-400", false, 0},
        {"1e99999999999999999999", false, 0},
        {"0e99999999999999999999", true, 0},
        {"1e-99999999999999999999", false, 0},
        {"0.5", false, 0},
        {"1.5", false, 0},
        {"-1", false, 0},
        {"15e-1", false, 0},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct error err = ERROR_INIT;
        _cleanup_json_ cJSON *value = json_parse(a, table[i].text, strlen(table[i].text), &err);
        cr_assert_not_null(value, "%s: %s", table[i].text, err.message);
        struct json_reader r = {.arena = a, .problems = {.arena = a}};
        uint64_t number = 77;
        bool ok = json_get_u64(&r, NULL, value, 0, UINT64_MAX, NULL, &number);
        cr_expect_eq(ok, table[i].ok, "%s", table[i].text);
        cr_expect_eq(number, ok ? table[i].value : 77, "%s", table[i].text);
        cr_expect_eq(r.problems.count, ok ? 0 : 1);
    }
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } negative[] = {
        {"-1", true, -1},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
    };
    for (size_t i = 0; i < COUNT(negative); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_json_ cJSON *value =
            json_parse(a, negative[i].text, strlen(negative[i].text), NULL);
        struct json_reader r = {.arena = a, .problems = {.arena = a}};
        int64_t number = 77;
        bool ok = json_get_i64(&r, NULL, value, INT64_MIN, INT64_MAX, NULL, &number);
        cr_expect_eq(ok, negative[i].ok, "%s", negative[i].text);
        cr_expect_eq(number, ok ? negative[i].value : 77, "%s", negative[i].text);
    }
}

Test(spec_syntax, text_of_a_value_keeps_its_numbers)
{
    static const char text[] = "{\"a\":[18446744073709551615,1e400,-0,1.50],\"b\":\"x\"}";
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_json_ cJSON *value = json_parse(a, text, strlen(text), NULL);
    cr_assert_not_null(value);
    cr_expect_str_eq(json_text(a, value), text);
}

Test(spec_syntax, quoting)
{
    _cleanup_arena_ struct arena *a = arena_new();
    cr_expect_str_eq(problem_quote(a, "a\x1b[31m\n\x7f"), "\"a\\x1b[31m\\x0a\\x7f\"");
    char text[200];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const char *quoted = problem_quote(a, text);
    cr_expect_eq(strlen(quoted), 60 * 4 + 5, "%s", quoted);
}
