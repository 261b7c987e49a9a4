/* Tools that print lines for people: clang, tcc, ld, as, rustc, javac, go, python, shells, node.
 *
 * Each line is tried against a table of forms, most telling first. What stands indented is a
 * picture of the source and says nothing of its own, with python's "File" lines as the one
 * exception. */
#include "compiler/diagnostics.h"
#include "compiler/sources.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *at;
    size_t size;
};

struct scan {
    struct diagnostics *d;
    enum diagnostics_format format;
    const struct diagnostics_map *map;
    struct text object;         /* what the linker speaks of */
    struct text traceback_file; /* python's and node's place, until their message comes */
    unsigned traceback_line;
};

static bool starts(struct text t, const char *prefix)
{
    size_t n = strlen(prefix);
    return t.size >= n && memcmp(t.at, prefix, n) == 0;
}

static struct text after(struct text t, size_t n)
{
    return n > t.size ? (struct text){t.at + t.size, 0} : (struct text){t.at + n, t.size - n};
}

static const char *find(struct text t, const char *word)
{
    return t.at == NULL ? NULL : memmem(t.at, t.size, word, strlen(word));
}

static struct text trim(struct text t)
{
    while (t.size > 0 && (t.at[0] == ' ' || t.at[0] == '\t'))
        t = after(t, 1);
    while (t.size > 0 && isspace((unsigned char)t.at[t.size - 1]))
        t.size--;
    return t;
}

/* Digits at the start of @t; their count, 0 when there are none or too many. */
static size_t number(struct text t, unsigned *ret)
{
    unsigned value = 0;
    size_t n = 0;
    *ret = 0;
    while (n < t.size && t.at[n] >= '0' && t.at[n] <= '9') {
        if (n == 9)
            return 0;
        value = value * 10 + (unsigned)(t.at[n++] - '0');
    }
    *ret = value;
    return n;
}

static const struct {
    const char *word;
    enum severity severity;
} severity_words[] = {
    {"fatal error", SEVERITY_FATAL}, {"error", SEVERITY_ERROR},
    {"warning", SEVERITY_WARNING},   {"note", SEVERITY_NOTE},
    {"help", SEVERITY_NOTE},         {"sorry, unimplemented", SEVERITY_ERROR},
    {"fatal", SEVERITY_FATAL},       {"info", SEVERITY_NOTE},
};

/* "error: ", "error[E0425]: ", "Warning: " at the start of @t; the rest goes to @ret_rest. */
static bool severity_word(struct text t, enum severity *ret, struct text *ret_code,
                          struct text *ret_rest)
{
    for (size_t i = 0; i < sizeof severity_words / sizeof *severity_words; i++) {
        size_t n = strlen(severity_words[i].word);
        if (t.size <= n || strncasecmp(t.at, severity_words[i].word, n) != 0)
            continue;
        struct text rest = after(t, n);
        *ret_code = (struct text){NULL, 0};
        if (rest.at[0] == '[') {
            const char *end = memchr(rest.at, ']', rest.size);
            if (end == NULL || end - rest.at > 20)
                continue;
            *ret_code = (struct text){rest.at + 1, (size_t)(end - rest.at) - 1};
            rest = after(rest, (size_t)(end - rest.at) + 1);
        }
        if (!starts(rest, ":"))
            continue;
        *ret = severity_words[i].severity;
        *ret_rest = trim(after(rest, 1));
        return true;
    }
    return false;
}

static struct diagnostic *add(struct scan *s, enum severity severity, struct text message,
                              struct text option)
{
    if (message.size == 0)
        return NULL;
    struct diagnostic *item = diagnostics_add(s->d, severity);
    if (item == NULL)
        return NULL;
    /* "... [-Wunused-variable]", clang also "[-Werror,-Wunused-variable]" */
    if (option.at == NULL && message.at[message.size - 1] == ']') {
        size_t open = message.size;
        while (open > 0 && message.at[open - 1] != '[')
            open--;
        if (open > 1 && message.at[open] == '-' && message.at[open - 2] == ' ') {
            option = (struct text){message.at + open, message.size - open - 1};
            message = trim((struct text){message.at, open - 1});
            if (starts(option, "-Werror,"))
                option = after(option, strlen("-Werror,"));
        }
    }
    item->message = diagnostics_clean(s->d->arena, message.at, message.size, MESSAGE_MAX);
    if (option.at != NULL)
        item->option = diagnostics_clean(s->d->arena, option.at, option.size, 200);
    return item;
}

static void place(struct scan *s, struct diagnostic *item, struct text file, unsigned line,
                  unsigned column)
{
    if (item != NULL)
        diagnostics_place(s->d, item, file.at, file.size, line, column, s->map);
}

/* FILE:LINE[:COLUMN]: at the start of @t */
static bool place_prefix(struct text t, struct text *ret_file, unsigned *ret_line,
                         unsigned *ret_column, struct text *ret_rest)
{
    for (size_t i = 1; i < t.size; i++) {
        if (t.at[i] != ':')
            continue;
        struct text rest = after(t, i + 1);
        size_t n = number(rest, ret_line);
        if (n == 0)
            continue;
        rest = after(rest, n);
        if (!starts(rest, ":"))
            continue;
        rest = after(rest, 1);
        *ret_column = 0;
        unsigned column;
        n = number(rest, &column);
        if (n > 0 && starts(after(rest, n), ":")) {
            *ret_column = column;
            rest = after(rest, n + 1);
        }
        *ret_file = (struct text){t.at, i};
        *ret_rest = trim(rest);
        return true;
    }
    return false;
}

/* --- forms: each says whether the line was its --- */

static bool form_noise(struct scan *s, struct text t)
{
    static const char *const noise[] = {
        "In file included from",
        "compilation terminated",
        "collect2: ",
        "clang: error: linker ",
        "tcc: error: file 'crt1.o'",
        "# command-line",
        "cc1: all warnings being",
        "cc1plus: all warnings being",
        "error: aborting due to",
        "error: could not compile",
        "Traceback ",
        "clang-14: error: linker ",
        "clang: error: unable to remove file", /* the artifact has no name inside */
    };
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++) {
        /* when the linker said nothing better, its driver's line is all there is */
        if (starts(t, noise[i]))
            return s->d->errors > 0 || strstr(noise[i], ": ") == NULL;
    }
    return false;
}

static bool form_placed(struct scan *s, struct text t)
{
    struct text file, rest, code = {NULL, 0};
    unsigned line, column;
    if (!place_prefix(t, &file, &line, &column, &rest) || rest.size == 0)
        return false;
    enum severity severity = SEVERITY_ERROR;
    struct text message = rest;
    if (!severity_word(rest, &severity, &code, &message) && s->format == DIAGNOSTICS_CLANG &&
        !starts(rest, "undefined reference") && !starts(rest, "multiple definition"))
        return false;
    place(s, add(s, severity, message, code), file, line, column);
    return true;
}

/* clang -fdiagnostics-parseable-fixits: fix-it:"FILE":{L:C-L:C}:"TEXT" */
static bool form_fixit(struct scan *s, struct text t)
{
    if (!starts(t, "fix-it:\""))
        return false;
    t = after(t, strlen("fix-it:\""));
    const char *quote = memchr(t.at, '"', t.size);
    if (quote == NULL || s->d->count == 0)
        return true;
    struct text file = {t.at, (size_t)(quote - t.at)};
    t = after(t, file.size + 1);
    unsigned v[4];
    static const char *const before[] = {":{", ":", "-", ":"};
    for (size_t i = 0; i < 4; i++) {
        if (!starts(t, before[i]))
            return true;
        t = after(t, strlen(before[i]));
        size_t n = number(t, &v[i]);
        if (n == 0)
            return true;
        t = after(t, n);
    }
    if (!starts(t, "}:\"") || t.at[t.size - 1] != '"' || t.size < 4)
        return true;
    t = (struct text){t.at + 3, t.size - 4};

    struct diagnostic *item = &s->d->items[s->d->count - 1];
    if (item->note_count > 0)
        item = &item->notes[item->note_count - 1];
    if (item->fixit_count == FIXITS_MAX)
        return true;
    struct diagnostic named = {0};
    diagnostics_place(s->d, &named, file.at, file.size, 0, 0, s->map);
    item->fixits = arena_grow(s->d->arena, item->fixits, item->fixit_count, sizeof *item->fixits);
    item->fixits[item->fixit_count++] = (struct fixit){
        .file = named.file,
        .line = v[0],
        .column = v[1],
        .end_line = v[2],
        .end_column = v[3],
        .text = diagnostics_clean(s->d->arena, t.at, t.size, MESSAGE_MAX),
    };
    return true;
}

/* gcc: error: ..., tcc: error: ..., error: ..., cc1: fatal error: ... */
static bool form_tool(struct scan *s, struct text t)
{
    enum severity severity;
    struct text code, message;
    const char *colon = memchr(t.at, ':', t.size);
    if (colon == NULL)
        return false;
    size_t name = (size_t)(colon - t.at);
    if (!severity_word(t, &severity, &code, &message) &&
        (memchr(t.at, ' ', name) != NULL ||
         !severity_word(trim(after(t, name + 1)), &severity, &code, &message)))
        return false;
    add(s, severity, message, code);
    return true;
}

/* Objects of our own link stand for their source; those of a driver's scratch for nothing. */
static bool is_object(struct text t)
{
    return starts(t, OBJECTS_INSIDE "/");
}

/* "FILE:(.text+0x5)" or "FILE:LINE", with an object that is known before it or instead of it */
static void place_linked(struct scan *s, struct diagnostic *item, struct text t, struct text object)
{
    unsigned line = 0;
    while (t.size > 0 && (t.at[t.size - 1] == ' ' || t.at[t.size - 1] == ':'))
        t.size--;
    struct text file = t;
    const char *section = find(t, ":(.");
    if (section != NULL) {
        file.size = (size_t)(section - t.at);
    } else {
        size_t colon = t.size;
        while (colon > 0 && t.at[colon - 1] != ':')
            colon--;
        if (colon > 1 && number(after(t, colon), &line) > 0)
            file.size = colon - 1;
    }
    if (is_object(object))
        file = object;
    if (starts(file, "/tmp/"))
        file.size = 0;
    place(s, item, file, line, 0);
}

/* "multiple definition of `f'; OBJECT:PLACE: first defined here" is an error and a note. */
static void add_linked(struct scan *s, struct text message, struct text at)
{
    const char *first = find(message, "; "), *end = find(message, ": first defined here");
    struct text other = {NULL, 0};
    if (first != NULL && end != NULL && first < end) {
        other = (struct text){first + 2, (size_t)(end - first) - 2};
        message.size = (size_t)(first - message.at);
    }
    place_linked(s, add(s, SEVERITY_ERROR, message, (struct text){NULL, 0}), at, s->object);
    const char *colon = other.at == NULL ? NULL : memchr(other.at, ':', other.size);
    if (colon == NULL)
        return;
    struct text object = {other.at, (size_t)(colon - other.at)};
    struct text rest =
        starts(after(other, object.size), ":(") ? other : after(other, object.size + 1);
    static const char here[] = "first defined here";
    place_linked(
        s, add(s, SEVERITY_NOTE, (struct text){here, sizeof here - 1}, (struct text){NULL, 0}),
        rest, object);
}

/* [/usr/bin/ld: ]FILE:(.text+0x5): undefined reference to `foo' */
static bool form_linker(struct scan *s, struct text t)
{
    bool ld = false;
    if (t.at[0] == '/') {
        const char *end = find(t, "/ld: ");
        ld = end != NULL && memchr(t.at, ' ', (size_t)(end - t.at)) == NULL;
        if (ld)
            t = trim(after(t, (size_t)(end - t.at) + 5));
    }
    const char *in = t.size == 0 ? NULL : find(t, ": in function `");
    if (in != NULL)
        s->object = (struct text){t.at, (size_t)(in - t.at)};
    if (t.size == 0 || in != NULL)
        return true;
    const char *section = find(t, ":(.");
    if (section != NULL) {
        const char *end = memmem(section, t.size - (size_t)(section - t.at), "): ", 3);
        if (end == NULL)
            return false;
        struct text at = {t.at, (size_t)(end - t.at) + 1};
        if (is_object(t))
            s->object = (struct text){t.at, (size_t)(section - t.at)};
        add_linked(s, trim(after(t, at.size + 1)), at);
        return true;
    }
    struct text file, rest, code = {NULL, 0};
    unsigned line, column;
    if (find(t, ": first defined here") != NULL && place_prefix(t, &file, &line, &column, &rest)) {
        add_linked(s, rest, (struct text){t.at, (size_t)(rest.at - t.at)});
        return true;
    }
    if (!ld)
        return false;
    if (form_placed(s, t) || form_tool(s, t))
        return true;
    enum severity severity = SEVERITY_ERROR;
    severity_word(t, &severity, &code, &t);
    const char *colon = find(t, ": ");
    struct text object = {t.at, colon == NULL ? 0 : (size_t)(colon - t.at)};
    if (is_object(object) || starts(object, "/tmp/"))
        place_linked(s, add(s, severity, trim(after(t, object.size + 1)), code), object,
                     (struct text){NULL, 0});
    else
        add(s, severity, t, code);
    return true;
}

/* bash: FILE: line N: message. dash: FILE: N: message. */
static bool form_shell(struct scan *s, struct text t)
{
    if (s->format == DIAGNOSTICS_CLANG)
        return false;
    const char *colon = find(t, ": ");
    if (colon == NULL)
        return false;
    struct text file = {t.at, (size_t)(colon - t.at)}, rest = after(t, file.size + 2);
    if (starts(rest, "line "))
        rest = after(rest, 5);
    unsigned line;
    size_t n = number(rest, &line);
    if (n == 0 || !starts(after(rest, n), ": "))
        return false;
    place(s, add(s, SEVERITY_ERROR, trim(after(rest, n + 2)), (struct text){NULL, 0}), file, line,
          0);
    return true;
}

/* python: File "F", line N ... SyntaxError: message. node: F:N ... SyntaxError: message. */
static bool form_traceback(struct scan *s, struct text t)
{
    struct text bare = trim(t);
    if (starts(bare, "File \"")) {
        struct text name = after(bare, 6);
        const char *end = find(name, "\", line ");
        unsigned line;
        if (end != NULL) {
            name.size = (size_t)(end - name.at);
            if (number(after(bare, 6 + name.size + 8), &line) > 0) {
                s->traceback_file = name;
                s->traceback_line = line;
            }
        }
        return true;
    }
    if (t.at[0] == '/') {
        size_t colon = t.size;
        while (colon > 0 && t.at[colon - 1] != ':')
            colon--;
        unsigned line;
        if (colon > 1 && number(after(t, colon), &line) == t.size - colon && colon < t.size) {
            s->traceback_file = (struct text){t.at, colon - 1};
            s->traceback_line = line;
            return true;
        }
    }
    size_t word = 0;
    while (word < t.size && isalnum((unsigned char)t.at[word]))
        word++;
    if (s->traceback_line > 0 && word > 5 && memcmp(t.at + word - 5, "Error", 5) == 0 &&
        starts(after(t, word), ": ")) {
        place(s, add(s, SEVERITY_ERROR, t, (struct text){NULL, 0}), s->traceback_file,
              s->traceback_line, 0);
        s->traceback_line = 0;
        return true;
    }
    return false;
}

static bool (*const forms[])(struct scan *, struct text) = {
    form_noise, form_traceback, form_fixit, form_linker, form_placed, form_tool, form_shell,
};

static void parse_line(struct scan *s, struct text t)
{
    if (t.size > 0 && t.at[t.size - 1] == '\r')
        t.size--;
    if (t.size == 0)
        return;
    if (t.at[0] == ' ' || t.at[0] == '\t') {
        if (s->format == DIAGNOSTICS_PLAIN)
            form_traceback(s, t);
        return;
    }
    if (s->format == DIAGNOSTICS_GCC_JSON && t.at[0] == '[') {
        diagnostics_parse_gcc(s->d, t.at, t.size, s->map);
        return;
    }
    /* no honest tool writes such a line; scanning it form by form would only cost time */
    if (t.size > 64 * 1024)
        t.size = 64 * 1024;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (forms[i](s, t))
            return;
    }
}

void diagnostics_parse(struct diagnostics *d, enum diagnostics_format format, const char *text,
                       size_t size, const struct diagnostics_map *map)
{
    struct scan s = {.d = d, .format = format, .map = map};
    if (size > DIAGNOSTICS_INPUT)
        size = DIAGNOSTICS_INPUT;
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t n = end == NULL ? size : (size_t)(end - text);
        parse_line(&s, (struct text){text, n});
        text += end == NULL ? n : n + 1;
        size -= end == NULL ? n : n + 1;
    }
}
