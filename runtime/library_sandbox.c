/* Long-lived sandboxes of runtime/cloche.h, the calls that wait: client.c in public words. */
#include "runtime/library.h"

#include "base/cleanup.h"
#include "runtime/spec_children.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

int library_give(int rc, const struct error *from, struct cloche_error *to)
{
    if (to == NULL)
        return rc < 0 ? -1 : 0;
    *to = (struct cloche_error){0};
    if (rc >= 0)
        return 0;
    snprintf(to->code, sizeof to->code, "%s", from->code != NULL ? from->code : "cloche.failed");
    snprintf(to->message, sizeof to->message, "%s", from->message);
    snprintf(to->hint, sizeof to->hint, "%s", from->hint);
    snprintf(to->path, sizeof to->path, "%s", from->path);
    return -1;
}

void library_begin(const struct cloche *c)
{
    client_set_deadline(c != NULL && c->deadline_ms > 0 ? client_now_ms() + c->deadline_ms : 0);
}

/* --- create --------------------------------------------------------------------------------------
 */

static int add_module(struct spec *s, const struct cloche_module *from, struct error *err)
{
    struct cloche_module m;
    LIBRARY_OPTIONS(m, from);
    _cleanup_free_ char *here = getcwd(NULL, 0);
    if (m.name == NULL || m.source == NULL)
        return error_set(err, "usage.module", 0, "a module has a name and a source");
    const char *source = m.source[0] == '/'
                             ? m.source
                             : arena_printf(s->arena, "%s/%s", here != NULL ? here : "", m.source);
    const struct spec_module module = {.name = m.name,
                                       .source = source,
                                       .toolchain = m.toolchain,
                                       .watch = m.watch != 0,
                                       .probation_ms =
                                           m.probation_ms > 0 ? m.probation_ms : UINT64_MAX};
    return spec_add_module(s, &module, err);
}

static int make_spec(struct spec *s, const struct cloche_sandbox *what, struct error *err)
{
    if (what->profile != NULL && spec_apply_profile(s, what->profile, err) < 0)
        return -1;
    s->wall_ms = LIMIT_NONE; /* a profile's is that of a run */
    if (what->config_json != NULL &&
        spec_apply_json(s, what->config_json, strlen(what->config_json), "/", err) < 0)
        return -1;
    if (what->args != NULL) {
        if (spec_takes_command(s, err) < 0)
            return -1;
        s->args = (struct strings){0};
        for (const char *const *p = what->args; *p != NULL; p++)
            strings_add(s->arena, &s->args, *p);
    }
    spec_add_main_child(s);
    for (const struct cloche_module *const *p = what->modules; p != NULL && *p != NULL; p++) {
        if (add_module(s, *p, err) < 0)
            return -1;
    }
    return spec_validate(s, err);
}

char *library_spec(const struct cloche_sandbox *what, struct error *err)
{
    struct cloche_sandbox w = {0};
    if (what != NULL)
        LIBRARY_OPTIONS(w, what);
    _cleanup_spec_ struct spec *s = spec_new();
    return make_spec(s, &w, err) < 0 ? NULL : spec_to_json(s);
}

int cloche_create(struct cloche *c, const char *id, const struct cloche_sandbox *what,
                  struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    _cleanup_free_ char *text = library_spec(what, &e);
    return library_give(text == NULL ? -1 : client_create(id, text, NULL, &e), &e, err);
}

/* --- exec ----------------------------------------------------------------------------------------
 */

int library_send_exec(int socket, const struct cloche_command *command, struct error *err)
{
    struct cloche_command c;
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    LIBRARY_OPTIONS(c, command);
    for (const char *const *p = c.args; p != NULL && *p != NULL; p++)
        fields_add(&fields, "arg", *p);
    for (const char *const *p = c.env; p != NULL && *p != NULL; p++)
        fields_add(&fields, "env", *p);
    if (c.cwd != NULL)
        fields_add(&fields, "cwd", c.cwd);
    if (c.user != NULL)
        fields_add(&fields, "user", c.user);
    if (c.timeout_ms > 0 && c.timeout_ms <= INT64_MAX)
        fields_add_int(&fields, "timeout_ms", (int64_t)c.timeout_ms);
    return client_send(socket, "exec", &fields, c.streams, 3, err);
}

void library_read_result(const struct frame *f, struct cloche_result *ret)
{
    const char *verdict = frame_get(f, "verdict");
    *ret = (struct cloche_result){
        .exit_code = (int)frame_get_int(f, "exit_code", -1, 255, -1),
        .signal = (int)frame_get_int(f, "signal", 0, 64, 0),
        .wall_ms = (double)frame_get_int(f, "wall_us", 0, INT64_MAX, 0) / 1000.0,
        .user_ms = (double)frame_get_int(f, "user_us", 0, INT64_MAX, 0) / 1000.0,
        .system_ms = (double)frame_get_int(f, "system_us", 0, INT64_MAX, 0) / 1000.0,
        .max_rss_bytes = (uint64_t)frame_get_int(f, "max_rss_bytes", 0, INT64_MAX, 0)};
    snprintf(ret->verdict, sizeof ret->verdict, "%s", verdict != NULL ? verdict : "");
}

static int run(const char *id, const struct cloche_command *command, struct frame *f,
               struct error *err)
{
    _cleanup_close_ int fd = client_connect(id, err);
    if (fd < 0 || library_send_exec(fd, command, err) < 0)
        return -1;
    int rc;
    do {
        rc = client_next(fd, id, f, err);
        frame_close_fds(f);
    } while (rc > 0);
    return rc;
}

int cloche_exec(struct cloche *c, const char *id, const struct cloche_command *command,
                struct cloche_result *ret, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    LIBRARY_CALL(c);
    int rc = run(id, command, f, &e);
    if (rc == 0 && ret != NULL)
        library_read_result(f, ret);
    return library_give(rc, &e, err);
}

/* --- looking -------------------------------------------------------------------------------------
 */

static int ask(struct cloche *c, const char *id, const char *operation, char **ret_json,
               struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    char *text = client_json(id, operation, NULL, &e);
    if (text != NULL)
        *ret_json = text;
    return library_give(text != NULL ? 0 : -1, &e, err);
}

static int call(struct cloche *c, const char *id, const char *operation,
                const struct fields *fields, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    LIBRARY_CALL(c);
    return library_give(client_call(id, operation, fields, f, &e), &e, err);
}

int cloche_info(struct cloche *c, const char *id, char **ret_json, struct cloche_error *err)
{
    return ask(c, id, "info", ret_json, err);
}

int cloche_stats(struct cloche *c, const char *id, char **ret_json, struct cloche_error *err)
{
    return ask(c, id, "stats", ret_json, err);
}

int cloche_samples(struct cloche *c, const char *id, uint64_t since_ms, char **ret_json,
                   struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    fields_add_int(&fields, "since_ms", since_ms < INT64_MAX ? (int64_t)since_ms : INT64_MAX);
    char *text = client_json(id, "samples", &fields, &e);
    if (text != NULL)
        *ret_json = text;
    return library_give(text != NULL ? 0 : -1, &e, err);
}

int cloche_top(struct cloche *c, const char *id, char **ret_json, struct cloche_error *err)
{
    return ask(c, id, "top", ret_json, err);
}

int cloche_list(struct cloche *c, char **ret_json, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    (void)c;
    if (client_list(a, &ids, &e) < 0)
        return library_give(-1, &e, err);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return library_give(error_set(&e, "cloche.memory", errno, "cannot list"), &e, err);
    for (size_t i = 0; i < ids.count; i++) /* no id needs escaping */
        fprintf(out, "%s\"%s\"", i == 0 ? "[" : ",", ids.items[i]);
    fputs(ids.count == 0 ? "[]" : "]", out);
    if (fclose(out) != 0)
        return library_give(error_set(&e, "cloche.memory", errno, "cannot list"), &e, err);
    *ret_json = text;
    return library_give(0, &e, err);
}

int cloche_open_file(struct cloche *c, const char *id, const char *path, int write, int *ret_fd,
                     struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    int fd = client_open_file(id, path, write != 0 ? 0644 : -1, &e);
    if (fd >= 0)
        *ret_fd = fd;
    return library_give(fd, &e, err);
}

int cloche_open_log(struct cloche *c, const char *id, const char *child, int *ret_fd,
                    struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    char file[NAME_MAX];
    (void)c;
    _cleanup_close_ int dir = client_open_state(id, "log", &e);
    if (dir < 0)
        return library_give(-1, &e, err);
    int n = snprintf(file, sizeof file, "%s.log", child);
    for (char *p = file; *p != '\0'; p++)
        *p = *p == '/' ? ':' : *p;
    int fd = n < 0 || (size_t)n >= sizeof file || file[0] == '.'
                 ? -1
                 : openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return library_give(error_set(&e, "logs.child", 0,
                                      "sandbox \"%s\" has no log of a child \"%.80s\"", id, child),
                            &e, err);
    *ret_fd = fd;
    return library_give(0, &e, err);
}

/* --- changing ------------------------------------------------------------------------------------
 */

int cloche_pause(struct cloche *c, const char *id, struct cloche_error *err)
{
    return call(c, id, "pause", NULL, err);
}

int cloche_resume(struct cloche *c, const char *id, struct cloche_error *err)
{
    return call(c, id, "resume", NULL, err);
}

int cloche_update(struct cloche *c, const char *id, const struct cloche_limits *limits,
                  struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    struct cloche_limits l;
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    LIBRARY_OPTIONS(l, limits);
    if (l.memory_bytes > INT64_MAX || l.processes > 4194304 || !isfinite(l.cpus) || l.cpus < 0 ||
        l.cpus > 8192)
        return library_give(error_set(&e, "usage.number", 0, "a limit is out of its range"), &e,
                            err);
    if (l.memory_bytes > 0)
        fields_add_int(&fields, "memory_bytes", (int64_t)l.memory_bytes);
    if (l.processes > 0)
        fields_add_int(&fields, "processes", (int64_t)l.processes);
    if (l.cpus > 0)
        fields_add_int(&fields, "cpu_quota_us", (int64_t)spec_cpu_quota(l.cpus, 100000));
    return call(c, id, "update", &fields, err);
}

int cloche_restart(struct cloche *c, const char *id, int force, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    return library_give(client_restart(id, force != 0, &e), &e, err);
}

int cloche_stop(struct cloche *c, const char *id, int force, struct cloche_error *err)
{
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    fields_add_int(&fields, "force", force != 0);
    return call(c, id, "stop", &fields, err);
}

int cloche_destroy(struct cloche *c, const char *id, int force, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    LIBRARY_CALL(c);
    return library_give(client_destroy(id, force != 0, &e), &e, err);
}
