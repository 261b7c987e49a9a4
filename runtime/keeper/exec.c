/* exec: a command of a client in the running sandbox. The program gets the client's own streams,
 * or a terminal whose outer end goes to the client; the keeper sees no byte of either. */
#include "runtime/keeper/keeper.h"

#include "base/cleanup.h"
#include "runtime/keeper/tree.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct job {
    struct task task; /* first: a task is cast to its job */
    struct keeper *keeper;
    struct connection *client; /* NULL: gone */
    uint32_t serial;
    int pidfd;
    uint64_t started_ns, span;
    bool timed_out;
    struct loop_timer *timer;
    char name[64];
};

static void job_free(struct job *j)
{
    struct keeper *k = j->keeper;
    if (j->timer != NULL)
        loop_cancel(k->loop, j->timer);
    if (j->client != NULL)
        j->client->job = NULL;
    cleanup_close(&j->pidfd);
    task_remove(k, &j->task);
    free(j);
    collect_used(k);
    keeper_check_stopped(k);
}

void exec_signal(struct job *j, int sig)
{
    sandbox_child_signal(j->keeper->sandbox, j->task.child, sig);
}

void exec_abandon(struct job *j)
{
    j->client->job = NULL;
    j->client = NULL;
    if (j->keeper->sandbox != NULL)
        exec_signal(j, SIGKILL);
}

static const char *verdict_of(struct job *j, const struct sandbox_child_event *e)
{
    struct keeper *k = j->keeper;
    struct sandbox_usage u;
    if (j->timed_out)
        return "time_limit";
    if (e->blocked_syscall != NULL)
        return "blocked_syscall";
    if (e->process_limit)
        return "process_limit";
    if (WIFSIGNALED(e->status) && WTERMSIG(e->status) == SIGKILL &&
        sandbox_usage(k->sandbox, &u) == 0 && u.oom_kills > k->oom_kills) {
        k->oom_kills = u.oom_kills;
        return "memory_limit";
    }
    return e->status == 0 ? "ok" : "runtime_error";
}

static void tell_end(struct job *j, const struct sandbox_child_event *e)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "verdict", verdict_of(j, e));
    fields_add_int(&f, "exit_code", WIFEXITED(e->status) ? WEXITSTATUS(e->status) : -1);
    fields_add_int(&f, "signal", WIFSIGNALED(e->status) ? WTERMSIG(e->status) : 0);
    /* killed before it began, perhaps */
    uint64_t began_ns = j->started_ns != 0 ? j->started_ns : e->time_ns;
    fields_add_int(&f, "wall_us", (int64_t)((e->time_ns - began_ns) / 1000));
    fields_add_int(&f, "user_us", (int64_t)e->user_us);
    fields_add_int(&f, "system_us", (int64_t)e->system_us);
    fields_add_int(&f, "max_rss_bytes", (int64_t)e->max_rss_bytes);
    fields_add(&f, "blocked_syscall", e->blocked_syscall != NULL ? e->blocked_syscall : "");
    if (j->client != NULL)
        connection_reply(j->client, j->serial, &f);
}

static void on_exit_of(struct job *j, const struct sandbox_child_event *e)
{
    journal_violation(j->keeper, e, j->name);
    journal_stop(j->keeper, j->span, "exec", j->client, NULL);
    tell_end(j, e);
    job_free(j);
}

static void on_timeout(void *context)
{
    struct job *j = context;
    const struct keeper *k = j->keeper;
    j->timer = NULL;
    j->timed_out = true;
    journal_event(j->keeper, "killed.timeout", j->name);
    exec_signal(j, SIGKILL);
    if ((j->started_ns != 0 && k->status != STATUS_PAUSED) || j->client == NULL)
        return;
    /* init still builds, or nothing inside moves, who knows for how long: the client need not wait
     * for that */
    const struct sandbox_child_event killed = {
        .type = CHILD_EXITED, .status = SIGKILL, .time_ns = loop_now_ms() * 1000000, .fd = -1};
    tell_end(j, &killed);
    j->client->job = NULL;
    j->client = NULL;
}

/** The sandbox ended first. */
static void never_ran(struct job *j)
{
    const struct keeper *k = j->keeper;
    struct error err = ERROR_INIT;
    error_set(&err, "sandbox.not_running", 0, "the command did not start: sandbox \"%s\" is %s%s%s",
              k->id, status_name(k->status), k->reason[0] != '\0' ? ": " : "", k->reason);
    error_hint(&err, "cloche restart %s", k->id);
    journal_stop(j->keeper, j->span, "exec", j->client, &err);
    if (j->client != NULL)
        connection_error(j->client, j->serial, &err);
    job_free(j);
}

static void on_event(struct task *t, const struct sandbox_child_event *e)
{
    struct job *j = (struct job *)t;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (e->type == CHILD_TERMINAL) {
        fields_add(&f, "event", "terminal");
        if (j->client != NULL)
            connection_data(j->client, j->serial, &f, e->fd);
        close(e->fd);
    } else if (e->type == CHILD_STARTED) {
        j->pidfd = e->fd;
        j->started_ns = e->time_ns;
        if (j->client == NULL) /* it went while this was on its way */
            exec_signal(j, SIGKILL);
    } else if (e->type == CHILD_FAILED) {
        journal_stop(j->keeper, j->span, "exec", j->client, e->error);
        if (j->client != NULL)
            connection_error(j->client, j->serial, e->error);
        job_free(j);
    } else if (e->type == CHILD_EXITED && j->started_ns == 0 && j->keeper->tree->abandoned) {
        never_ran(j);
    } else if (e->type == CHILD_EXITED) {
        on_exit_of(j, e);
    }
}

static int check(const struct connection *c, const struct frame *f, bool terminal,
                 struct error *err)
{
    const struct keeper *k = c->keeper;
    if (c->job != NULL)
        return error_set(err, "protocol.busy", 0, "this connection runs a command already");
    if (k->status == STATUS_PAUSED)
        return keeper_is_paused(k, err);
    if (keeper_is_running(k, err) < 0)
        return -1;
    if (f->fd_count != (terminal ? 0 : 3))
        return error_set(err, "protocol.fds", 0, "exec needs three streams, or a terminal");
    return 0;
}

int exec_operation(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    bool terminal = frame_get_int(f, "terminal", 0, 1, 0) == 1;
    if (check(c, f, terminal, err) < 0)
        return -1;
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings args = {0}, env = {0};
    for (const char *v = NULL; (v = frame_next(f, "arg", v)) != NULL;)
        strings_add(a, &args, v);
    for (size_t i = 0; i < k->spec->env.count; i++)
        strings_add(a, &env, k->spec->env.items[i]);
    for (const char *v = NULL; (v = frame_next(f, "env", v)) != NULL;) {
        if (v[0] == '=' || strchr(v, '=') == NULL)
            return error_set(err, "usage.env", 0, "\"%s\" is not KEY=VALUE", v);
        strings_set_env(a, &env, v);
    }
    if (args.count == 0)
        return error_set(err, "usage.no_command", 0, "no command given");
    struct sandbox_command command = {.args = args.items,
                                      .env = env.items,
                                      .cwd = frame_get(f, "cwd"),
                                      .terminal = terminal,
                                      .rows = (uint16_t)frame_get_int(f, "rows", 0, 65535, 0),
                                      .columns = (uint16_t)frame_get_int(f, "columns", 0, 65535, 0),
                                      .ready_fd = -1};
    if (!terminal)
        memcpy(command.streams, f->fds, sizeof command.streams);
    const char *user = frame_get(f, "user");
    bool gid_given;
    if (user != NULL) {
        if (spec_parse_user(user, &command.uid, &command.gid, &gid_given, err) < 0)
            return -1;
        command.user_given = true;
        command.gid = gid_given ? command.gid : command.uid;
    }
    if (command.cwd != NULL && command.cwd[0] != '/')
        return error_set(err, "usage.cwd", 0, "working directory \"%s\" is not absolute",
                         command.cwd);

    struct job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot start a command");
    int child = sandbox_spawn(k->sandbox, &command, err);
    if (child < 0) {
        free(j);
        return -1;
    }
    *j = (struct job){.task = {.child = child, .call = on_event},
                      .keeper = k,
                      .client = c,
                      .serial = f->head.serial,
                      .pidfd = -1};
    snprintf(j->name, sizeof j->name, "%s", args.items[0]);
    c->job = j;
    task_add(k, &j->task);
    j->span = journal_start(k, "exec", c, j->name);
    int64_t timeout = frame_get_int(f, "timeout_ms", 0, INT64_MAX, 0);
    if (timeout > 0)
        j->timer = loop_after(k->loop, (uint64_t)timeout, on_timeout, j);
    return 0;
}

unsigned exec_count(const struct keeper *k)
{
    unsigned n = 0;
    for (const struct task *t = k->tasks; t != NULL; t = t->next)
        n += t->call == on_event;
    return n;
}

void exec_stop_all(struct keeper *k)
{
    for (struct task *t = k->tasks; t != NULL; t = t->next) {
        if (t->call == on_event)
            exec_signal((struct job *)t, SIGTERM);
    }
}
