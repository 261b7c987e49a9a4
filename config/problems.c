#include "config/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_QUOTED 60

__attribute__((format(printf, 3, 0))) static void add(struct problems *p, const char *path,
                                                      const char *fmt, va_list ap)
{
    if (p->count++ >= PROBLEMS_MAX)
        return;
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    p->lines = arena_grow(p->arena, p->lines, p->count - 1, sizeof *p->lines);
    p->paths = arena_grow(p->arena, p->paths, p->count - 1, sizeof *p->paths);
    bool named = path[0] != '\0';
    p->lines[p->count - 1] = arena_printf(p->arena, "%s%s%s", path, named ? ": " : "", text);
    p->paths[p->count - 1] = arena_strdup(p->arena, path);
}

void problem_add(struct problems *p, const char *path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, path, fmt, ap);
    va_end(ap);
    p->invalid = true;
}

void problem_add_unsupported(struct problems *p, const char *path, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, path, fmt, ap);
    va_end(ap);
}

static size_t kept_of(const struct problems *p)
{
    return p->count < PROBLEMS_MAX ? p->count : PROBLEMS_MAX;
}

static size_t object_length(const char *path)
{
    size_t n = strcspn(path, ".[");
    return path[n] == '.' ? n + 1 + strcspn(path + n + 1, ".[") : n;
}

bool problems_tell_of(const struct problems *p, const char *path)
{
    size_t size = object_length(path);
    for (size_t i = 0; i < kept_of(p); i++) {
        const char *told = p->paths[i];
        size_t n = object_length(told);
        if (strncmp(told, path, n) == 0 && (n == size || (n < size && path[n] == '.')))
            return true;
    }
    return false;
}

void problems_add_others(struct problems *p, const struct problems *more)
{
    const struct problems before = *p;
    for (size_t i = 0; i < kept_of(more) && p->count < PROBLEMS_MAX; i++) {
        if (problems_tell_of(&before, more->paths[i]))
            continue;
        p->invalid = p->invalid || more->invalid;
        p->lines = arena_grow(p->arena, p->lines, p->count, sizeof *p->lines);
        p->paths = arena_grow(p->arena, p->paths, p->count, sizeof *p->paths);
        p->lines[p->count] = arena_strdup(p->arena, more->lines[i]);
        p->paths[p->count++] = arena_strdup(p->arena, more->paths[i]);
    }
}

int problems_report(const struct problems *p, const char *what, struct error *err)
{
    if (p->count == 0)
        return 0;
    const char *code = p->invalid ? "spec.invalid" : "spec.unsupported";
    const char *sep = what == NULL ? "" : ": ";
    if (what == NULL)
        what = "";
    if (err == NULL)
        return -1;

    if (p->count == 1) {
        error_set(err, code, 0, "%s%s%s", what, sep, p->lines[0]);
    } else {
        error_set(err, code, 0, "%s%s%zu problems:", what, sep, p->count);
        size_t used = strlen(err->message), shown = 0;
        size_t kept = kept_of(p);
        /* room stays for the line that tells how many did not fit */
        while (shown < kept && used + strlen(p->lines[shown]) + 48 < sizeof err->message) {
            int n = snprintf(err->message + used, sizeof err->message - used, "\n%s",
                             p->lines[shown++]);
            used += n > 0 ? (size_t)n : 0;
        }
        if (shown < p->count)
            snprintf(err->message + used, sizeof err->message - used, "\nand %zu more",
                     p->count - shown);
    }
    return error_path(err, p->paths[0]);
}

const char *problem_quote(struct arena *a, const char *text)
{
    char *out = arena_alloc(a, MAX_QUOTED * 4 + 8), *to = out;
    *to++ = '"';
    size_t n = 0;
    for (; n < MAX_QUOTED && text[n] != '\0'; n++) {
        unsigned char c = (unsigned char)text[n];
        if (c < 0x20 || c == 0x7f)
            to += snprintf(to, 5, "\\x%02x", c);
        else
            *to++ = (char)c;
    }
    *to++ = '"';
    if (text[n] != '\0')
        snprintf(to, 4, "...");
    return out;
}
