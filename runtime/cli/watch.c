/* cloche watch: a module is reloaded whenever its source is saved. In the foreground each save is
 * shown, until Ctrl-C; with -d the sandbox keeps watching by itself, until `cloche unwatch`. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct watch_options {
    bool json, detach;
    uint64_t debounce_ms;
    struct arena *arena;
    struct strings include, exclude;
};

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct watch_options *)context)->json = true;
    return 0;
}

static int set_detach(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct watch_options *)context)->detach = true;
    return 0;
}

static int set_debounce(void *context, const char *text, struct error *err)
{
    uint64_t *ms = &((struct watch_options *)context)->debounce_ms;
    if (spec_parse_duration(text, ms, err) < 0)
        return -1;
    return *ms >= 1 && *ms <= 60000
               ? 0
               : error_set(err, "usage.value", 0, "expected a time from 1ms to 60s, found \"%s\"",
                           text);
}

static int set_include(void *context, const char *text, struct error *err)
{
    struct watch_options *o = context;
    (void)err;
    strings_add(o->arena, &o->include, text);
    return 0;
}

static int set_exclude(void *context, const char *text, struct error *err)
{
    struct watch_options *o = context;
    (void)err;
    strings_add(o->arena, &o->exclude, text);
    return 0;
}

static const struct cli_option options[] = {
    {'d', "detach", NULL, "let the sandbox watch by itself, from now on", set_detach},
    {0, "include", "GLOB", "files that count (what the toolchain reads); repeatable", set_include},
    {0, "exclude", "GLOB", "files and directories that do not; repeatable", set_exclude},
    {0, "debounce", "TIME", "quiet time after which a change counts (30ms)", set_debounce},
    {0, "json", NULL, "events and errors as JSON, a line each", set_json},
    {0, NULL, NULL, NULL, NULL}};

static const struct cli_option plain[] = {{0, "json", NULL, "errors as JSON", set_json},
                                          {0, NULL, NULL, NULL, NULL}};

/* --- what is shown ------------------------------------------------------------------------------
 */

static void show_saved(const cJSON *e)
{
    const cJSON *file, *files = cJSON_GetObjectItemCaseSensitive(e, "files");
    const char *between = "";
    cJSON_ArrayForEach(file, files)
    {
        printf("%s%s", between, cJSON_IsString(file) ? file->valuestring : "");
        between = ", ";
    }
    puts(cJSON_GetArraySize(files) > 0 ? " saved" : "changed");
}

static void show_watching(const cJSON *e)
{
    const cJSON *w = cJSON_GetObjectItemCaseSensitive(e, "watch");
    int n = (int)sandboxes_number(w, "directories");
    printf("watching %s for module %s (%d director%s); Ctrl-C ends it\n", sandboxes_text(w, "path"),
           sandboxes_text(e, "module"), n, n == 1 ? "y" : "ies");
}

static void show_live(const cJSON *e)
{
    const cJSON *build = cJSON_GetObjectItemCaseSensitive(e, "build_us");
    printf("version %.0f live in %.0f ms (compiled in %.0f), pause %.2f ms\n",
           sandboxes_number(e, "version"), sandboxes_number(e, "ms"),
           sandboxes_number(build, "compile") / 1000, sandboxes_number(e, "pause_us") / 1000);
}

/* A message says who serves, the compiler does not. */
static void show_failed(const cJSON *e)
{
    const char *text = sandboxes_text(e, "text");
    double active = sandboxes_number(e, "active");
    if (text[0] == '\0') {
        puts(sandboxes_text(e, "message"));
        return;
    }
    printf("not compiled:\n%s%s         nothing has changed", text,
           text[strlen(text) - 1] == '\n' ? "" : "\n");
    if (active > 0)
        printf("; version %.0f serves", active);
    puts("");
}

static void show_rolled_back(const cJSON *e)
{
    printf("version %.0f taken back after %.0f ms: %s\n", sandboxes_number(e, "version"),
           sandboxes_number(e, "ms"), sandboxes_text(e, "message"));
}

static void show_confirmed(const cJSON *e)
{
    printf("version %.0f confirmed\n", sandboxes_number(e, "version"));
}

static void show_unchanged(const cJSON *e)
{
    printf("unchanged: version %.0f\n", sandboxes_number(e, "version"));
}

static void show_gone(const cJSON *e)
{
    printf("%s is gone; waiting for it\n", sandboxes_text(e, "path"));
}

static void show_error(const cJSON *e)
{
    printf("%s\n", sandboxes_text(e, "message"));
}

static const struct {
    const char *event;
    void (*show)(const cJSON *e);
} shown[] = {{"watching", show_watching},
             {"changed", show_saved},
             {"live", show_live},
             {"failed", show_failed},
             {"rolled_back", show_rolled_back},
             {"confirmed", show_confirmed},
             {"unchanged", show_unchanged},
             {"gone", show_gone},
             {"error", show_error}};

static void show(const char *text)
{
    cJSON *e = cJSON_Parse(text);
    const char *event = sandboxes_text(e, "event");
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        if (strcmp(shown[i].event, event) != 0)
            continue;
        char clock[16] = "";
        time_t t = (time_t)(sandboxes_number(e, "time_ms") / 1000);
        struct tm tm;
        strftime(clock, sizeof clock, "%T", localtime_r(&t, &tm));
        printf("%s ", clock);
        shown[i].show(e);
        break;
    }
    cJSON_Delete(e);
}

/* --- the command --------------------------------------------------------------------------------
 */

static int listen_to(int socket, const char *id, bool json, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    int rc;
    while ((rc = client_next(socket, id, f, err)) > 0) {
        const char *text = frame_get(f, "json");
        frame_close_fds(f);
        if (text == NULL)
            continue;
        if (json)
            puts(text);
        else
            show(text);
        fflush(stdout);
    }
    frame_close_fds(f);
    return rc;
}

static int watch(const struct watch_options *o, const struct strings *words, struct error *err)
{
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    const char *id = words->items[0];
    fields_add(&fields, "module", words->items[1]);
    fields_add_int(&fields, "follow", !o->detach);
    if (o->debounce_ms > 0)
        fields_add_int(&fields, "debounce_ms", (int64_t)o->debounce_ms);
    for (size_t i = 0; i < o->include.count; i++)
        fields_add(&fields, "include", o->include.items[i]);
    for (size_t i = 0; i < o->exclude.count; i++)
        fields_add(&fields, "exclude", o->exclude.items[i]);
    if (words->count == 3) {
        _cleanup_free_ char *path = realpath(words->items[2], NULL);
        if (path == NULL) {
            error_set(err, "watch.unreadable", errno, "cannot watch \"%s\"", words->items[2]);
            return error_path(err, words->items[2]);
        }
        fields_add(&fields, "path", path);
    }
    if (o->detach) {
        _cleanup_free_ char *text = client_json(id, "watch", &fields, err);
        if (text == NULL)
            return -1;
        cJSON *e = cJSON_Parse(text);
        if (o->json)
            puts(text);
        else
            puts(sandboxes_text(e, "path"));
        cJSON_Delete(e);
        return 0;
    }
    _cleanup_close_ int fd = client_connect(id, err);
    if (fd < 0 || client_send(fd, "watch", &fields, NULL, 0, err) < 0)
        return -1;
    return listen_to(fd, id, o->json, err);
}

int cli_watch(int argc, char **argv)
{
    if (cli_wants_help("watch", options, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    struct watch_options o = {.arena = a};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    if (cli_parse_all(options, &o, argc, argv, a, &words, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (words.count < 2 || words.count > 3) {
        error_set(&err, "usage.operand", 0, "watch takes ID MODULE [DIR]");
        error_hint(&err, "cloche watch ID MODULE [DIR]");
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    return watch(&o, &words, &err) < 0 ? cli_fail(&err, o.json, sandboxes_status(&err)) : 0;
}

int cli_unwatch(int argc, char **argv)
{
    if (cli_wants_help("unwatch", plain, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    struct watch_options o = {.arena = a};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    if (cli_parse_all(plain, &o, argc, argv, a, &words, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (words.count != 2) {
        error_set(&err, "usage.operand", 0, "unwatch takes ID MODULE");
        error_hint(&err, "cloche unwatch ID MODULE");
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    fields_add(&fields, "module", words.items[1]);
    if (client_call(words.items[0], "unwatch", &fields, f, &err) < 0)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    return 0;
}
