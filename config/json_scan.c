/* RFC 8259 to the letter, over the text alone: cJSON is lenient where a security tool must not be.
 */
#include "config/json.h"

#include <limits.h>
#include <string.h>

#define MAX_NUMBER 63 /* cJSON's own buffer */

struct scan {
    const char *text, *at, *end;
    struct error *err;
    void (*number)(void *context, const char *text, size_t len);
    void *context;
};

static int fail(struct scan *s, const char *where, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *p = s->text; p < where; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*p & 0xc0) != 0x80) { /* columns count characters, not bytes */
            column++;
        }
    }
    return error_set(s->err, "spec.syntax", 0, "not valid JSON: line %zu, column %zu: %s", line,
                     column, what);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static int hex4(struct scan *s, const char *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        if (p + i >= s->end)
            return -1;
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* at the u of \uXXXX; leaves at the last digit */
static int scan_unicode(struct scan *s)
{
    const char *escape = s->at - 1;
    int code = hex4(s, s->at + 1);
    if (code < 0)
        return fail(s, escape, "\\u needs four hexadecimal digits");
    if (code == 0)
        return fail(s, escape, "a string may not hold the character NUL");
    s->at += 4;
    if (code >= 0xdc00 && code <= 0xdfff)
        return fail(s, escape, "half of a surrogate pair");
    if (code >= 0xd800 && code <= 0xdbff) {
        int low =
            s->end - s->at > 6 && s->at[1] == '\\' && s->at[2] == 'u' ? hex4(s, s->at + 3) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(s, escape, "half of a surrogate pair");
        s->at += 6;
    }
    return 0;
}

static int scan_string(struct scan *s)
{
    const char *start = s->at++;
    for (; s->at < s->end; s->at++) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return 0;
        }
        if (c < 0x20)
            return fail(s, s->at, "a control character in a string must be escaped");
        if (c != '\\')
            continue;
        if (++s->at >= s->end)
            break;
        if (*s->at == 'u') {
            if (scan_unicode(s) < 0)
                return -1;
        } else if (*s->at == '\0' || strchr("\"\\/bfnrt", *s->at) == NULL) {
            return fail(s, s->at - 1, "unknown escape in a string");
        }
    }
    return fail(s, start, "a string that never ends");
}

static size_t scan_digits(struct scan *s)
{
    const char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

static int scan_number(struct scan *s)
{
    const char *start = s->at;
    if (*s->at == '-')
        s->at++;
    const char *first = s->at;
    size_t digits = scan_digits(s);
    if (digits == 0)
        return fail(s, s->at, "a number needs digits");
    if (digits > 1 && *first == '0')
        return fail(s, first, "a number may not begin with 0");
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (scan_digits(s) == 0)
            return fail(s, s->at, "a number needs digits after its point");
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (scan_digits(s) == 0)
            return fail(s, s->at, "a number needs digits in its exponent");
    }
    size_t len = (size_t)(s->at - start);
    if (len > MAX_NUMBER)
        return fail(s, start, "a number of more than 63 characters");
    if (s->number != NULL)
        s->number(s->context, start, len);
    return 0;
}

static int scan_scalar(struct scan *s)
{
    static const char *const literals[] = {"true", "false", "null"};
    if (*s->at == '"')
        return scan_string(s);
    if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9'))
        return scan_number(s);
    for (size_t i = 0; i < COUNT_OF(literals); i++) {
        size_t len = strlen(literals[i]);
        if ((size_t)(s->end - s->at) >= len && memcmp(s->at, literals[i], len) == 0) {
            s->at += len;
            return 0;
        }
    }
    return fail(s, s->at, "expected a value");
}

/* "key": */
static int scan_key(struct scan *s)
{
    skip_space(s);
    if (s->at >= s->end || *s->at != '"')
        return fail(s, s->at, "expected a property name in double quotes");
    if (scan_string(s) < 0)
        return -1;
    skip_space(s);
    if (s->at >= s->end || *s->at != ':')
        return fail(s, s->at, "expected ':' after a property name");
    s->at++;
    return 0;
}

int json_scan(const char *text, size_t size,
              void (*number)(void *context, const char *text, size_t len), void *context,
              struct error *err)
{
    struct scan s = {text, text, text + size, err, number, context};
    char closing[SPEC_MAX_DEPTH];
    size_t depth = 0;

    if (size > SPEC_MAX_BYTES)
        return error_set(err, "spec.syntax", 0, "%zu bytes long, at most %d are accepted", size,
                         SPEC_MAX_BYTES);
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        s.at += 3;

    for (;;) { /* one value a turn, then what closes after it */
        skip_space(&s);
        if (s.at >= s.end)
            return fail(&s, s.at, depth == 0 ? "the text is empty" : "the text ends too early");
        if (*s.at == '{' || *s.at == '[') {
            if (depth == SPEC_MAX_DEPTH)
                return fail(&s, s.at, "nested deeper than 64");
            char close = *s.at++ == '{' ? '}' : ']';
            closing[depth++] = close;
            skip_space(&s);
            if (s.at < s.end && *s.at == close) {
                s.at++;
                depth--;
            } else {
                if (close == '}' && scan_key(&s) < 0)
                    return -1;
                continue;
            }
        } else if (scan_scalar(&s) < 0) {
            return -1;
        }

        for (;;) {
            skip_space(&s);
            if (depth == 0)
                return s.at == s.end ? 0 : fail(&s, s.at, "text after the end of the value");
            if (s.at >= s.end)
                return fail(&s, s.at, "the text ends too early");
            if (*s.at == ',') {
                s.at++;
                if (closing[depth - 1] == '}' && scan_key(&s) < 0)
                    return -1;
                break;
            }
            if (*s.at != closing[depth - 1])
                return fail(&s, s.at,
                            closing[depth - 1] == '}' ? "expected ',' or '}'"
                                                      : "expected ',' or ']'");
            s.at++;
            depth--;
        }
    }
}
