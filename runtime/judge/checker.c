#include "runtime/judge.h"

#include "base/io.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct text {
    const char *at;
    size_t size;
};

struct reader {
    const char *at, *end;
    size_t line;
};

bool checker_parse(const char *name, enum checker_kind *ret)
{
    static const char *const names[] = {"tokens", "exact", "float", "unordered"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum checker_kind)i;
            return true;
        }
    }
    return false;
}

/* A piece of somebody's bytes, fit for one line of a report. */
static const char *shown(struct text t, char buf[80])
{
    size_t n = 0;
    buf[n++] = '"';
    size_t i = 0;
    while (i < t.size && n < 40) {
        size_t length = io_printable(t.at + i, t.size - i);
        if (length == 0)
            buf[n++] = '?';
        memcpy(buf + n, t.at + i, length);
        n += length;
        i += length == 0 ? 1 : length;
    }
    if (i < t.size) {
        memcpy(buf + n, "...", 3);
        n += 3;
    }
    buf[n++] = '"';
    buf[n] = '\0';
    return buf;
}

static bool next_token(struct reader *r, struct text *ret)
{
    while (r->at < r->end && isspace((unsigned char)*r->at))
        r->line += *r->at++ == '\n';
    ret->at = r->at;
    while (r->at < r->end && !isspace((unsigned char)*r->at))
        r->at++;
    ret->size = (size_t)(r->at - ret->at);
    return ret->size > 0;
}

static bool same(struct text a, struct text b)
{
    return a.size == b.size && memcmp(a.at, b.at, a.size) == 0;
}

/* A decimal number that fills the whole token; no hex, no "inf", no "nan". */
static bool number(struct text t, double *ret)
{
    char buf[64], *end;
    if (t.size == 0 || t.size >= sizeof buf || strspn(t.at, "+-.0123456789eE") < t.size)
        return false;
    memcpy(buf, t.at, t.size);
    buf[t.size] = '\0';
    *ret = strtod(buf, &end);
    return *end == '\0' && end != buf && isfinite(*ret);
}

static bool near(const struct checker *c, struct text answer, struct text output)
{
    double a, o;
    if (same(answer, output))
        return true;
    if (!number(answer, &a) || !number(output, &o))
        return false;
    double difference = fabs(a - o);
    return difference <= c->absolute || difference <= c->relative * fabs(a);
}

static bool compare_tokens(const struct checker *c, struct text answer, struct text output,
                           char *why, size_t size)
{
    struct reader a = {answer.at, answer.at + answer.size, 1};
    struct reader o = {output.at, output.at + output.size, 1};
    char buf[2][80];
    for (;;) {
        struct text x, y;
        bool has_x = next_token(&a, &x), has_y = next_token(&o, &y);
        if (!has_x && !has_y)
            return true;
        if (has_x && !has_y)
            snprintf(why, size, "the output ends early, expected %s", shown(x, buf[0]));
        else if (!has_x)
            snprintf(why, size, "line %zu: %s after the end of the answer", o.line,
                     shown(y, buf[0]));
        else if (c->kind == CHECKER_FLOAT ? near(c, x, y) : same(x, y))
            continue;
        else
            snprintf(why, size, "line %zu: expected %s, found %s", o.line, shown(x, buf[0]),
                     shown(y, buf[1]));
        return false;
    }
}

static bool compare_exact(struct text answer, struct text output, char *why, size_t size)
{
    if (same(answer, output))
        return true;
    size_t at = 0, line = 1;
    while (at < answer.size && at < output.size && answer.at[at] == output.at[at])
        line += answer.at[at++] == '\n';
    if (at == output.size)
        snprintf(why, size, "the output ends early, at byte %zu of %zu", at, answer.size);
    else if (at == answer.size)
        snprintf(why, size, "the output goes on after the answer's %zu bytes", answer.size);
    else
        snprintf(why, size, "line %zu, byte %zu differs", line, at + 1);
    return false;
}

/* --- lines in any order --- */

static int by_text(const void *x, const void *y)
{
    const struct text *a = x, *b = y;
    int order = memcmp(a->at, b->at, a->size < b->size ? a->size : b->size);
    if (order != 0)
        return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

/* Sorted lines, blanks cut at their ends; empty lines at the end of the text do not count. NULL:
 * out of memory. */
static struct text *sorted_lines(struct text t, size_t *ret_count)
{
    while (t.size > 0 && isspace((unsigned char)t.at[t.size - 1]))
        t.size--;
    size_t count = 0, i = 0;
    for (size_t k = 0; k < t.size; k++)
        count += t.at[k] == '\n';
    count += t.size > 0;
    struct text *lines = calloc(count + 1, sizeof *lines);
    if (lines == NULL)
        return NULL;
    for (const char *at = t.at, *end = t.at + t.size; i < count; i++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline == NULL ? end : newline;
        lines[i] = (struct text){at, (size_t)(stop - at)};
        while (lines[i].size > 0 && isspace((unsigned char)at[lines[i].size - 1]))
            lines[i].size--;
        at = newline == NULL ? end : newline + 1;
    }
    qsort(lines, count, sizeof *lines, by_text);
    *ret_count = count;
    return lines;
}

static bool compare_unordered(struct text answer, struct text output, char *why, size_t size)
{
    size_t n = 0, m = 0, i = 0, k = 0;
    struct text *a = sorted_lines(answer, &n), *o = sorted_lines(output, &m);
    char buf[80];
    bool equal = a != NULL && o != NULL;
    if (!equal)
        snprintf(why, size, "out of memory");
    while (equal && (i < n || k < m)) {
        int order = i == n ? 1 : k == m ? -1 : by_text(&a[i], &o[k]);
        if (order < 0)
            snprintf(why, size, "the line %s is missing", shown(a[i], buf));
        else if (order > 0)
            snprintf(why, size, "the line %s is not in the answer", shown(o[k], buf));
        equal = order == 0;
        i++, k++;
    }
    free(a);
    free(o);
    return equal;
}

bool checker_compare(const struct checker *c, const char *answer, size_t answer_size,
                     const char *output, size_t output_size, char *why, size_t size)
{
    struct text a = {answer_size == 0 ? "" : answer, answer_size};
    struct text o = {output_size == 0 ? "" : output, output_size};
    why[0] = '\0';
    if (c->kind == CHECKER_EXACT)
        return compare_exact(a, o, why, size);
    if (c->kind == CHECKER_UNORDERED)
        return compare_unordered(a, o, why, size);
    return compare_tokens(c, a, o, why, size);
}
