/* A graded class for people, for programs (JSON) and for CI servers (JUnit XML). */
#include "runtime/judge.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define NAME_CELLS 40

static const char *verdict_color(enum verdict v)
{
    return v == VERDICT_OK ? "\033[32m" : v == VERDICT_SETUP_ERROR ? "\033[33m" : "\033[31m";
}

static int name_width(const struct judge_result *r)
{
    size_t width = 10;
    for (size_t i = 0; i < r->count; i++) {
        size_t n = 0; /* characters */
        for (const char *p = r->submissions[i].name; *p != '\0'; p++)
            n += ((unsigned char)*p & 0xc0) != 0x80;
        width = n > width ? n : width;
    }
    return width > NAME_CELLS ? NAME_CELLS : (int)width;
}

static void print_verdict(FILE *out, enum verdict v, bool color)
{
    fprintf(out, "%s%-15s%s", color ? verdict_color(v) : "", verdict_name(v),
            color ? "\033[0m" : "");
}

/* The most that any test of the submission took. */
static void costs(const struct judge_result *r, const struct judge_submission *s, double *ret_ms,
                  uint64_t *ret_bytes)
{
    *ret_ms = 0;
    *ret_bytes = 0;
    for (size_t i = 0; i < r->tests->count; i++) {
        const struct report *row = &s->rows[i].report;
        if (s->rows[i].skipped)
            continue;
        *ret_ms = row->cpu_ms > *ret_ms ? row->cpu_ms : *ret_ms;
        *ret_bytes = row->memory_peak_bytes > *ret_bytes ? row->memory_peak_bytes : *ret_bytes;
    }
}

static const char *why(const struct judge_row *row)
{
    if (row->message[0] != '\0' && row->report.verdict == VERDICT_WRONG_ANSWER)
        return row->message;
    return row->report.detail[0] != '\0' ? row->report.detail : row->message;
}

/* At most @max characters; their number. */
static int print_clean(FILE *out, const char *text, int max)
{
    int cells = 0;
    size_t left = strlen(text);
    while (left > 0 && cells < max) {
        size_t n = io_printable(text, left);
        fwrite(n == 0 ? "?" : text, 1, n == 0 ? 1 : n, out);
        text += n == 0 ? 1 : n;
        left -= n == 0 ? 1 : n;
        cells++;
    }
    return cells;
}

static void print_column(FILE *out, const char *text, int width, int max)
{
    int cells = print_clean(out, text, max);
    fprintf(out, "%*s", cells < width ? width - cells : 0, "");
}

static void print_remark(const struct judge_result *r, const struct judge_submission *s, FILE *out)
{
    if (s->verdict == VERDICT_OK)
        return;
    for (size_t i = 0; i < r->tests->count; i++) {
        const struct judge_row *row = &s->rows[i];
        if (row->skipped || row->report.verdict == VERDICT_OK)
            continue;
        fputs("test ", out);
        print_clean(out, r->tests->items[i].name, INT_MAX);
        fputs(": ", out);
        print_clean(out, why(row), 100);
        return;
    }
    print_clean(out, s->detail, 100);
}

static void print_rows(const struct judge_result *r, const struct judge_submission *s, FILE *out,
                       bool color)
{
    for (size_t i = 0; i < r->tests->count; i++) {
        const struct judge_row *row = &s->rows[i];
        fputs("    ", out);
        print_column(out, r->tests->items[i].name, 16, INT_MAX);
        fputc(' ', out);
        if (row->skipped) {
            fprintf(out, "skipped\n");
            continue;
        }
        print_verdict(out, row->report.verdict, color);
        fprintf(out, " %6g/%-4g %8.1f ms %8.1f MiB  ", row->points, r->tests->items[i].points,
                row->report.cpu_ms, (double)row->report.memory_peak_bytes / 1048576);
        if (row->report.verdict != VERDICT_OK) {
            print_clean(out, why(row), 100);
            if (row->message[0] != '\0' && why(row) != row->message) {
                fputs(": ", out);
                print_clean(out, row->message, 100);
            }
        }
        fputc('\n', out);
    }
}

void judge_print_table(const struct judge_result *r, FILE *out, bool details, bool color)
{
    int width = name_width(r);
    size_t passed = 0;
    fprintf(out, "%-*s  %-15s %6s %11s %11s %12s\n", width, "submission", "verdict", "tests",
            "points", "time", "memory");
    for (size_t i = 0; i < r->count; i++) {
        const struct judge_submission *s = &r->submissions[i];
        double ms;
        uint64_t bytes;
        costs(r, s, &ms, &bytes);
        passed += s->verdict == VERDICT_OK;
        print_column(out, s->name, width, NAME_CELLS);
        fputs("  ", out);
        print_verdict(out, s->verdict, color);
        fprintf(out, " %3zu/%-2zu %6g/%-4g %8.1f ms %8.1f MiB  ", s->passed, r->tests->count,
                s->points, r->tests->max_points, ms, (double)bytes / 1048576);
        print_remark(r, s, out);
        fputc('\n', out);
        if (details)
            print_rows(r, s, out, color);
    }
    fprintf(out, "%zu of %zu passed, %zu tests each, in %.2f s\n", passed, r->count,
            r->tests->count, r->wall_ms / 1e3);
}

/* --- JSON --- */

/* A file's name may be anything; JSON is UTF-8. */
static void add_name(cJSON *o, const char *name)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (f != NULL) {
        print_clean(f, name, INT_MAX);
        fclose(f);
    }
    cJSON_AddStringToObject(o, "name", text != NULL ? text : "");
}

static void add_count(cJSON *o, const char *name, bool known, double count)
{
    cJSON_AddItemToObject(o, name, known ? cJSON_CreateNumber(count) : cJSON_CreateNull());
}

static cJSON *row_to_json(const struct judge_test *t, const struct judge_row *row)
{
    cJSON *o = cJSON_CreateObject();
    const struct report *p = &row->report;
    add_name(o, t->name);
    cJSON_AddStringToObject(o, "verdict", row->skipped ? "skipped" : verdict_name(p->verdict));
    cJSON_AddNumberToObject(o, "points", row->points);
    cJSON_AddNumberToObject(o, "max_points", t->points);
    if (row->skipped)
        return o;
    add_count(o, "exit_code", p->exit_code >= 0, p->exit_code);
    add_count(o, "signal", p->signal != 0, p->signal);
    cJSON_AddNumberToObject(o, "wall_ms", p->wall_ms);
    cJSON_AddNumberToObject(o, "cpu_ms", p->cpu_ms);
    cJSON_AddNumberToObject(o, "user_ms", p->user_ms);
    cJSON_AddNumberToObject(o, "system_ms", p->system_ms);
    cJSON_AddNumberToObject(o, "memory_peak_bytes", (double)p->memory_peak_bytes);
    add_count(o, "processes_peak", p->processes_peak != 0, (double)p->processes_peak);
    add_count(o, "stdout_bytes", p->stdout_bytes >= 0, (double)p->stdout_bytes);
    add_count(o, "stderr_bytes", p->stderr_bytes >= 0, (double)p->stderr_bytes);
    cJSON_AddItemToObject(o, "blocked_syscall",
                          p->blocked_syscall != NULL ? cJSON_CreateString(p->blocked_syscall)
                                                     : cJSON_CreateNull());
    cJSON *enforced = cJSON_AddObjectToObject(o, "enforced_by");
    cJSON_AddStringToObject(enforced, "memory", means_name(p->enforced_by.memory));
    cJSON_AddStringToObject(enforced, "processes", means_name(p->enforced_by.processes));
    cJSON_AddStringToObject(enforced, "cpu", means_name(p->enforced_by.cpu));
    cJSON *measured = cJSON_AddObjectToObject(o, "measured_by");
    cJSON_AddStringToObject(measured, "memory", means_name(p->measured_by.memory));
    cJSON_AddStringToObject(measured, "cpu", means_name(p->measured_by.cpu));
    cJSON_AddItemToObject(
        o, "detail", p->detail[0] != '\0' ? cJSON_CreateString(p->detail) : cJSON_CreateNull());
    cJSON_AddItemToObject(o, "message",
                          row->message[0] != '\0' ? cJSON_CreateString(row->message)
                                                  : cJSON_CreateNull());
    return o;
}

cJSON *judge_to_json(const struct judge_result *r)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddBoolToObject(root, "all_passed", r->all_passed);
    cJSON_AddNumberToObject(root, "wall_ms", r->wall_ms);
    cJSON *list = cJSON_AddArrayToObject(root, "submissions");
    for (size_t i = 0; i < r->count; i++) {
        const struct judge_submission *s = &r->submissions[i];
        cJSON *o = cJSON_CreateObject();
        add_name(o, s->name);
        cJSON_AddStringToObject(o, "verdict", verdict_name(s->verdict));
        cJSON_AddItemToObject(
            o, "detail", s->detail[0] != '\0' ? cJSON_CreateString(s->detail) : cJSON_CreateNull());
        cJSON_AddNumberToObject(o, "points", s->points);
        cJSON_AddNumberToObject(o, "max_points", r->tests->max_points);
        cJSON_AddNumberToObject(o, "passed", (double)s->passed);
        cJSON_AddNumberToObject(o, "failed", (double)s->failed);
        cJSON_AddNumberToObject(o, "skipped", (double)s->skipped);
        if (s->compiled) {
            cJSON *c = cJSON_AddObjectToObject(o, "compile");
            cJSON_AddStringToObject(c, "verdict", verdict_name(s->compile.verdict));
            cJSON_AddStringToObject(c, "toolchain", s->compile.toolchain);
            cJSON_AddBoolToObject(c, "cache_hit", s->compile.cache_hit);
            cJSON_AddNumberToObject(c, "wall_ms", s->compile.wall_ms);
            cJSON_AddNumberToObject(c, "cpu_ms", s->compile.cpu_ms);
            cJSON_AddItemToObject(c, "diagnostics", diagnostics_to_json(s->compile.diagnostics));
        } else {
            cJSON_AddNullToObject(o, "compile");
        }
        cJSON *tests = cJSON_AddArrayToObject(o, "tests");
        for (size_t k = 0; k < r->tests->count; k++)
            cJSON_AddItemToArray(tests, row_to_json(&r->tests->items[k], &s->rows[k]));
        cJSON_AddItemToArray(list, o);
    }
    return root;
}

/* --- JUnit XML --- */

/* XML 1.0 has no way to write most control characters, and names may be broken UTF-8. */
static void xml(FILE *out, const char *text)
{
    size_t n, left = strlen(text);
    for (const char *p = text; left > 0; p += n, left -= n) {
        n = 1;
        switch (*p) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            n = io_printable(p, left);
            fwrite(n == 0 ? "?" : p, 1, n == 0 ? 1 : n, out);
            n = n == 0 ? 1 : n;
        }
    }
}

static void junit_case(const struct judge_result *r, const struct judge_submission *s, size_t k,
                       FILE *out)
{
    const struct judge_row *row = &s->rows[k];
    fputs("    <testcase classname=\"", out);
    xml(out, s->name);
    fputs("\" name=\"", out);
    xml(out, r->tests->items[k].name);
    fprintf(out, "\" time=\"%.3f\"", row->skipped ? 0 : row->report.wall_ms / 1e3);
    if (!row->skipped && row->report.verdict == VERDICT_OK) {
        fputs("/>\n", out);
        return;
    }
    if (row->skipped) {
        fputs("><skipped/></testcase>\n", out);
        return;
    }
    const char *element = row->report.verdict == VERDICT_SETUP_ERROR ? "error" : "failure";
    fprintf(out, "><%s type=\"%s\" message=\"", element, verdict_name(row->report.verdict));
    xml(out, why(row));
    fputs("\"/></testcase>\n", out);
}

void judge_write_junit(const struct judge_result *r, FILE *out)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", out);
    for (size_t i = 0; i < r->count; i++) {
        const struct judge_submission *s = &r->submissions[i];
        bool uncompiled = s->passed + s->failed == 0 && s->verdict != VERDICT_OK;
        double seconds = 0;
        size_t errors = 0;
        for (size_t k = 0; k < r->tests->count; k++) {
            seconds += s->rows[k].skipped ? 0 : s->rows[k].report.wall_ms / 1e3;
            errors += !s->rows[k].skipped && s->rows[k].report.verdict == VERDICT_SETUP_ERROR;
        }
        fputs("  <testsuite name=\"", out);
        xml(out, s->name);
        fprintf(out,
                "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.3f\">\n",
                r->tests->count + uncompiled, s->failed - errors, errors + uncompiled, s->skipped,
                seconds);
        if (uncompiled) {
            fputs("    <testcase classname=\"", out);
            xml(out, s->name);
            fprintf(out, "\" name=\"compile\" time=\"%.3f\"><error type=\"%s\" message=\"",
                    s->compiled ? s->compile.wall_ms / 1e3 : 0, verdict_name(s->verdict));
            xml(out, s->detail);
            fputs("\"/></testcase>\n", out);
        }
        for (size_t k = 0; k < r->tests->count; k++)
            junit_case(r, s, k, out);
        fputs("  </testsuite>\n", out);
    }
    fputs("</testsuites>\n", out);
}

int judge_save_junit(const struct judge_result *r, const char *path, struct error *err)
{
    FILE *f = fopen(path, "we");
    if (f != NULL) {
        judge_write_junit(r, f);
        bool failed = ferror(f) != 0;
        if (fclose(f) == 0 && !failed)
            return 0;
    }
    error_set(err, "judge.junit", errno, "cannot write \"%s\"", path);
    return error_hint(err, "choose a writable place for the JUnit file");
}
