/* Theory of operation: tree.h. */
#include "runtime/keeper/tree.h"

#include "base/cleanup.h"
#include "base/syscalls.h"
#include "runtime/keeper/service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

static void step(struct node *s);
static void on_delay(void *context);

static void cancel_timer(struct node *n)
{
    if (n->timer != NULL)
        loop_cancel(n->keeper->loop, n->timer);
    n->timer = NULL;
}

static void close_ready(struct node *n)
{
    probe_stop(n);
    loop_unwatch(n->keeper->loop, n->ready_source);
    n->ready_source = NULL;
    cleanup_close(&n->ready_fd);
    n->ready_fd = -1;
}

/** Something about a child has changed for its supervisor. */
static void tell_parent(struct node *n)
{
    struct tree *t = n->keeper->tree;
    if (n->parent != NULL) {
        step(n->parent);
        return;
    }
    if (t->mended && n->state == NODE_RUNNING) {
        t->mended = false;
        keeper_set_alive(n->keeper, STATUS_RUNNING, NULL);
    }
    if (t->ready == NULL || (n->state != NODE_RUNNING && !n->gave_up))
        return;
    void (*ready)(struct keeper *, const struct error *) = t->ready;
    t->ready = NULL;
    ready(n->keeper, n->gave_up ? &t->failure : NULL);
}

/* --- ends ----------------------------------------------------------------------------------------
 */

/** Node @n is down, and nobody asked for it. */
static void ended(struct node *n, enum supervise_end how, uint64_t ran_ms)
{
    struct node *s = n->parent;
    struct tree *t = n->keeper->tree;
    n->wanted = false;
    if (t->abandoned || s->closing)
        return;
    struct supervise_decision d = supervise_ended(&s->logic, n->index, how, loop_now_ms(), ran_ms);
    if (d.action == SUPERVISE_NOTHING) {
        if (n->service != NULL)
            service_give_up(n->service, n->last);
        return;
    }
    if (d.action == SUPERVISE_GIVE_UP && n->service != NULL && service_fall_back(n->service)) {
        s->logic.restart_count = 0;
        n->state = NODE_STARTING;
        n->started_ms = loop_now_ms();
        n->restarts++;
        return;
    }
    if (d.action == SUPERVISE_GIVE_UP) {
        s->closing = s->gave_up = true;
        t->culprit = n;
        /* of a sandbox that does not come up at first nothing stays, its logs neither */
        bool first = n->keeper->restarts == 0 && t->ready != NULL;
        char said[160];
        bool spoke = first && log_last_line(n->keeper, n->path, said, sizeof said);
        error_set(&t->failure, "supervisor.gave_up", 0,
                  "child \"%s\" ended too often (%s), its supervisor gave up%s%s%s", n->path,
                  n->last, spoke ? "; its last words: \"" : "", spoke ? said : "",
                  spoke ? "\"" : "");
        if (!first)
            error_hint(&t->failure, "cloche logs %s %s", n->keeper->id, n->path);
        journal_event(n->keeper, "supervisor.gave_up", n->path);
    }
    for (size_t i = d.from; i < d.to; i++) {
        struct node *c = &s->children[i];
        c->stop = c->state != NODE_DOWN;
        if (c->service != NULL && d.action == SUPERVISE_GIVE_UP)
            service_give_up(c->service, t->failure.message);
        c->wanted = d.action == SUPERVISE_RESTART && !s->logic.children[i].forgotten;
        c->restarts += c->wanted;
    }
    if (d.delay_ms > 0 && d.action == SUPERVISE_RESTART) {
        /* of two restarts under way the later one counts; up to a quarter less, so that many
         * sandboxes that failed together do not come back together */
        uint64_t jitter = (uint64_t)random() % (d.delay_ms / 4 + 1);
        cancel_timer(s);
        s->timer = loop_after(s->keeper->loop, d.delay_ms - jitter, on_delay, s);
    }
}

static enum supervise_end classify(struct node *n, int status)
{
    if (n->state == NODE_STARTING && n->ready != READY_NONE)
        return END_START_FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 125)
        return END_REFUSED;
    return status == 0 ? END_NORMAL : END_ABNORMAL;
}

static void describe(struct node *n, const struct sandbox_child_event *e)
{
    struct sandbox_usage u;
    const struct keeper *k = n->keeper;
    const char *why = "";
    if (n->late) {
        snprintf(n->last, sizeof n->last, "not ready within %llu ms",
                 (unsigned long long)n->ready_ms);
        return;
    }
    if (e->blocked_syscall != NULL)
        why = e->blocked_syscall;
    else if (e->process_limit)
        why = "process limit";
    else if (WIFSIGNALED(e->status) && WTERMSIG(e->status) == SIGKILL && k->sandbox != NULL &&
             sandbox_usage(k->sandbox, &u) == 0 && u.oom_kills > k->oom_kills) {
        n->keeper->oom_kills = u.oom_kills;
        why = "memory limit";
    }
    snprintf(n->last, sizeof n->last, "%s %d%s%.40s%s",
             WIFSIGNALED(e->status) ? "signal" : "status",
             WIFSIGNALED(e->status) ? WTERMSIG(e->status) : WEXITSTATUS(e->status),
             why[0] != '\0' ? " (" : "", why, why[0] != '\0' ? ")" : "");
}

/** The node is down, wanted or not. */
static void is_down(struct node *n, enum supervise_end how)
{
    uint64_t ran = n->state == NODE_STARTING ? 0 : loop_now_ms() - n->started_ms;
    cancel_timer(n);
    n->state = NODE_DOWN;
    if (n->stop)
        n->stop = false;
    else
        ended(n, how, ran);
    step(n->parent);
    keeper_check_stopped(n->keeper);
}

static void command_down(struct node *n, enum supervise_end how)
{
    char detail[256];
    snprintf(detail, sizeof detail, "%.120s: %s", n->path, n->last);
    journal_event(n->keeper, "child.exit", detail);
    close_ready(n);
    cleanup_close(&n->pidfd);
    n->pidfd = -1;
    task_remove(n->keeper, &n->task);
    is_down(n, how);
}

/* --- a command -----------------------------------------------------------------------------------
 */

static void end_now(struct node *n)
{
    if (n->service != NULL && n->service->serving != NULL)
        worker_kill(n->service->serving, "stop took too long");
    else if (n->service == NULL && n->keeper->sandbox != NULL)
        sandbox_child_signal(n->keeper->sandbox, n->task.child, SIGKILL);
}

static void on_deadline(void *context)
{
    struct node *n = context;
    n->timer = NULL;
    n->late = n->state == NODE_STARTING;
    end_now(n);
}

void node_is_up(struct node *n)
{
    cancel_timer(n);
    n->state = NODE_RUNNING;
    n->started_ms = loop_now_ms();
    tell_parent(n);
}

void node_never_up(struct node *n)
{
    cancel_timer(n);
    end_now(n);
}

void node_is_down(struct node *n, enum supervise_end how, const char *why)
{
    char detail[256];
    if (n->state == NODE_DOWN)
        return;
    snprintf(n->last, sizeof n->last, "%.95s", why);
    snprintf(detail, sizeof detail, "%.120s: %s", n->path, n->last);
    journal_event(n->keeper, "child.exit", detail);
    is_down(n, n->state == NODE_STARTING ? END_START_FAILED : how);
}

static void on_ready(void *context, int fd, uint32_t events)
{
    struct node *n = context;
    char line[256];
    (void)events;
    ssize_t got = read(fd, line, sizeof line);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool ready = got > 0 && memchr(line, '\n', (size_t)got) != NULL;
    if (got > 0 && !ready)
        return;
    close_ready(n);
    if (ready && n->state == NODE_STARTING)
        node_is_up(n);
    /* closed without a line: its end, or the deadline, says the rest */
}

static void on_task(struct task *task, const struct sandbox_child_event *e)
{
    struct node *n = (struct node *)task;
    if (e->type == CHILD_STARTED) {
        n->pidfd = e->fd;
        if (n->ready == READY_NONE && n->state == NODE_STARTING)
            node_is_up(n);
        if (n->ready == READY_SOCKET && n->state == NODE_STARTING && probe_start(n, NULL) < 0)
            node_never_up(n);
    } else if (e->type == CHILD_FAILED) {
        snprintf(n->last, sizeof n->last, "%.95s", e->error->message);
        command_down(n, END_START_FAILED);
    } else if (e->type == CHILD_EXITED) {
        journal_violation(n->keeper, e, n->path);
        describe(n, e);
        command_down(n, classify(n, e->status));
    }
}

static int spawn(struct node *n, struct error *err)
{
    struct keeper *k = n->keeper;
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    _cleanup_close_ int log = log_open(k, n->path, err);
    int ends[2] = {-1, -1};
    if (log < 0)
        return -1;
    if (null < 0 || (n->ready == READY_LINE && pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0))
        return error_set(err, "keeper.memory", errno, "cannot make the streams of a child");
    _cleanup_close_ int theirs = ends[1];
    struct sandbox_command command = {
        .args = n->args.items, .streams = {null, log, log}, .ready_fd = theirs};
    int child = sandbox_spawn(k->sandbox, &command, err);
    n->ready_fd = ends[0];
    if (child < 0)
        return -1;
    n->task.child = child;
    task_add(k, &n->task);
    if (n->ready == READY_LINE)
        n->ready_source = loop_watch(k->loop, n->ready_fd, EPOLLIN, on_ready, n);
    if (n->ready != READY_NONE)
        n->timer = loop_after(k->loop, n->ready_ms, on_deadline, n);
    return 0;
}

static void start_command(struct node *n)
{
    struct error err = ERROR_INIT;
    n->state = NODE_STARTING;
    n->late = false;
    n->started_ms = loop_now_ms();
    if (n->service != NULL) {
        service_start(n->service);
        return;
    }
    n->task.call = on_task;
    if (spawn(n, &err) == 0)
        return;
    close_ready(n);
    snprintf(n->last, sizeof n->last, "%.95s", err.message);
    n->state = NODE_DOWN;
    ended(n, END_START_FAILED, 0);
}

static void stop_command(struct node *n)
{
    n->state = NODE_STOPPING;
    cancel_timer(n);
    if (n->service != NULL) {
        n->timer = loop_after(n->keeper->loop, n->shutdown_ms, on_deadline, n);
        service_stop(n->service, n->shutdown_ms);
        return;
    }
    sandbox_child_signal(n->keeper->sandbox, n->task.child,
                         n->shutdown_ms == 0 ? SIGKILL : SIGTERM);
    if (n->shutdown_ms > 0)
        n->timer = loop_after(n->keeper->loop, n->shutdown_ms, on_deadline, n);
}

/* --- a supervisor --------------------------------------------------------------------------------
 */

static void close_supervisor(struct node *s)
{
    s->closing = true;
    cancel_timer(s);
    for (size_t i = 0; i < s->logic.count; i++) {
        s->children[i].stop = s->children[i].state != NODE_DOWN;
        s->children[i].wanted = false;
    }
}

static void start_node(struct node *n)
{
    if (!n->supervisor) {
        start_command(n);
        return;
    }
    n->state = NODE_STARTING;
    n->closing = n->gave_up = false;
    n->logic.restart_count = 0;
    for (size_t i = 0; i < n->logic.count; i++) {
        n->logic.children[i].forgotten = false;
        n->logic.children[i].backoff = 0;
        n->children[i].wanted = true;
    }
    step(n);
}

static void stop_node(struct node *n)
{
    if (!n->supervisor) {
        stop_command(n);
        return;
    }
    n->state = NODE_STOPPING;
    close_supervisor(n);
    step(n);
}

/** All children of a closing supervisor are down. */
static void supervisor_down(struct node *s)
{
    if (s->state == NODE_DOWN)
        return;
    bool came_up = s->state == NODE_RUNNING;
    s->state = NODE_DOWN;
    if (s->parent == NULL) {
        if (s->gave_up && !s->keeper->tree->abandoned)
            keeper_set_alive(s->keeper, STATUS_FAILED, s->keeper->tree->failure.message);
    } else if (s->stop) {
        s->stop = false;
    } else {
        /* one that never came up did not end, its start failed */
        snprintf(s->last, sizeof s->last, came_up ? "gave up" : "did not come up");
        ended(s, came_up ? END_SHUTDOWN : END_START_FAILED,
              came_up ? loop_now_ms() - s->started_ms : 0);
    }
    tell_parent(s);
}

static void on_delay(void *context)
{
    struct node *s = context;
    s->timer = NULL;
    step(s);
}

static void step(struct node *s)
{
    if (s->keeper->tree->abandoned || s->state == NODE_DOWN)
        return;
    for (size_t i = s->logic.count; i > 0; i--) {
        struct node *n = &s->children[i - 1];
        if (!n->stop || n->state == NODE_DOWN)
            continue;
        if (n->state != NODE_STOPPING)
            stop_node(n);
        if (n->state != NODE_DOWN)
            return;
    }
    if (s->closing) {
        supervisor_down(s);
        return;
    }
    if (s->timer != NULL)
        return;
    for (size_t i = 0; i < s->logic.count; i++) {
        struct node *n = &s->children[i];
        if (n->state == NODE_DOWN && n->wanted) {
            start_node(n);
            if (s->closing || s->timer != NULL || n->state == NODE_DOWN) {
                step(s); /* the start failed at once, and the wishes are others now */
                return;
            }
        }
        if (n->state == NODE_STARTING)
            return;
    }
    if (s->state == NODE_STARTING) {
        s->state = NODE_RUNNING;
        s->started_ms = loop_now_ms();
        tell_parent(s);
    }
}

void node_mended(struct node *n)
{
    struct tree *t = n->keeper->tree;
    struct node *root = &t->root;
    if (n->parent != root || t->culprit != n || root->state != NODE_DOWN || t->abandoned)
        return;
    t->mended = true;
    start_node(root);
}

void tree_start(struct tree *t, void (*ready)(struct keeper *k, const struct error *err))
{
    t->ready = ready;
    t->started = true;
    start_node(&t->root);
}

void tree_stop(struct tree *t)
{
    for (struct module *m = t->root.keeper->modules; m != NULL; m = m->next) {
        if (m->service != NULL && m->service->node == NULL)
            reload_stop(m->service);
    }
    if (t->root.state == NODE_DOWN)
        return;
    stop_node(&t->root);
}

static void forget(struct node *n)
{
    if (n->keeper == NULL) /* never read: the spec was refused before */
        return;
    cancel_timer(n);
    for (size_t i = 0; n->supervisor && i < n->logic.count; i++)
        forget(&n->children[i]);
    if (!n->supervisor)
        close_ready(n);
}

void tree_abandon(struct tree *t)
{
    if (t == NULL)
        return;
    t->abandoned = true;
    forget(&t->root);
}

static void free_nodes(struct node *n)
{
    free(n->logic.restarts);
    for (size_t i = 0; n->supervisor && i < n->logic.count; i++)
        free_nodes(&n->children[i]);
    if (!n->supervisor && n->task.call != NULL) {
        task_remove(n->keeper, &n->task);
        cleanup_close(&n->pidfd);
    }
}

int tree_add_service(struct tree *t, struct service *s, struct error *err)
{
    struct node *root = &t->root;
    if (t->abandoned || root->closing || (root->state == NODE_DOWN && t->started))
        return error_set(err, "sandbox.not_running", 0, "the sandbox is ending");
    struct node *n = tree_new_service(t, s, err);
    if (n == NULL)
        return -1;
    n->wanted = t->started;
    if (t->started)
        step(root);
    return 0;
}

void tree_free(struct tree *t)
{
    if (t == NULL)
        return;
    tree_abandon(t);
    free_nodes(&t->root);
    for (struct module *m = t->root.keeper->modules; m != NULL; m = m->next) {
        if (m->service != NULL)
            service_detach(m->service);
    }
    arena_free(t->arena);
}

static void add_json(cJSON *list, const struct node *n)
{
    static const char *const states[] = {"down", "starting", "running", "stopping"};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", n->path);
    cJSON_AddStringToObject(o, "kind",
                            n->supervisor        ? "supervisor"
                            : n->service != NULL ? "module"
                                                 : "command");
    cJSON_AddStringToObject(o, "state", n->gave_up ? "failed" : states[n->state]);
    cJSON_AddNumberToObject(o, "restarts", n->restarts);
    cJSON_AddStringToObject(o, "last", n->last);
    if (n->service != NULL)
        cJSON_AddItemToObject(o, "module", service_json(n->service));
    cJSON_AddItemToArray(list, o);
    for (size_t i = 0; n->supervisor && i < n->logic.count; i++)
        add_json(list, &n->children[i]);
}

/** A module that is no child yet, but may become one any moment. */
static void add_candidate(cJSON *list, const struct service *s)
{
    cJSON *module = service_json(s);
    if (s->reload == NULL && !cJSON_HasObjectItem(module, "watch")) {
        cJSON_Delete(module);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", s->name);
    cJSON_AddStringToObject(o, "kind", "module");
    cJSON_AddStringToObject(o, "state", s->reload != NULL ? "starting" : "down");
    cJSON_AddNumberToObject(o, "restarts", 0);
    cJSON_AddStringToObject(o, "last", "");
    cJSON_AddItemToObject(o, "module", module);
    cJSON_AddItemToArray(list, o);
}

cJSON *tree_json(const struct tree *t)
{
    cJSON *list = cJSON_CreateArray();
    if (t == NULL)
        return list;
    for (size_t i = 0; i < t->root.logic.count; i++)
        add_json(list, &t->root.children[i]);
    for (const struct module *m = t->root.keeper->modules; m != NULL; m = m->next) {
        if (m->service != NULL && m->service->node == NULL)
            add_candidate(list, m->service);
    }
    return list;
}
