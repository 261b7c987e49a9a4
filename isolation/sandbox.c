/* The parent's side of a launch: plan, one clone3, id maps, start; and the removal of every trace.
 */
#include "isolation/sandbox_impl.h"

#include "base/io.h"
#include "base/syscalls.h"
#include "isolation/net.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/** Whether the kernel lets this process clone host mounts and map foreign ids. Not to know is an
 * error: root's own id would become the program's. */
static int find_privileges(struct plan *p, struct error *err)
{
    cap_flag_value_t admin = CAP_CLEAR, setuid_cap = CAP_CLEAR;
    cap_t own = cap_get_proc();
    if (own == NULL)
        return error_set(err, "caps.failed", errno, "cannot read one's own capabilities");
    cap_get_flag(own, CAP_SYS_ADMIN, CAP_EFFECTIVE, &admin);
    cap_get_flag(own, CAP_SETUID, CAP_EFFECTIVE, &setuid_cap);
    cap_free(own);
    int all = admin == CAP_SET && setuid_cap == CAP_SET ? idmap_all_ids(err) : 0;
    p->privileged = all > 0;
    return all < 0 ? -1 : 0;
}

static const char *path_of(const struct spec *spec)
{
    for (size_t i = 0; i < spec->env.count; i++) {
        if (strncmp(spec->env.items[i], "PATH=", 5) == 0)
            return spec->env.items[i] + 5;
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

/** A hard limit of 0 keeps files from being written, and no program of the host from being run or
 * asked. */
static bool cores_end_at_0(void)
{
    struct rlimit now;
    char first;
    if (getrlimit(RLIMIT_CORE, &now) < 0 || now.rlim_max != 0)
        return false;
    _cleanup_close_ int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &first, 1) == 1 && first != '|' && first != '@';
}

/** The second half of the cgroup, while init builds: v1 groups, limits. What no cgroup
 * enforces here falls to rlimits; only reached with best-effort (cgroup_complete refused
 * otherwise). */
static int complete_cgroup(struct sandbox *s, struct error *err)
{
    const struct spec *spec = s->spec;
    const struct cgroup *g = s->cgroup;
    if (cgroup_complete(s->cgroup, spec, spec->enforce_required, err) < 0)
        return -1;
    unsigned *fallbacks = &s->plan.fallbacks;
    if (spec->resources.memory_bytes != LIMIT_NONE &&
        cgroup_enforced_by(g, CGROUP_MEMORY) == MEANS_NONE)
        *fallbacks |= PLAN_FALLBACK_MEMORY;
    if (spec->resources.processes != LIMIT_NONE &&
        cgroup_enforced_by(g, CGROUP_PROCESSES) == MEANS_NONE)
        *fallbacks |= PLAN_FALLBACK_PROCESSES;
    bool counted = cgroup_measured_by(g, CGROUP_CPU) != MEANS_NONE;
    if (!counted && spec->cpu_time_ms != LIMIT_NONE && spec->enforce_required) {
        error_set(err, "cgroup.cpu_time", 0,
                  "cannot limit CPU time: no control group here counts that of the whole tree");
        return error_hint(err, "cloche doctor names what is missing; or pass --best-effort");
    }
    if (counted || spec->cpu_time_ms == LIMIT_NONE)
        return 0;
    s->sample_cpu = tree_cpu_usec(s->pid) >= 0;
    if (!s->sample_cpu && errno != ENOENT)
        return error_set(err, "cgroup.cpu_time", errno, "cannot read the CPU time of the sandbox");
    /* a kernel that does not name children, a /proc that hides them: the rlimit counts whole
     * seconds of one process, and by the kernel's ticks */
    if (!s->sample_cpu)
        *fallbacks |= PLAN_FALLBACK_CPU;
    return 0;
}

static int prepare(struct sandbox *s, const char *id, struct error *err)
{
    struct plan *p = &s->plan;
    const struct spec *spec = s->spec;
    char name[80];
    static unsigned runs;

    if (spec->args.count == 0 && p->serve == NULL) {
        error_set(err, "spec.no_command", 0, "no command to run");
        return error_hint(err, "give one after --, or process.args in the spec");
    }
    p->path_env = path_of(spec);
    p->cores_end_at_0 = cores_end_at_0();
    if (find_privileges(p, err) < 0)
        return -1;
    if (!p->privileged) /* who could not go back enters no other network */
        namespaces_close(p);
    p->host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (namespaces_plan(p, err) < 0 ||
        idmap_choose(&p->idmap, spec, p->ns_fds[NS_USER], p->privileged, p->arena, err) < 0 ||
        caps_plan_make(&p->caps, spec, err) < 0 ||
        landlock_plan_make(&p->landlock, spec, p->arena, err) < 0 || rootfs_plan(p, err) < 0 ||
        seccomp_filter_get(&p->filter, spec, err) < 0)
        return -1;
    if (spec->network == NETWORK_BRIDGE && net_bridge_check(spec, err) < 0)
        return -1;
    if (id == NULL) {
        snprintf(name, sizeof name, "run-%d-%u", (int)getpid(),
                 __atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED));
        id = name;
    }
    if (p->slot != NULL && p->slot->group != NULL)
        s->cgroup = TAKE_PTR(p->slot->group);
    else if (cgroup_begin(&s->cgroup, id, spec, spec->enforce_required, err) < 0)
        return -1;
    return namespaces_bind_tree(p, cgroup_v2_fd(s->cgroup), err);
}

static int clone_init(struct sandbox *s, struct error *err)
{
    struct plan *p = &s->plan;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set(err, "sandbox.clone", errno, "cannot make the control socket");
    s->control = ends[0];
    p->control = ends[1];

    int cgroup_fd = cgroup_v2_fd(s->cgroup), pidfd = -1;
    struct clone_args args = {
        .flags = p->clone_flags | CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = 0, /* a caller that ignores SIGCHLD could not wait for it */
        .cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
    };
    /* none of the caller's signal handlers may run in init */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = namespaces_clone(p, &args);
    int saved = errno;
    if (pid == 0) {
        close(ends[0]);
        init_main(p);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    p->control = -1;
    if (pid < 0)
        return namespaces_clone_failed(p, saved, err);
    if (p->joins)
        return namespaces_cloned(p, s->control, pid, &s->pid, &s->pidfd, err);
    s->pid = pid;
    s->pidfd = pidfd;
    return 0;
}

int launch_failed(struct sandbox *s, struct error *err)
{
    if (s->failed) {
        *err = s->failure;
        return -1;
    }
    if (cgroup_memory_exceeded(s->cgroup)) {
        error_set(err, "sandbox.memory", 0, "the memory limit is too small to start anything");
        return error_hint(err, "give at least 4 MiB");
    }
    int status = s->init_status;
    return error_set(err, "sandbox.setup", 0, "init of the sandbox died while setting up (%s %d)",
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/** Handle messages until one of @type arrives. */
static int expect(struct sandbox *s, int type, struct error *err)
{
    for (;;) {
        struct message m;
        int fd, rc = message_receive(s->control, &m, &fd, 0);
        if (rc < 0) /* init may be well, and is not waited for */
            return error_set(err, "sandbox.control", errno, "cannot hear init of the sandbox");
        if (rc == 0) {
            if (waitpid(s->pid, &s->init_status, __WALL) == s->pid)
                s->reaped = true;
            return launch_failed(s, err);
        }
        watch_message(s, &m, fd);
        if (s->failed)
            return launch_failed(s, err);
        if (m.type == type)
            return 0;
    }
}

/** Init is gone, and has said why. */
static int send_failed(struct sandbox *s, struct error *err)
{
    if (errno == EPIPE || errno == ECONNRESET)
        return expect(s, MESSAGE_FAILED, err);
    return error_set(err, "sandbox.control", errno, "cannot reach init of the sandbox");
}

static int send_message(struct sandbox *s, int type, int value, struct error *err)
{
    struct message m = {.type = type, .value = value};
    return message_send(s->control, &m, -1) < 0 ? send_failed(s, err) : 0;
}

/** Send START, with the v1 groups to join. */
static int send_start(struct sandbox *s, struct error *err)
{
    const struct message m = {.type = MESSAGE_START, .value = (int)s->plan.fallbacks};
    int fds[PACKET_MAX_FDS], count = cgroup_join_fds(s->cgroup, fds, PACKET_MAX_FDS);
    return count < 0 || message_send_fds(s->control, &m, fds, (unsigned)count) < 0
               ? send_failed(s, err)
               : 0;
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return io_write_file_at(AT_FDCWD, path, text);
}

static bool needs_map(const struct plan *p)
{
    bool any = p->root_idmap;
    for (size_t i = 0; i < p->mount_count; i++)
        any = any || p->mounts[i].idmap;
    return any;
}

/** What only the outside may do to a new sandbox: its ids, its network's other end, its OOM score.
 */
static int equip(struct sandbox *s, const char *id, struct error *err)
{
    struct plan *p = &s->plan;
    const struct spec *spec = s->spec;
    if (p->late && (send_message(s, MESSAGE_GO, 0, err) < 0 || expect(s, MESSAGE_LATE, err) < 0))
        return -1;
    if (idmap_write(&p->idmap, s->pid, err) < 0)
        return -1;
    if (needs_map(p) && rootfs_map_ids(p, s->pid, err) < 0)
        return -1;
    if (spec->network == NETWORK_BRIDGE) {
        char name[32];
        snprintf(name, sizeof name, "run-%d", (int)s->pid);
        if (net_bridge_attach(spec, s->pid, id != NULL ? id : name, err) < 0)
            return -1;
    }
    if (spec->oom_score_adj_set && !p->joins) {
        char text[16];
        snprintf(text, sizeof text, "%d", spec->oom_score_adj);
        if (write_proc(s->pid, "oom_score_adj", text) < 0) {
            error_set(err, "sandbox.oom_score", errno, "cannot set oom_score_adj to %s", text);
            return error_hint(err, "a lower score than one's own needs CAP_SYS_RESOURCE");
        }
    }
    return send_message(s, MESSAGE_GO, 0, err);
}

static int write_time_offsets(struct sandbox *s, struct error *err)
{
    const struct spec *spec = s->spec;
    static const char *const clocks[2] = {"monotonic", "boottime"};
    for (int i = 0; i < 2; i++) {
        if (!spec->time_offset_set[i])
            continue;
        char text[64];
        snprintf(text, sizeof text, "%s %lld %u\n", clocks[i], (long long)spec->time_offset_secs[i],
                 spec->time_offset_nanosecs[i]);
        if (write_proc(s->pid, "timens_offsets", text) < 0) {
            error_set(err, "sandbox.time", errno, "cannot set the %s offset", clocks[i]);
            return error_hint(err, "the clock inside must be above 0 and below 146 years");
        }
    }
    return send_message(s, MESSAGE_GO, 0, err);
}

/** Everything up to the clone and "go": init is building. */
static int launch(struct sandbox **ret, const struct spec *spec,
                  const struct sandbox_options *options, bool quiet,
                  void (*adjust)(struct sandbox *s), struct error *err)
{
    _cleanup_sandbox_ struct sandbox *s = calloc(1, sizeof *s);
    if (s == NULL)
        return error_set(err, "sandbox.memory", ENOMEM, "cannot make a sandbox");
    s->spec = s->plan.spec = spec;
    s->plan.quiet = quiet;
    s->plan.slot = options->slot;
    s->plan.arena = arena_new();
    s->plan.root_fd = s->plan.template_fd = s->plan.control = s->plan.idmap.lock_fd =
        s->plan.kill_fd = s->plan.proc_fd = s->plan.host_proc = s->plan.bare_ns =
            s->plan.bare_proc = s->plan.ahead.network = s->plan.ahead.mounts = -1;
    for (int i = 0; i < NS_COUNT; i++)
        s->plan.ns_fds[i] = -1;
    s->pidfd = s->control = s->epoll = s->timer = s->listener = s->terminal = s->terminal_fd = -1;
    if (adjust != NULL)
        adjust(s);
    namespaces_begin(&s->plan);

    bool own[3] = {false, false, false};
    int rc = streams_open(s, options, own, err);
    if (rc == 0)
        rc = prepare(s, options->id, err);
    /* groups while its network is made, the rest while init builds */
    for (int more = 1; rc == 0 && more > 0 && namespaces_pending(&s->plan);) {
        more = cgroup_advance(s->cgroup, spec, spec->enforce_required, err);
        rc = more < 0 ? -1 : 0;
    }
    if (rc == 0)
        streams_give(s, own);
    if (rc == 0)
        rc = clone_init(s, err);
    streams_close(&s->plan, own);
    if (rc < 0 || equip(s, options->id, err) < 0 || complete_cgroup(s, err) < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

static int watch_all(struct sandbox *s, struct error *err)
{
    if (watch_open(s, err) < 0)
        return -1;
    for (size_t i = 0; i < s->pump_count; i++) {
        if (pump_open(s, &s->pumps[i], err) < 0)
            return -1;
    }
    return 0;
}

static int launch_create(struct sandbox **ret, const struct spec *spec,
                         const struct sandbox_options *options, void (*adjust)(struct sandbox *s),
                         struct error *err)
{
    _cleanup_sandbox_ struct sandbox *s = NULL;
    if (launch(&s, spec, options, false, adjust, err) < 0)
        return -1;
    cgroup_sweep_dead(s->cgroup); /* a thousand alive are a long list: while init builds */
    if (spec->ns_new[NS_TIME] &&
        (expect(s, MESSAGE_SYNC_TIME, err) < 0 || write_time_offsets(s, err) < 0))
        return -1;
    if (expect(s, MESSAGE_READY, err) < 0)
        return -1;
    rootfs_close(&s->plan);
    namespaces_hold(&s->plan, s->pid);
    if ((spec->terminal && terminal_open(s, options, err) < 0) || watch_all(s, err) < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

int sandbox_create(struct sandbox **ret, const struct spec *spec,
                   const struct sandbox_options *options, struct error *err)
{
    return launch_create(ret, spec, options, NULL, err);
}

int sandbox_start(struct sandbox *s, struct error *err)
{
    if (send_start(s, err) < 0)
        return -1;
    return expect(s, MESSAGE_STARTED, err);
}

int launch_run(struct sandbox **ret, const struct spec *spec, const struct sandbox_options *options,
               void (*adjust)(struct sandbox *s), struct error *err)
{
    _cleanup_sandbox_ struct sandbox *s = NULL;
    if (spec->terminal || spec->ns_new[NS_TIME]) { /* these need an answer in the middle */
        if (launch_create(&s, spec, options, adjust, err) < 0 || sandbox_start(s, err) < 0)
            return -1;
    } else {
        if (launch(&s, spec, options, true, adjust, err) < 0 || send_start(s, err) < 0)
            return -1;
        /* while init builds, with fds of its own */
        cgroup_sweep_dead(s->cgroup);
        rootfs_close(&s->plan);
        namespaces_hold(&s->plan, s->pid);
        /* what is read at the end is looked up for the first time while nobody waits */
        if (s->plan.ahead.begun)
            cgroup_read_outcome(s->cgroup, &s->stats);
        if (watch_all(s, err) < 0)
            return -1;
    }
    *ret = TAKE_PTR(s);
    return 0;
}

int sandbox_run(struct sandbox **ret, const struct spec *spec,
                const struct sandbox_options *options, struct error *err)
{
    return launch_run(ret, spec, options, NULL, err);
}

int sandbox_wait(struct sandbox *s, struct report *ret, struct error *err)
{
    struct pollfd p = {.fd = s->epoll, .events = POLLIN};
    for (;;) {
        int rc = sandbox_dispatch(s, err);
        if (rc != 0) {
            if (rc > 0)
                sandbox_report(s, ret);
            return rc < 0 ? -1 : 0;
        }
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return error_set(err, "sandbox.watch", errno, "cannot watch the sandbox");
    }
}

void sandbox_report(const struct sandbox *s, struct report *ret)
{
    *ret = s->report;
}

const char *sandbox_captured(const struct sandbox *s, int stream, size_t *ret_size)
{
    const struct pump *p = stream == 1 ? s->stdout_pump : s->stderr_pump;
    *ret_size = p != NULL && p->capture ? p->used : 0;
    return *ret_size == 0 ? "" : p->buf;
}

int sandbox_signal(struct sandbox *s, int sig)
{
    const struct message m = {.type = MESSAGE_SIGNAL, .value = sig};
    return s->reaped ? 0 : message_send(s->control, &m, -1);
}

void sandbox_kill(struct sandbox *s, enum verdict verdict, const char *detail)
{
    if (!s->verdict_set && !s->ended) {
        s->verdict_set = true;
        s->report.verdict = verdict;
        snprintf(s->report.detail, sizeof s->report.detail, "%s", detail);
    }
    /* what the kernel reaps for an init that dies is added to nobody's rusage */
    if (!s->reaped && cgroup_measured_by(s->cgroup, CGROUP_CPU) == MEANS_NONE)
        watch_cpu_usec(s);
    if (!s->reaped && s->pidfd >= 0)
        sys_pidfd_send_signal(s->pidfd, SIGKILL);
    namespaces_end_tree(&s->plan);
}

int sandbox_freeze(struct sandbox *s, bool frozen, struct error *err)
{
    return cgroup_freeze(s->cgroup, frozen, err);
}

void sandbox_suspend(struct sandbox *s, bool on)
{
    struct error err = ERROR_INIT;
    if (sandbox_freeze(s, on, &err) < 0)
        sandbox_signal(s, on ? SIGSTOP : SIGCONT);
    terminal_suspend(s, on);
}

pid_t sandbox_pid(const struct sandbox *s)
{
    return s->pid;
}

int sandbox_pidfd(const struct sandbox *s)
{
    return s->pidfd;
}

static void remove_group(struct cgroup *g)
{
    struct error err = ERROR_INIT;
    if (g != NULL && cgroup_remove(g, &err) < 0)
        fprintf(stderr, "cloche: %s\n", err.message);
}

void sandbox_slot_done(struct sandbox_slot *slot)
{
    cleanup_close(&slot->network);
    slot->network = -1;
    remove_group(TAKE_PTR(slot->group));
}

/** What the next may take over. */
static void leave_to_slot(struct sandbox *s, struct sandbox_slot *slot)
{
    if (!s->ended || s->report.verdict != VERDICT_OK)
        sandbox_slot_done(slot);
    else if (s->cgroup != NULL && cgroup_renew(s->cgroup, &s->stats))
        slot->group = TAKE_PTR(s->cgroup);
}

void sandbox_free(struct sandbox *s)
{
    if (s == NULL)
        return;
    if (s->pid > 0 && !s->reaped) {
        sys_pidfd_send_signal(s->pidfd, SIGKILL);
        waitpid(s->pid, NULL, __WALL);
        namespaces_end_tree(&s->plan);
    }
    if (s->free_children != NULL)
        s->free_children(s);
    if (s->terminal_fd >= 0)
        tcsetattr(s->terminal_fd, TCSADRAIN, &s->terminal_saved);
    for (size_t i = 0; i < s->pump_count; i++)
        pump_close(&s->pumps[i]);
    const int fds[] = {s->pidfd, s->control, s->epoll, s->timer, s->listener};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        cleanup_close(&fds[i]);
    for (int i = 0; i < NS_COUNT; i++)
        cleanup_close(&s->plan.ns_fds[i]);
    cleanup_close(&s->plan.kill_fd);
    cleanup_close(&s->plan.template_fd);
    if (s->plan.slot != NULL)
        leave_to_slot(s, s->plan.slot);
    remove_group(s->cgroup);
    namespaces_close(&s->plan);
    rootfs_close(&s->plan);
    seccomp_filter_free(&s->plan.filter);
    caps_plan_free(&s->plan.caps);
    idmap_release(&s->plan.idmap);
    arena_free(s->plan.arena);
    free(s);
}
