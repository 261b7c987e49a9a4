/* cloche reload, rollback, confirm: what serves is changed; the steps are shown while they pass. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct reload_options {
    bool json, wait, supersede, force_drain, cascade;
    const char *state;
};

#define SWITCH(name)                                                                               \
    static int set_##name(void *context, const char *text, struct error *err)                      \
    {                                                                                              \
        (void)text;                                                                                \
        (void)err;                                                                                 \
        ((struct reload_options *)context)->name = true;                                           \
        return 0;                                                                                  \
    }
SWITCH(json)
SWITCH(wait)
SWITCH(supersede)
SWITCH(force_drain)
SWITCH(cascade)

static int set_state(void *context, const char *text, struct error *err)
{
    (void)err;
    ((struct reload_options *)context)->state = text;
    return 0;
}

static const struct cli_option reload_options[] = {
    {0, "state", "WORD", "migrate (default) or empty", set_state},
    {0, "wait", NULL,
     "until the new version is confirmed or taken back, or its probation is over without a "
     "request; also for a busy module",
     set_wait},
    {0, "supersede", NULL, "a reload that is under way gives way", set_supersede},
    {0, "force-drain", NULL, "a request that takes too long goes to the new version",
     set_force_drain},
    {0, "cascade", NULL, "modules that depend on it are started anew, too", set_cascade},
    {0, "json", NULL, "result and errors as JSON", set_json},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option rollback_options[] = {
    {0, "state", "WORD", "migrate (default), snapshot or empty", set_state},
    {0, "wait", NULL,
     "until it is confirmed or taken back, or its probation is over without a request; also for "
     "a busy module",
     set_wait},
    {0, "supersede", NULL, "a reload that is under way gives way", set_supersede},
    {0, "json", NULL, "result and errors as JSON", set_json},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option confirm_options[] = {
    {0, "json", NULL, "errors as JSON", set_json},
    {0, NULL, NULL, NULL, NULL},
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void show_one(const cJSON *r, const struct reload_options *o, double began)
{
    const char *state = sandboxes_text(r, "state"), *module = sandboxes_text(r, "module");
    double version = sandboxes_number(r, "version"), active = sandboxes_number(r, "active");
    if (strcmp(state, "UNCHANGED") == 0)
        printf("%s: unchanged, version %.0f serves\n", module, active);
    else
        printf("%s: version %.0f serves%s, pause %.3f ms, %.1f ms in all\n", module, version,
               strcmp(state, "ACTIVATED") != 0 ? ""
               : o->wait                       ? " (on probation until a request has come)"
                                               : " (on probation)",
               sandboxes_number(r, "pause_us") / 1000, (now_s() - began) * 1000);
}

/** What serves now, and what it took. */
static void show(const char *json, const struct reload_options *o, double began)
{
    if (o->json) {
        puts(json);
        return;
    }
    cJSON *all = cJSON_Parse(json);
    if (cJSON_IsArray(all)) {
        const cJSON *one;
        cJSON_ArrayForEach(one, all)
        {
            show_one(one, o, began);
        }
    } else {
        show_one(all, o, began);
    }
    cJSON_Delete(all);
}

static int converse(const char *id, const char *operation, const struct fields *f, int artifact,
                    const struct reload_options *o, struct error *err)
{
    _cleanup_free_ struct frame *frame = client_frame_new();
    bool progress = isatty(2) != 0 && !o->json;
    double began = now_s();
    _cleanup_close_ int fd = client_connect(id, err);
    if (fd < 0 ||
        client_send(fd, operation, f, artifact >= 0 ? &artifact : NULL, artifact >= 0, err) < 0)
        return -1;
    for (;;) {
        int rc = client_next(fd, id, frame, err);
        frame_close_fds(frame);
        if (rc > 0 && progress)
            fprintf(stderr, "\r\033[K%7.1f ms  step %s %s", (now_s() - began) * 1000,
                    frame_get(frame, "step") != NULL ? frame_get(frame, "step") : "",
                    frame_get(frame, "text") != NULL ? frame_get(frame, "text") : "");
        if (rc > 0)
            continue;
        if (progress)
            fputs("\r\033[K", stderr);
        const char *json = rc == 0 ? frame_get(frame, "json") : NULL;
        if (json != NULL)
            show(json, o, began);
        return rc;
    }
}

/** A busy module is tried again until it is not. */
static int converse_patiently(const char *id, const char *operation, const struct fields *f,
                              int artifact, const struct reload_options *o, struct error *err)
{
    for (;;) {
        struct error failed = ERROR_INIT;
        int rc = converse(id, operation, f, artifact, o, &failed);
        if (rc == 0)
            return 0;
        if (!o->wait || failed.code == NULL || strcmp(failed.code, "reload.busy") != 0) {
            *err = failed;
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static bool is_elf(int fd)
{
    char magic[4];
    return pread(fd, magic, sizeof magic, 0) == sizeof magic && memcmp(magic, "\177ELF", 4) == 0;
}

/** What is to become of one module; "" is its own source. An artifact goes by its file when it is
 * the only one. */
static int add_module(struct fields *f, const char *module, const char *source, int *artifact,
                      struct error *err)
{
    char path[PATH_MAX];
    fields_add(f, "module", module);
    if (source == NULL) {
        fields_add(f, "source", "");
        return 0;
    }
    if (realpath(source, path) == NULL)
        return error_set(err, "usage.source", errno, "cannot find \"%s\"", source);
    if (artifact != NULL) {
        int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file >= 0 && is_elf(file)) {
            *artifact = file;
            fields_add(f, "source", "");
            fields_add(f, "artifact", path);
            return 0;
        }
        cleanup_close(&file);
    }
    fields_add(f, "source", path);
    return 0;
}

static void add_options(struct fields *f, const struct reload_options *o)
{
    if (o->state != NULL)
        fields_add(f, "state", o->state);
    fields_add_int(f, "wait", o->wait);
    fields_add_int(f, "progress", isatty(2) != 0 && !o->json);
    fields_add_int(f, "supersede", o->supersede);
    fields_add_int(f, "force_drain", o->force_drain);
    fields_add_int(f, "cascade", o->cascade);
}

static int usage(const char *hint, bool json)
{
    struct error err = ERROR_INIT;
    error_set(&err, "usage.operands", 0, "a sandbox and a module have to be named");
    error_hint(&err, "%s", hint);
    return cli_fail(&err, json, EXIT_USAGE);
}

static int finish(int rc, const struct error *err, const struct reload_options *o)
{
    if (rc == 0)
        return 0;
    return cli_fail(err, o->json,
                    strncmp(err->code, "usage.", 6) == 0 ? EXIT_USAGE : sandboxes_status(err));
}

int cli_reload(int argc, char **argv)
{
    if (cli_wants_help("reload", reload_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct reload_options o = {0};
    struct strings operands = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(reload_options, &o, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    const char *hint = "cloche reload ID MODULE [SOURCE|ARTIFACT], or ID MODULE[=SOURCE]...";
    if (operands.count < 2)
        return usage(hint, o.json);
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_close_ int artifact = -1;
    bool pair = operands.count == 3 && strchr(operands.items[1], '=') == NULL &&
                strchr(operands.items[2], '=') == NULL;
    int rc = 0;
    if (pair) {
        rc = add_module(&f, operands.items[1], operands.items[2], &artifact, &err);
    } else {
        for (size_t i = 1; i < operands.count && rc == 0; i++) {
            char *equals = strchr(operands.items[i], '=');
            if (equals != NULL)
                *equals = '\0';
            rc = add_module(&f, operands.items[i], equals != NULL ? equals + 1 : NULL,
                            operands.count == 2 ? &artifact : NULL, &err);
        }
    }
    add_options(&f, &o);
    if (rc == 0)
        rc = converse_patiently(operands.items[0], "reload", &f, artifact, &o, &err);
    return finish(rc, &err, &o);
}

int cli_rollback(int argc, char **argv)
{
    if (cli_wants_help("rollback", rollback_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct reload_options o = {0};
    struct strings operands = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (cli_parse_all(rollback_options, &o, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (operands.count < 2 || operands.count > 3)
        return usage("cloche rollback ID MODULE [N]", o.json);
    fields_add(&f, "module", operands.items[1]);
    if (operands.count == 3) {
        char *end;
        unsigned long n = strtoul(operands.items[2], &end, 10);
        if (*end != '\0' || n == 0 || n > UINT_MAX) {
            error_set(&err, "usage.version", 0, "\"%s\" is not the number of a version",
                      operands.items[2]);
            error_hint(&err, "cloche versions %s %s", operands.items[0], operands.items[1]);
            return cli_fail(&err, o.json, EXIT_USAGE);
        }
        fields_add(&f, "number", operands.items[2]);
    }
    add_options(&f, &o);
    return finish(converse_patiently(operands.items[0], "rollback", &f, -1, &o, &err), &err, &o);
}

int cli_confirm(int argc, char **argv)
{
    if (cli_wants_help("confirm", confirm_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct reload_options o = {0};
    struct strings operands = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (cli_parse_all(confirm_options, &o, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (operands.count != 2)
        return usage("cloche confirm ID MODULE", o.json);
    fields_add(&f, "module", operands.items[1]);
    return finish(converse(operands.items[0], "confirm", &f, -1, &o, &err), &err, &o);
}
