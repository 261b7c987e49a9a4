#include "base/io.h"
#include "compiler/diagnostics.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>

#define CORPUS "tests/corpus/diagnostics"

static char *slurp(const char *path, size_t *ret_size)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    ssize_t n = fd < 0 ? -1 : io_read_to_end(fd, 1 << 20, &text);
    cr_assert(n >= 0, "cannot read %s", path);
    *ret_size = (size_t)n;
    return text;
}

static const char *user_path(const void *data, struct arena *a, const char *path)
{
    (void)data;
    if (strncmp(path, "/src/", 5) == 0)
        return arena_printf(a, "hw/%s", path + 5);
    return strchr(path, '/') == NULL ? arena_printf(a, "hw/%s", path) : NULL;
}

static const char *user_line(const void *data, const char *path, unsigned line, size_t *ret_size)
{
    (void)data;
    const char *base = strrchr(path, '/');
    char name[256];
    snprintf(name, sizeof name, CORPUS "/sources/%s", base == NULL ? path : base + 1);
    static char text[1 << 16];
    ssize_t n = io_read_file_at(AT_FDCWD, name, text, sizeof text);
    if (n < 0)
        return NULL;
    char *at = text;
    for (unsigned i = 1; i < line && at != NULL; i++)
        at = (at = strchr(at, '\n')) == NULL ? NULL : at + 1;
    *ret_size = at == NULL ? 0 : strcspn(at, "\n");
    return at;
}

static const struct diagnostics_map user_map = {.path = user_path, .line = user_line};

static enum diagnostics_format format_of(const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    return strncmp(base, "gcc", 3) == 0     ? DIAGNOSTICS_GCC_JSON
           : strncmp(base, "clang", 5) == 0 ? DIAGNOSTICS_CLANG
                                            : DIAGNOSTICS_PLAIN;
}

static char *rendered(const struct diagnostics *d)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    diagnostics_print(d, f, false);
    fprintf(f, "-- %zu errors, %zu warnings\n", d->errors, d->warnings);
    fclose(f);
    return text;
}

/* Each NAME.txt is what a real compiler printed; NAME.expected is what a reader should be shown. */
Test(diagnostics, corpus_of_real_compilers)
{
    glob_t files;
    cr_assert_eq(glob(CORPUS "/*.txt", 0, NULL, &files), 0);
    cr_assert_geq(files.gl_pathc, 17);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        char golden[256];
        snprintf(golden, sizeof golden, "%.*s.expected", (int)strlen(path) - 4, path);
        size_t size, golden_size;
        _cleanup_free_ char *text = slurp(path, &size);
        _cleanup_diagnostics_ struct diagnostics *d = diagnostics_new();
        diagnostics_parse(d, format_of(path), text, size, &user_map);
        _cleanup_free_ char *got = rendered(d);
        if (getenv("CLOCHE_WRITE_EXPECTED") != NULL) {
            int fd = open(golden, O_WRONLY | O_CREAT | O_TRUNC, 0644);
            io_write_all(fd, got, strlen(got));
            close(fd);
            continue;
        }
        _cleanup_free_ char *expected = slurp(golden, &golden_size);
        cr_expect_str_eq(got, expected, "%s:\n%s\nexpected:\n%s", path, got, expected);
    }
    globfree(&files);
}

Test(diagnostics, json_and_back_is_the_same)
{
    glob_t files;
    cr_assert_eq(glob(CORPUS "/*.txt", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        size_t size;
        _cleanup_free_ char *text = slurp(files.gl_pathv[i], &size);
        _cleanup_diagnostics_ struct diagnostics *d = diagnostics_new();
        diagnostics_parse(d, format_of(files.gl_pathv[i]), text, size, &user_map);
        cJSON *json = diagnostics_to_json(d);
        _cleanup_free_ char *once = cJSON_Print(json);
        cJSON_Delete(json);

        _cleanup_diagnostics_ struct diagnostics *again = diagnostics_new();
        cr_assert_eq(diagnostics_from_json(again, once, strlen(once), NULL), 0);
        json = diagnostics_to_json(again);
        _cleanup_free_ char *twice = cJSON_Print(json);
        cJSON_Delete(json);
        cr_expect_str_eq(once, twice);
        cr_expect_eq(d->errors, again->errors);
        cr_expect_eq(d->warnings, again->warnings);
    }
    globfree(&files);
}

static const struct {
    const char *format, *text;
    size_t errors, warnings;
    const char *first; /* file:line:column severity option message (the first note) */
} lines[] = {
    {"plain", "a.c:3: error: ';' expected\n", 1, 0, "a.c:3:0 error - ';' expected"},
    {"gcc-json", "/usr/bin/ld: /tmp/ccX.o: warning: relocation against `bar' in section `.text'\n",
     0, 1, "-:0:0 warning - relocation against `bar' in section `.text'"},
    {"gcc-json", "/usr/bin/ld: warning: creating DT_TEXTREL in a PIE\n", 0, 1,
     "-:0:0 warning - creating DT_TEXTREL in a PIE"},
    {"gcc-json",
     "/usr/bin/ld: /tmp/ccX.o: relocation R_X86_64_32 against `.data' can not be used\n", 1, 0,
     "-:0:0 error - relocation R_X86_64_32 against `.data' can not be used"},
    {"gcc-json", "/usr/bin/ld: cannot find -lnosuch: No such file or directory\n", 1, 0,
     "-:0:0 error - cannot find -lnosuch: No such file or directory"},
    {"gcc-json",
     "/usr/bin/ld: /obj/1.o: in function `main':\ny.c:(.text+0x1c): undefined reference to `f'\n",
     1, 0, "/obj/1.o:0:0 error - undefined reference to `f'"},
    {"gcc-json",
     "/usr/bin/ld: /obj/1.o: in function `dup':\ny.c:(.text+0x0): multiple definition of `dup'; "
     "/obj/0.o:x.c:(.text+0x0): first defined here\n",
     1, 0, "/obj/1.o:0:0 error - multiple definition of `dup' (/obj/0.o:0 first defined here)"},
    {"gcc-json",
     "/usr/bin/ld: /tmp/b.o: in function `dup':\ny.c:7: multiple definition of `dup'; "
     "/tmp/a.o:x.c:3: first defined here\n",
     1, 0, "y.c:7:0 error - multiple definition of `dup' (x.c:3 first defined here)"},
    {"clang",
     "a.c:(.text+0x1): undefined reference to `f'\nclang: error: linker command failed\n"
     "clang: error: unable to remove file: Operation not permitted\n",
     1, 0, "a.c:0:0 error - undefined reference to `f'"},
    {"plain", "a.c:3:7: Warning: odd\n", 0, 1, "a.c:3:7 warning - odd"},
    {"plain", "x.rs:2:5: error[E0425]: cannot find value `y`\n", 1, 0,
     "x.rs:2:5 error E0425 cannot find value `y`"},
    {"plain", "./m.go:4:2: undefined: foo\n", 1, 0, "./m.go:4:2 error - undefined: foo"},
    {"plain", "s.sh: line 3: syntax error: unexpected end of file\n", 1, 0,
     "s.sh:3:0 error - syntax error: unexpected end of file"},
    {"plain", "s.sh: 7: Syntax error: \"fi\" unexpected\n", 1, 0,
     "s.sh:7:0 error - Syntax error: \"fi\" unexpected"},
    {"plain",
     "Traceback (most recent call last):\n  File \"<string>\", line 3, in <module>\n"
     "  File \"x.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax\n",
     1, 0, "x.py:1:0 error - SyntaxError: invalid syntax"},
    {"plain", "/src/x.js:1\nlet x = ;\n        ^\n\nSyntaxError: Unexpected token ';'\n", 1, 0,
     "/src/x.js:1:0 error - SyntaxError: Unexpected token ';'"},
    {"plain", "Main.java:1: error: ';' expected\n  code\n  ^\n1 error\n", 1, 0,
     "Main.java:1:0 error - ';' expected"},
    {"plain", "tcc: error: undefined symbol 'foo'\n", 1, 0, "-:0:0 error - undefined symbol 'foo'"},
    {"gcc-json",
     "/usr/bin/ld: cannot find -lnone: No such file or directory\ncollect2: error: ld "
     "returned 1 exit status\n",
     1, 0, "-:0:0 error - cannot find -lnone: No such file or directory"},
    {"gcc-json", "collect2: fatal error: ld terminated with signal 9 [Killed]\n", 1, 0,
     "-:0:0 fatal error - ld terminated with signal 9 [Killed]"},
    {"gcc-json", "[{\"kind\":\"error\",\"message\":\"m\\u001b[31m\"}]\n", 1, 0,
     "-:0:0 error - m [31m"},
    {"clang", "a.c:1:2: error: x [-Werror,-Wfoo]\n", 1, 0, "a.c:1:2 error -Wfoo x"},
    {"clang", "a.c:1:2: remarkable\n", 0, 0, NULL},
    {"plain", "", 0, 0, NULL},
    {"plain", "::::::::\n:1:\n1:1\n\n \n", 0, 0, NULL},
    {"gcc-json", "[{]\n[]\n[1,2,\"x\",null]\n", 0, 0, NULL},
    {"gcc-json",
     "[{\"kind\":\"error\",\"message\":\"far\",\"locations\":[{\"caret\":{\"file\":\"f\","
     "\"line\":1e300,\"column\":-4}}]}]\n",
     1, 0, "f:0:0 error - far"},
};

Test(diagnostics, forms)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        _cleanup_diagnostics_ struct diagnostics *d = diagnostics_new();
        diagnostics_parse(d, (enum diagnostics_format)diagnostics_format_parse(lines[i].format),
                          lines[i].text, strlen(lines[i].text), NULL);
        cr_expect_eq(d->errors, lines[i].errors, "%s: %zu errors", lines[i].text, d->errors);
        cr_expect_eq(d->warnings, lines[i].warnings, "%s: %zu warnings", lines[i].text,
                     d->warnings);
        if (lines[i].first == NULL) {
            cr_expect_eq(d->count, 0, "%s: found %s", lines[i].text,
                         d->count > 0 ? d->items[0].message : "");
            continue;
        }
        cr_assert_geq(d->count, 1, "%s", lines[i].text);
        const struct diagnostic *t = &d->items[0];
        char got[1024];
        snprintf(got, sizeof got, "%s:%u:%u %s %s %s", t->file != NULL ? t->file : "-", t->line,
                 t->column, severity_name(t->severity), t->option != NULL ? t->option : "-",
                 t->message);
        size_t n = strlen(got);
        if (t->note_count > 0)
            snprintf(got + n, sizeof got - n, " (%s:%u %s)", t->notes[0].file, t->notes[0].line,
                     t->notes[0].message);
        cr_expect_str_eq(got, lines[i].first);
    }
}

Test(diagnostics, what_is_kept_is_clean_and_bounded)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain \x1b[31m", "plain  [31m"},
        {"a\tb\rc\x7f", "a b c "},
        {"\xc3\xa9", "\xc3\xa9"},
        {"\xff", "\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc2\x9b"
         "2J",
         " 2J"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_str_eq(diagnostics_clean(a, cases[i].in, strlen(cases[i].in), 100), cases[i].out);

    size_t size;
    char *text = NULL;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < 2000; i++)
        fprintf(f, "a.c:%d: error: e\na.c:%d: note: n\n", i + 1, i + 1);
    fclose(f);
    _cleanup_diagnostics_ struct diagnostics *d = diagnostics_new();
    diagnostics_parse(d, DIAGNOSTICS_PLAIN, text, size, NULL);
    free(text);
    cr_expect_eq(d->count, DIAGNOSTICS_MAX);
    cr_expect_eq(d->errors, 2000);
    cr_expect(d->truncated);
    cr_expect_leq(d->items[DIAGNOSTICS_MAX - 1].note_count, NOTES_MAX);
}
