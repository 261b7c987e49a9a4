/* Batches: the calls of library_sandbox.c, several at a time. */
#include "runtime/audit.h"
#include "runtime/library.h"
#include "runtime/parallel.h"

#include <stdatomic.h>

struct batch {
    struct cloche *handle;
    const char *const *ids;
    struct cloche_error *errors;
    atomic_int failed;
    const char *name; /* of the operation */
    int (*one)(const struct batch *b, size_t i, struct cloche_error *err);
    const struct cloche_sandbox *sandbox;
    const struct cloche_command *command;
    struct cloche_result *results;
    int force;
};

static void do_one(void *context, size_t i)
{
    struct batch *b = context;
    if (b->one(b, i, b->errors != NULL ? &b->errors[i] : NULL) < 0)
        atomic_fetch_add(&b->failed, 1);
}

static int run(struct batch *b, int count)
{
    if (count <= 0)
        return 0;
    uint64_t span = count > 1 ? audit_batch_start(b->name, count) : 0;
    parallel_run((size_t)count, b->handle != NULL ? b->handle->parallel : 0, do_one, NULL, b);
    int failed = atomic_load(&b->failed);
    if (count > 1)
        audit_batch_stop(span, b->name, count, failed);
    return failed;
}

static int create_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_create(b->handle, b->ids[i], b->sandbox, err);
}

int cloche_batch_create(struct cloche *c, const char *const *ids, int count,
                        const struct cloche_sandbox *what, struct cloche_error *errors)
{
    struct batch b = {.handle = c,
                      .ids = ids,
                      .errors = errors,
                      .name = "create",
                      .one = create_one,
                      .sandbox = what};
    return run(&b, count);
}

static int exec_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_exec(b->handle, b->ids[i], b->command, b->results != NULL ? &b->results[i] : NULL,
                       err);
}

int cloche_batch_exec(struct cloche *c, const char *const *ids, int count,
                      const struct cloche_command *command, struct cloche_result *results,
                      struct cloche_error *errors)
{
    struct batch b = {.handle = c,
                      .ids = ids,
                      .errors = errors,
                      .name = "exec",
                      .one = exec_one,
                      .command = command,
                      .results = results};
    return run(&b, count);
}

static int restart_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_restart(b->handle, b->ids[i], b->force, err);
}

int cloche_batch_restart(struct cloche *c, const char *const *ids, int count, int force,
                         struct cloche_error *errors)
{
    struct batch b = {.handle = c,
                      .ids = ids,
                      .errors = errors,
                      .name = "restart",
                      .one = restart_one,
                      .force = force};
    return run(&b, count);
}

static int stop_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_stop(b->handle, b->ids[i], b->force, err);
}

int cloche_batch_stop(struct cloche *c, const char *const *ids, int count, int force,
                      struct cloche_error *errors)
{
    struct batch b = {
        .handle = c, .ids = ids, .errors = errors, .name = "stop", .one = stop_one, .force = force};
    return run(&b, count);
}

static int pause_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_pause(b->handle, b->ids[i], err);
}

int cloche_batch_pause(struct cloche *c, const char *const *ids, int count,
                       struct cloche_error *errors)
{
    struct batch b = {.handle = c, .ids = ids, .errors = errors, .name = "pause", .one = pause_one};
    return run(&b, count);
}

static int resume_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_resume(b->handle, b->ids[i], err);
}

int cloche_batch_resume(struct cloche *c, const char *const *ids, int count,
                        struct cloche_error *errors)
{
    struct batch b = {
        .handle = c, .ids = ids, .errors = errors, .name = "resume", .one = resume_one};
    return run(&b, count);
}

static int destroy_one(const struct batch *b, size_t i, struct cloche_error *err)
{
    return cloche_destroy(b->handle, b->ids[i], b->force, err);
}

int cloche_batch_destroy(struct cloche *c, const char *const *ids, int count, int force,
                         struct cloche_error *errors)
{
    struct batch b = {.handle = c,
                      .ids = ids,
                      .errors = errors,
                      .name = "destroy",
                      .one = destroy_one,
                      .force = force};
    return run(&b, count);
}
