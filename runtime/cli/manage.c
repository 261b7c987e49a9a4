/* Commands on one or several sandboxes: several at a time, a line each in the order of the ids, one
 * failure never stops the rest. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/audit.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"
#include "runtime/parallel.h"

#include <string.h>

struct manage {
    bool json, force;
};

#define JSON_OPTION CLI_SWITCH(0, "json", "results and errors as JSON, a line each", manage, json)
#define END_OPTION                                                                                 \
    {                                                                                              \
        0, NULL, NULL, NULL, NULL                                                                  \
    }

static const struct cli_option forced[] = {
    CLI_SWITCH('f', "force", "even while commands of clients run", manage, force), JSON_OPTION,
    END_OPTION};
static const struct cli_option plain[] = {JSON_OPTION, END_OPTION};

struct outcome {
    struct error err;
    int rc;
};

struct batch {
    const char *name;
    const struct manage *options;
    char *const *ids;
    int (*one)(const char *id, const struct manage *m, struct error *err);
    struct outcome *outcomes;
    size_t failed, bad_ids;
};

static void do_one(void *context, size_t i)
{
    const struct batch *b = context;
    struct outcome *o = &b->outcomes[i];
    o->rc = b->one(b->ids[i], b->options, &o->err);
}

static void show_one(void *context, size_t i)
{
    struct batch *b = context;
    const struct outcome *o = &b->outcomes[i];
    if (o->rc < 0) {
        b->failed++;
        b->bad_ids += sandboxes_status(&o->err) == EXIT_USAGE;
        cli_fail(&o->err, b->options->json, 1);
    } else if (b->options->json) {
        printf("{\"id\":\"%s\",\"done\":\"%s\"}\n", b->ids[i], b->name);
    } else {
        puts(b->ids[i]);
    }
    fflush(stdout);
}

static int batch(const char *name, const struct cli_option *options, int argc, char **argv,
                 int (*one)(const char *id, const struct manage *m, struct error *err))
{
    if (cli_wants_help(name, options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct manage m = {0};
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(options, &m, argc, argv, a, &ids, &err) < 0)
        return cli_fail(&err, m.json, EXIT_USAGE);
    if (ids.count == 0) {
        error_set(&err, "usage.no_id", 0, "no id given");
        error_hint(&err, "cloche %s ID...", name);
        return cli_fail(&err, m.json, EXIT_USAGE);
    }
    struct batch b = {.name = name, .options = &m, .ids = ids.items, .one = one};
    b.outcomes = arena_alloc(a, ids.count * sizeof *b.outcomes);
    uint64_t span = ids.count > 1 ? audit_batch_start(name, (int)ids.count) : 0;
    parallel_run(ids.count, PARALLEL_DEFAULT, do_one, show_one, &b);
    if (ids.count > 1)
        audit_batch_stop(span, name, (int)ids.count, (int)b.failed);
    return b.failed == 0 ? 0 : b.failed == b.bad_ids ? EXIT_USAGE : 1;
}

static int destroy_one(const char *id, const struct manage *m, struct error *err)
{
    return client_destroy(id, m->force, err);
}

static int stop_one(const char *id, const struct manage *m, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    fields_add_int(&fields, "force", m->force);
    return client_call(id, "stop", &fields, f, err);
}

static int restart_one(const char *id, const struct manage *m, struct error *err)
{
    return client_restart(id, m->force, err);
}

static int call_one(const char *id, const char *operation, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    return client_call(id, operation, NULL, f, err);
}

static int pause_one(const char *id, const struct manage *m, struct error *err)
{
    (void)m;
    return call_one(id, "pause", err);
}

static int resume_one(const char *id, const struct manage *m, struct error *err)
{
    (void)m;
    return call_one(id, "resume", err);
}

int cli_destroy(int argc, char **argv)
{
    return batch("destroy", forced, argc, argv, destroy_one);
}

int cli_stop(int argc, char **argv)
{
    return batch("stop", forced, argc, argv, stop_one);
}

int cli_restart(int argc, char **argv)
{
    return batch("restart", forced, argc, argv, restart_one);
}

int cli_pause(int argc, char **argv)
{
    return batch("pause", plain, argc, argv, pause_one);
}

int cli_resume(int argc, char **argv)
{
    return batch("resume", plain, argc, argv, resume_one);
}
