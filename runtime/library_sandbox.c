/* Long-lived sandboxes of runtime/cloche.h: client.c in public words. */
#include "runtime/cloche.h"

#include "base/cleanup.h"
#include "runtime/client.h"
#include "runtime/spec_children.h"

#include <string.h>

static int give(int rc, const struct error *from, struct cloche_error *to)
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

/* Options of an older caller end early, those of a newer one are cut. */
#define TAKE_OPTIONS(to, from)                                                                     \
    do {                                                                                           \
        size_t size_ = (from)->size < sizeof(to) ? (from)->size : sizeof(to);                      \
        memset(&(to), 0, sizeof(to));                                                              \
        memcpy(&(to), (from), size_);                                                              \
    } while (0)

static int make_spec(struct spec *s, const struct cloche_sandbox *what, struct error *err)
{
    if (what->profile != NULL && spec_apply_profile(s, what->profile, err) < 0)
        return -1;
    if (what->config_json != NULL &&
        spec_apply_json(s, what->config_json, strlen(what->config_json), "/", err) < 0)
        return -1;
    if (what->args != NULL) {
        s->args = (struct strings){0};
        for (const char *const *p = what->args; *p != NULL; p++)
            strings_add(s->arena, &s->args, *p);
    }
    spec_add_main_child(s);
    return spec_validate(s, err);
}

int cloche_create(const char *id, const struct cloche_sandbox *what, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    struct cloche_sandbox w = {0};
    if (what != NULL)
        TAKE_OPTIONS(w, what);
    _cleanup_spec_ struct spec *s = spec_new();
    int rc = make_spec(s, &w, &e);
    _cleanup_free_ char *text = rc == 0 ? spec_to_json(s) : NULL;
    if (rc == 0)
        rc = client_create(id, text, &e);
    return give(rc, &e, err);
}

static int run(const char *id, const struct cloche_command *c, struct frame *f, struct error *err)
{
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    _cleanup_close_ int fd = client_connect(id, err);
    if (fd < 0)
        return -1;
    for (const char *const *p = c->args; p != NULL && *p != NULL; p++)
        fields_add(&fields, "arg", *p);
    for (const char *const *p = c->env; p != NULL && *p != NULL; p++)
        fields_add(&fields, "env", *p);
    if (c->cwd != NULL)
        fields_add(&fields, "cwd", c->cwd);
    if (c->user != NULL)
        fields_add(&fields, "user", c->user);
    if (c->timeout_ms > 0 && c->timeout_ms <= INT64_MAX)
        fields_add_int(&fields, "timeout_ms", (int64_t)c->timeout_ms);
    if (client_send(fd, "exec", &fields, c->streams, 3, err) < 0)
        return -1;
    int rc;
    do {
        rc = client_next(fd, id, f, err);
        frame_close_fds(f);
    } while (rc > 0);
    return rc;
}

int cloche_exec(const char *id, const struct cloche_command *command, struct cloche_result *ret,
                struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    struct cloche_command c;
    TAKE_OPTIONS(c, command);
    int rc = run(id, &c, f, &e);
    if (rc == 0 && ret != NULL) {
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
    return give(rc, &e, err);
}

static int call(const char *id, const char *operation, char **ret_json, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    int rc = client_call(id, operation, NULL, f, &e);
    if (rc == 0 && ret_json != NULL) {
        const char *text = frame_get(f, "json");
        *ret_json = text != NULL ? strdup(text) : NULL;
        if (*ret_json == NULL)
            rc = error_set(&e, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    }
    return give(rc, &e, err);
}

int cloche_info(const char *id, char **ret_json, struct cloche_error *err)
{
    return call(id, "info", ret_json, err);
}

int cloche_pause(const char *id, struct cloche_error *err)
{
    return call(id, "pause", NULL, err);
}

int cloche_resume(const char *id, struct cloche_error *err)
{
    return call(id, "resume", NULL, err);
}

int cloche_restart(const char *id, int force, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    return give(client_restart(id, force != 0, &e), &e, err);
}

int cloche_destroy(const char *id, int force, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    return give(client_destroy(id, force != 0, &e), &e, err);
}

int cloche_batch_destroy(const char *const *ids, int count, int force, struct cloche_error *errs)
{
    int failed = 0;
    for (int i = 0; i < count; i++)
        failed += cloche_destroy(ids[i], force, errs != NULL ? &errs[i] : NULL) < 0;
    return failed;
}
