/* The life of the tree: made, watched, ended. */
#include "runtime/keeper/keeper.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "runtime/keeper/modules.h"
#include "runtime/keeper/sampling.h"
#include "runtime/keeper/service.h"
#include "runtime/keeper/tree.h"
#include "runtime/keeper/watch.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

const char *status_name(enum status s)
{
    static const char *const names[] = {
        [STATUS_INITIALIZING] = "initializing",
        [STATUS_COMPILING] = "compiling",
        [STATUS_STARTING] = "starting",
        [STATUS_RUNNING] = "running",
        [STATUS_PAUSED] = "paused",
        [STATUS_STOPPING] = "stopping",
        [STATUS_FAILED] = "failed",
        [STATUS_STOPPED] = "stopped",
    };
    return names[s];
}

void keeper_set_status(struct keeper *k, enum status s, const char *reason)
{
    k->status = s;
    snprintf(k->reason, sizeof k->reason, "%.255s", reason != NULL ? reason : "");
    journal_status(k);
}

void keeper_set_alive(struct keeper *k, enum status s, const char *reason)
{
    const bool paused = k->status == STATUS_PAUSED;
    k->thawed = s;
    keeper_set_status(k, paused ? STATUS_PAUSED : s, reason);
}

int keeper_freeze(struct keeper *k, bool frozen, struct error *err)
{
    if (keeper_is_running(k, err) < 0)
        return -1;
    if (!sandbox_serves(k->sandbox)) { /* frozen while it builds, init would not see us die */
        error_set(err, "sandbox.busy", 0, "sandbox \"%s\" is starting", k->id);
        return error_hint(err, "wait for it");
    }
    if (frozen == (k->status == STATUS_PAUSED))
        return 0;
    if (sandbox_freeze(k->sandbox, frozen, err) < 0)
        return -1;
    if (frozen)
        k->thawed = k->status;
    k->status = frozen ? STATUS_PAUSED : k->thawed;
    journal_status(k);
    return 0;
}

void task_add(struct keeper *k, struct task *t)
{
    t->next = k->tasks;
    k->tasks = t;
}

void task_remove(struct keeper *k, struct task *t)
{
    for (struct task **at = &k->tasks; *at != NULL; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            return;
        }
    }
}

static void on_child(void *context, const struct sandbox_child_event *e)
{
    struct keeper *k = context;
    if (e->type == CHILD_MEMORY) {
        journal_event(k, "killed.limit", "memory");
        return;
    }
    for (struct task *t = k->tasks; t != NULL; t = t->next) {
        if (t->child != e->child)
            continue;
        t->call(t, e);
        return;
    }
    if (e->type == CHILD_STARTED || e->type == CHILD_TERMINAL)
        close(e->fd);
}

/** Every task hears of its end, as init would have said it. */
static void end_tasks(struct keeper *k)
{
    struct task *t;
    while ((t = k->tasks) != NULL) {
        const struct sandbox_child_event e = {.type = CHILD_EXITED,
                                              .child = t->child,
                                              .status = SIGKILL,
                                              .time_ns = loop_now_ms() * 1000000,
                                              .fd = -1};
        t->call(t, &e);
        if (k->tasks == t) /* whoever does not remove itself is removed */
            task_remove(k, t);
    }
}

static int release(struct keeper *k, struct error *err)
{
    struct sandbox *s = k->sandbox;
    if (s == NULL)
        return 0;
    k->ready_but_init = false;
    sampling_stop(k);
    watches_stop(k);
    modules_cancel(k);
    tree_abandon(k->tree);
    end_tasks(k);
    tree_free(k->tree);
    k->tree = NULL;
    loop_unwatch(k->loop, k->sandbox_source);
    k->sandbox_source = NULL;
    k->sandbox = NULL;
    return sandbox_close(s, err);
}

/** The tree ended although nobody asked it to: init was killed, or could not build. */
static void tree_ended(struct keeper *k, const struct error *why)
{
    struct error err = ERROR_INIT;
    journal_event(k, "sandbox.failed", why->message);
    void (*ready)(struct keeper *, const struct error *) = k->ready;
    k->ready = NULL;
    keeper_set_status(k, STATUS_FAILED, why->message);
    if (release(k, &err) < 0)
        fprintf(stderr, "%s\n", err.message);
    keeper_check_stopped(k);
    if (ready != NULL)
        ready(k, why);
}

void keeper_kill(struct keeper *k, const char *reason)
{
    snprintf(k->kill_reason, sizeof k->kill_reason, "%s", reason);
    sys_pidfd_send_signal(sandbox_pidfd(k->sandbox), SIGKILL);
}

int keeper_is_running(const struct keeper *k, struct error *err)
{
    if (k->sandbox != NULL && k->status != STATUS_STOPPING)
        return 0;
    error_set(err, "sandbox.not_running", 0, "sandbox \"%s\" is %s%s%s", k->id,
              status_name(k->status), k->reason[0] != '\0' ? ": " : "", k->reason);
    return error_hint(err, "cloche restart %s", k->id);
}

int keeper_is_paused(const struct keeper *k, struct error *err)
{
    error_set(err, "sandbox.paused", 0, "sandbox \"%s\" is paused", k->id);
    return error_hint(err, "cloche resume %s", k->id);
}

void keeper_note_limit_hits(struct keeper *k, const struct sandbox_usage *u)
{
    if (u->process_limit_hits > k->limit_hits)
        journal_event(k, "security.violation", "process limit");
    k->limit_hits = u->process_limit_hits;
}

static void on_ready_timer(void *context)
{
    struct keeper *k = context;
    void (*ready)(struct keeper *, const struct error *) = k->ready;
    k->ready = NULL;
    if (ready != NULL)
        ready(k, k->ready_error.code != NULL ? &k->ready_error : NULL);
}

/** Answered from the loop: whoever hears of it may take the tree away. */
static void children_ready(struct keeper *k, const struct error *err)
{
    k->ready_but_init = err == NULL && !sandbox_serves(k->sandbox);
    if (k->ready_but_init)
        return;
    if (err != NULL)
        k->ready_error = *err;
    else
        keeper_set_alive(k, STATUS_RUNNING, NULL);
    if (err == NULL)
        watches_start(k, k->restarts > 0);
    loop_after(k->loop, 0, on_ready_timer, k);
}

static void why_it_ended(struct keeper *k, struct error *err)
{
    struct report r;
    sandbox_report(k->sandbox, &r);
    const char *why = k->kill_reason[0] != '\0'          ? k->kill_reason
                      : r.verdict == VERDICT_TIME_LIMIT  ? r.detail
                      : r.verdict == VERDICT_SETUP_ERROR ? r.detail
                                                         : "init was killed";
    if (r.verdict == VERDICT_TIME_LIMIT)
        journal_event(k, "killed.timeout", "the sandbox");
    error_set(err, "sandbox.ended", 0, "%s", why);
}

static void on_sandbox(void *context, int fd, uint32_t events)
{
    struct keeper *k = context;
    struct error err = ERROR_INIT;
    (void)fd;
    (void)events;
    int rc = k->sandbox != NULL ? sandbox_dispatch(k->sandbox, &err) : 0;
    if (rc > 0)
        why_it_ended(k, &err);
    if (rc != 0) {
        tree_ended(k, &err);
    } else if (k->ready_but_init && sandbox_serves(k->sandbox)) {
        k->ready_but_init = false;
        children_ready(k, NULL);
    }
}

/** Every module has a version to start. */
static void modules_ready(struct keeper *k, const struct error *err)
{
    if (err != NULL) {
        children_ready(k, err);
        return;
    }
    if (k->status == STATUS_COMPILING)
        keeper_set_status(k, STATUS_STARTING, NULL);
    if (k->modules != NULL)
        worker_reserve(k);
    tree_start(k->tree, children_ready);
}

static int make_sandbox(struct keeper *k, struct error *err)
{
    struct spec_resources *r = &k->spec->resources;
    const uint64_t shares = r->cpu_shares;
    /* what may be slowed down later needs a group of the CPU controller now: the default weight
     * asks for one and changes nothing */
    if (k->spec->monitor_action == MONITOR_THROTTLE && shares == 0)
        r->cpu_shares = 1024;
    int rc = sandbox_serve(&k->sandbox, k->spec, k->group, TAKE_FD(k->network), on_child, k, err);
    r->cpu_shares = shares;
    return rc;
}

/** The store, read-only, for workers. Where a directory is the root, its mount point has to be made
 * there, so only when there is something to see. */
static int bind_modules(struct keeper *k, struct error *err)
{
    char path[PATH_MAX], link[64];
    if (k->modules == NULL && k->spec->rootfs == ROOTFS_DIR)
        return 0;
    if ((mkdirat(k->state_fd, "modules", 0755) < 0 && errno != EEXIST) ||
        fchmodat(k->state_fd, "modules", 0755, 0) < 0)
        return error_set(err, "keeper.state", errno, "cannot make the directory of modules");
    snprintf(link, sizeof link, "/proc/self/fd/%d", k->state_fd);
    ssize_t n = readlink(link, path, sizeof path - sizeof "/modules");
    if (n < 0)
        return error_set(err, "keeper.state", errno, "cannot find the directory of modules");
    memcpy(path + n, "/modules", sizeof "/modules");
    struct spec_mount *m = spec_add_mount(k->spec, "/modules");
    *m = (struct spec_mount){.kind = MOUNT_BIND,
                             .destination = "/modules",
                             .source = arena_strdup(k->spec->arena, path),
                             .system = true, /* all may read it: a map would cost 1.5 ms */
                             .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    return 0;
}

int keeper_start(struct keeper *k, void (*ready)(struct keeper *k, const struct error *err),
                 struct error *err)
{
    k->status = STATUS_STARTING;
    if (k->restarts > 0) /* before the first record everybody knows that it is being made */
        keeper_set_status(k, STATUS_STARTING, NULL);
    struct tree *tree = sampling_check(k, err) < 0 ? NULL : tree_new(k, err);
    if (tree == NULL || bind_modules(k, err) < 0 || make_sandbox(k, err) < 0) {
        tree_free(tree);
        keeper_set_status(k, STATUS_FAILED, err->message);
        return -1;
    }
    k->tree = tree;
    k->ready = ready;
    k->ready_error = (struct error)ERROR_INIT;
    k->oom_kills = k->limit_hits = 0;
    k->kill_reason[0] = '\0';
    k->started_ms = loop_now_ms();
    k->sandbox_source = loop_watch(k->loop, sandbox_event_fd(k->sandbox), EPOLLIN, on_sandbox, k);
    if (k->sandbox_source == NULL)
        error_set(err, "keeper.memory", errno, "cannot watch the sandbox");
    if (k->sandbox_source == NULL || sampling_start(k, err) < 0) {
        release(k, NULL);
        keeper_set_status(k, STATUS_FAILED, err->message);
        return -1;
    }
    modules_prepare(k, modules_ready);
    return 0;
}

static void on_stop_timer(void *context)
{
    struct keeper *k = context;
    void (*stopped)(struct keeper *) = k->stopped;
    k->stopped = NULL;
    k->stop_timer = NULL;
    stopped(k);
}

/** From the loop, never from within what is being taken away. */
static void stop_in(struct keeper *k, uint64_t ms)
{
    if (k->stop_timer != NULL)
        loop_cancel(k->loop, k->stop_timer);
    k->stop_timer = loop_after(k->loop, ms, on_stop_timer, k);
}

void keeper_check_stopped(struct keeper *k)
{
    if (k->stopped != NULL && k->tasks == NULL)
        stop_in(k, 0);
}

void keeper_interrupt(struct keeper *k, const char *by)
{
    struct error err = ERROR_INIT;
    void (*ready)(struct keeper *, const struct error *) = k->ready;
    k->ready = NULL;
    if (ready == NULL)
        return;
    error_set(&err, KEEPER_INTERRUPTED, 0, "sandbox \"%s\" did not come up: %s came in between",
              k->id, by);
    ready(k, &err);
}

void keeper_stop(struct keeper *k, uint64_t grace_ms, void (*stopped)(struct keeper *k))
{
    if (k->status == STATUS_PAUSED) /* a frozen process hears no signal */
        sandbox_freeze(k->sandbox, false, NULL);
    keeper_set_status(k, STATUS_STOPPING, NULL);
    watches_stop(k);
    k->ready = NULL;
    k->ready_but_init = false;
    k->stopped = stopped;
    if (k->tree != NULL) {
        modules_cancel(k);
        k->tree->ready = NULL; /* nobody waits for children that go */
        tree_stop(k->tree);
    }
    worker_drop_spares(k);
    exec_stop_all(k);
    stop_in(k, k->sandbox == NULL || k->tasks == NULL ? 0 : grace_ms);
}

int keeper_release(struct keeper *k, struct error *err)
{
    return release(k, err);
}

/** The directory that holds @fd under the name @id; ENOENT when it does not any more, because
 * somebody removed it underneath us: what has that name now is not ours. */
static int open_parent(int fd, const char *id)
{
    struct stat own, named;
    _cleanup_close_ int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fstat(fd, &own) < 0 || fstatat(parent, id, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (own.st_ino == named.st_ino && own.st_dev == named.st_dev)
        return TAKE_FD(parent);
    errno = ENOENT;
    return -1;
}

int keeper_remove(struct keeper *k, struct error *err)
{
    struct error step = ERROR_INIT;
    char grave[96], steps[1024] = "";
    size_t used = 0;
    if (release(k, &step) < 0) /* a reload that was not over says so in the store */
        used += (size_t)snprintf(steps, sizeof steps, "control group: %.300s; ", step.message);
    modules_close(k);
    journal_retire(k);
    /* before the id is free: the door that its next owner makes stays */
    errno = ENOENT;
    _cleanup_close_ int run_parent = k->run_fd < 0 ? -1 : open_parent(k->run_fd, k->id);
    if (run_parent >= 0)
        unlinkat(k->run_fd, "control.sock", 0);
    if ((run_parent < 0 && errno != ENOENT) ||
        (run_parent >= 0 && unlinkat(run_parent, k->id, AT_REMOVEDIR) < 0))
        used += (size_t)snprintf(steps + used, sizeof steps - used, "run directory: %s; ",
                                 strerror(errno));
    /* out of the way by one rename: the id is free, and what follows is only tidying */
    _cleanup_close_ int parent = open_parent(k->state_fd, k->id);
    snprintf(grave, sizeof grave, ".gone-%d-%s", (int)getpid(), k->id);
    if ((parent < 0 && errno != ENOENT) ||
        (parent >= 0 &&
         (renameat(parent, k->id, parent, grave) < 0 || io_remove_tree_at(parent, grave) < 0)))
        used += (size_t)snprintf(steps + used, sizeof steps - used, "state directory: %s; ",
                                 strerror(errno));
    if (used < 2)
        return 0;
    steps[used - 2] = '\0';
    return error_set(err, "sandbox.leftovers", 0, "sandbox \"%s\" is gone, but not all of it: %s",
                     k->id, steps);
}
