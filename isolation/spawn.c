/* The outside of serving sandboxes: commands go down as files, what becomes of them comes
 * back through the one epoll of the sandbox. The inside is serve.c, the wire is spawn.h. */
#include "isolation/spawn.h"

#include "base/io.h"
#include "base/syscalls.h"
#include "isolation/crowd.h"
#include "isolation/sandbox_impl.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct listener {
    int child, fd;
};

/** What init may still say of a child, and send with it: each once. */
enum { MAY_LISTENER = 1, MAY_START = 2, MAY_TERMINAL = 4, MAY_FILE = 8 };

struct child {
    int number;
    unsigned may;
    pid_t guard;  /* its namespace's init, while what a child uses can be counted; else 0 */
    bool crowded; /* it was killed for its many processes */
    bool starved; /* it was killed for its memory, by us */
};

struct children {
    struct child alive[SPAWN_MAX_CHILDREN]; /* asked for, and not said to have ended */
    size_t alive_count;
    sandbox_child_fn *call;
    void *context;
    int last; /* number given */
    uint64_t oom_kills;
    uint64_t own_kills; /* for memory, which the kernel would have left standing */
    bool oom_noticed;   /* and no kill seen yet: v1 gives notice before it kills */
    struct listener listeners[SPAWN_MAX_CHILDREN];
    size_t listener_count;
    struct {
        int child;
        const char *syscall;
    } blocked[SPAWN_MAX_CHILDREN];
    size_t blocked_count;
    uint64_t crowd_next_ns;
};

static struct child *find_child(struct children *c, int number)
{
    for (size_t i = 0; i < c->alive_count; i++) {
        if (c->alive[i].number == number)
            return &c->alive[i];
    }
    return NULL;
}

/** Whether init may say this of that child now; it is all the same to a keeper if init lies, as
 * long as lies come to an end. */
static bool allowed(struct children *c, const struct message *m, int fd)
{
    static const struct {
        int type;
        unsigned may;
    } once[] = {{MESSAGE_LISTENER, MAY_LISTENER},
                {MESSAGE_STARTED, MAY_START},
                {MESSAGE_TERMINAL, MAY_TERMINAL},
                {MESSAGE_FILE, MAY_FILE}};
    struct child *child = find_child(c, m->child);
    if (child == NULL)
        return false;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        if (once[i].type != m->type)
            continue;
        bool may = (child->may & once[i].may) != 0 && fd >= 0;
        child->may &= ~once[i].may;
        return may;
    }
    if (fd >= 0 || (m->type != MESSAGE_FAILED && m->type != MESSAGE_EXITED))
        return false;
    *child = c->alive[--c->alive_count];
    return true;
}

/** Forget what was blocked of a child that has ended. */
static const char *take_blocked(struct children *c, int child)
{
    for (size_t i = 0; i < c->blocked_count; i++) {
        if (c->blocked[i].child != child)
            continue;
        const char *name = c->blocked[i].syscall;
        c->blocked[i] = c->blocked[--c->blocked_count];
        return name;
    }
    return NULL;
}

static void add_listener(struct sandbox *s, int child, int fd)
{
    struct children *c = s->children;
    if (c->listener_count == SPAWN_MAX_CHILDREN) { /* calls of the never tier stand still, then */
        close(fd);
        return;
    }
    for (uint32_t i = 0; i < SPAWN_MAX_CHILDREN; i++) {
        if (c->listeners[i].fd >= 0)
            continue;
        c->listeners[i] = (struct listener){.child = child, .fd = fd};
        c->listener_count++;
        watch_add(s, fd, EPOLLIN, WATCH_CHILD + i);
        return;
    }
}

static void drop_listener(struct sandbox *s, struct listener *l)
{
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    close(l->fd);
    l->fd = -1;
    s->children->listener_count--;
}

/** The limit of processes is the sandbox's. A child that has used most of it when another could not
 * start dies of it alone, as with memory. */
static void thin_out(struct sandbox *s)
{
    struct children *c = s->children;
    struct crowd_part parts[SPAWN_MAX_CHILDREN];
    uint64_t limit = s->spec->resources.processes, began_ns = plan_now_ns();
    if (began_ns < c->crowd_next_ns)
        return;
    for (size_t i = 0; i < c->alive_count; i++)
        parts[i] = (struct crowd_part){.guard = c->alive[i].guard};
    crowd_count(s->cgroup, s->pid, parts, c->alive_count);
    /* it takes time in proportion to what runs: of all time at most a twentieth */
    c->crowd_next_ns = plan_now_ns() + 20 * (plan_now_ns() - began_ns);
    for (size_t i = 0; i < c->alive_count; i++) {
        if (parts[i].tasks <= limit / 2 || c->alive[i].crowded)
            continue;
        c->alive[i].crowded = true;
        sandbox_child_signal(s, c->alive[i].number, SIGKILL);
    }
}

static void on_listener(struct sandbox *s, uint32_t tag, uint32_t events)
{
    struct children *c = s->children;
    uint32_t i = tag - WATCH_CHILD;
    if (i >= SPAWN_MAX_CHILDREN || c->listeners[i].fd < 0)
        return;
    struct listener *l = &c->listeners[i];
    const char *name;
    int pid;
    uint64_t id;
    if ((events & EPOLLIN) == 0) { /* nobody is left under the filter */
        drop_listener(s, l);
        return;
    }
    /* never answered: the caller stands still until it is killed */
    if (seccomp_receive_notification(l->fd, &name, &pid, &id) < 0) {
        if (errno != ENOENT && errno != EAGAIN && errno != EINTR) /* no filter's: it would spin */
            drop_listener(s, l);
        return;
    }
    if (c->blocked_count < SPAWN_MAX_CHILDREN) {
        c->blocked[c->blocked_count].child = l->child;
        c->blocked[c->blocked_count++].syscall = name;
    }
    sandbox_child_signal(s, l->child, SIGKILL);
}

static const struct sandbox_child_event memory_event = {.type = CHILD_MEMORY, .fd = -1};

/** Killed by us, and on its way out. */
static bool any_starved(const struct children *c)
{
    bool any = false;
    for (size_t i = 0; i < c->alive_count; i++)
        any = any || c->alive[i].starved;
    return any;
}

static void look_for_kills(struct sandbox *s)
{
    struct cgroup_stats stats = {0};
    if (cgroup_read_outcome(s->cgroup, &stats) < 0)
        return;
    bool killed = stats.oom_kills > s->children->oom_kills;
    s->children->oom_noticed = !killed;
    s->children->oom_kills = stats.oom_kills;
    if (killed && !any_starved(s->children))
        s->children->call(s->children->context, &memory_event);
}

/** All stand at the limit of memory and make no way: who has most of it dies of it. */
static void end_standstill(struct sandbox *s)
{
    struct children *c = s->children;
    struct crowd_part parts[SPAWN_MAX_CHILDREN];
    struct child *most = NULL;
    uint64_t pages = 0;
    if (!cgroup_memory_thrashes(s->cgroup) || any_starved(c))
        return;
    for (size_t i = 0; i < c->alive_count; i++)
        parts[i] = (struct crowd_part){.guard = c->alive[i].guard};
    crowd_count(s->cgroup, s->pid, parts, c->alive_count);
    for (size_t i = 0; i < c->alive_count; i++) {
        if (parts[i].guard != 0 && parts[i].pages > pages) {
            most = &c->alive[i];
            pages = parts[i].pages;
        }
    }
    if (most == NULL || sandbox_child_signal(s, most->number, SIGKILL) < 0)
        return;
    most->starved = true;
    c->own_kills++;
    c->call(c->context, &memory_event);
}

static void on_memory(struct sandbox *s)
{
    uint32_t events;
    char text[2048];
    int fd = cgroup_memory_event_fd(s->cgroup, &events);
    /* taken, or epoll would say it again at once: an eventfd of v1 by reading, v2's file, too */
    if ((events == EPOLLIN ? read(fd, text, sizeof(uint64_t)) : pread(fd, text, sizeof text, 0)) <
        0)
        return;
    look_for_kills(s);
    end_standstill(s);
}

static void on_child(struct sandbox *s, const struct message *m, int fd)
{
    struct children *c = s->children;
    struct error failure = ERROR_INIT;
    struct sandbox_child_event e = {
        .child = m->child, .fd = fd, .time_ns = m->time_ns, .status = m->value};
    struct child *known = find_child(c, m->child);
    e.process_limit = known != NULL && known->crowded;
    if (!allowed(c, m, fd)) {
        cleanup_close(&fd);
        return;
    }
    if (m->type == MESSAGE_LISTENER) {
        add_listener(s, m->child, fd);
        return;
    }
    if (m->type == MESSAGE_STARTED) {
        e.type = CHILD_STARTED;
        if (known != NULL && (s->spec->resources.processes != LIMIT_NONE ||
                              s->spec->resources.memory_bytes != LIMIT_NONE))
            known->guard = sandbox_pid_of(fd);
    } else if (m->type == MESSAGE_TERMINAL) {
        e.type = CHILD_TERMINAL;
    } else if (m->type == MESSAGE_FILE) {
        e.type = CHILD_FILE;
    } else if (m->type == MESSAGE_FAILED) {
        e.type = CHILD_FAILED;
        take_blocked(c, m->child);
        step_error(&s->plan, m, &failure);
        if (m->errnum == EAGAIN && s->spec->resources.processes != LIMIT_NONE) {
            thin_out(s);
            error_hint(&failure, "other commands have all the processes that the sandbox may have; "
                                 "try again, or raise its limit");
        }
        e.error = &failure;
    } else {
        e.type = CHILD_EXITED;
        if (c->oom_noticed) /* before its end is told: that it was for memory */
            look_for_kills(s);
        e.user_us = m->user_us;
        e.system_us = m->system_us;
        e.max_rss_bytes = m->max_rss_kib > 0 ? (uint64_t)m->max_rss_kib * 1024 : 0;
        e.blocked_syscall = take_blocked(c, m->child);
    }
    c->call(c->context, &e);
}

static void free_children(struct sandbox *s)
{
    for (size_t i = 0; s->children != NULL && i < SPAWN_MAX_CHILDREN; i++)
        cleanup_close(&s->children->listeners[i].fd);
    free(s->children);
    s->children = NULL;
}

static void adjust(struct sandbox *s)
{
    s->plan.serve = serve_main;
    s->on_child = on_child;
    s->on_child_event = on_listener;
    s->on_memory = on_memory;
    s->on_pressure = end_standstill;
    s->free_children = free_children;
}

/** A child that needs too much memory dies alone (v2; v1 has no such file). */
static void let_die_alone(const struct sandbox *s)
{
    int v2 = cgroup_v2_fd(s->cgroup);
    if (v2 >= 0)
        io_write_file_at(v2, "memory.oom.group", "0");
}

int sandbox_serve(struct sandbox **ret, const struct spec *spec, const char *id, int network,
                  sandbox_child_fn *call, void *context, struct error *err)
{
    _cleanup_sandbox_ struct sandbox *s = NULL;
    struct sandbox_slot slot = {.network = network};
    struct children *c = calloc(1, sizeof *c);
    if (c == NULL) {
        sandbox_slot_done(&slot);
        return error_set(err, "sandbox.memory", ENOMEM, "cannot make a sandbox");
    }
    for (size_t i = 0; i < SPAWN_MAX_CHILDREN; i++)
        c->listeners[i].fd = -1;
    c->call = call;
    c->context = context;
    const struct sandbox_options options = {.slot =
                                                namespaces_is_other_network(network) ? &slot : NULL,
                                            .input = {.kind = STREAM_NULL},
                                            .output = {.kind = STREAM_NULL},
                                            .error = {.kind = STREAM_NULL},
                                            .id = id,
                                            .terminal_fd = -1};
    int rc = launch_run(&s, spec, &options, adjust, err);
    if (rc == 0)
        s->plan.slot = NULL; /* it is the sandbox's now */
    sandbox_slot_done(&slot);
    if (rc < 0) {
        free(c);
        return -1;
    }
    s->children = c;
    let_die_alone(s);
    *ret = TAKE_PTR(s);
    return 0;
}

bool sandbox_serves(const struct sandbox *s)
{
    return s->started;
}

/* --- commands ------------------------------------------------------------------------------------
 */

/** @to: NULL while the room is only counted. */
static bool append(char *to, const char *text, uint32_t *bytes)
{
    size_t n = strlen(text) + 1;
    if (n > SPAWN_MAX_BYTES || *bytes + n > SPAWN_MAX_BYTES - sizeof(struct spawn_command))
        return false;
    if (to != NULL)
        memcpy(to + *bytes, text, n);
    *bytes += (uint32_t)n;
    return true;
}

static bool is_ready_variable(const char *text)
{
    return strncmp(text, "CLOCHE_READY_FD=", 16) == 0;
}

static bool lay_out(const struct spec *spec, const struct sandbox_command *command, char *to,
                    struct spawn_command *head)
{
    char *const *env = command->env != NULL ? command->env : spec->env.items;
    head->bytes = head->arg_count = head->env_count = 0;
    bool fits = append(to, command->cwd != NULL ? command->cwd : spec->cwd, &head->bytes);
    for (char *const *p = command->args; fits && *p != NULL; p++, head->arg_count++)
        fits = append(to, *p, &head->bytes);
    for (char *const *p = env; fits && p != NULL && *p != NULL; p++) {
        if (is_ready_variable(*p))
            continue;
        fits = append(to, *p, &head->bytes);
        head->env_count++;
    }
    if (fits && command->ready_fd >= 0) {
        fits = append(to, "CLOCHE_READY_FD=3", &head->bytes);
        head->env_count++;
    }
    return fits && head->arg_count <= SPAWN_MAX_STRINGS &&
           head->env_count <= SPAWN_MAX_STRINGS - head->arg_count;
}

static int write_command(const struct spec *spec, const struct sandbox_command *command,
                         struct error *err)
{
    struct spawn_command head = {
        .magic = SPAWN_MAGIC,
        .uid = command->user_given ? command->uid : spec->uid,
        .gid = command->user_given ? command->gid : spec->gid,
        .rows = command->rows,
        .columns = command->columns,
        .terminal = command->terminal,
        .open = (uint8_t)command->open,
        .mode = command->mode,
        .has_ready = command->ready_fd >= 0,
        .has_program = command->program_given,
    };
    if (!lay_out(spec, command, NULL, &head)) {
        error_set(err, "sandbox.command", E2BIG, "the command is too long");
        return error_hint(err, "arguments and environment together stay below 1 MiB");
    }
    if (head.arg_count == 0 || command->args[0][0] == '\0')
        return error_set(err, "sandbox.command", 0, "no command given");
    _cleanup_free_ char *whole = malloc(sizeof head + head.bytes);
    _cleanup_close_ int fd = memfd_create("command", MFD_CLOEXEC);
    if (whole == NULL || fd < 0 || !lay_out(spec, command, whole + sizeof head, &head))
        return error_set(err, "sandbox.command", errno, "cannot hand over the command");
    memcpy(whole, &head, sizeof head);
    if (io_write_all(fd, whole, sizeof head + head.bytes) < 0)
        return error_set(err, "sandbox.command", errno, "cannot hand over the command");
    return TAKE_FD(fd);
}

int sandbox_spawn(struct sandbox *s, const struct sandbox_command *command, struct error *err)
{
    struct children *c = s->children;
    _cleanup_close_ int file = write_command(s->spec, command, err);
    if (file < 0)
        return -1;
    int fds[SPAWN_MAX_FDS] = {file};
    size_t count = 1;
    for (int i = 0; i < 3 && !command->terminal && command->open == OPEN_NOTHING; i++)
        fds[count++] = command->streams[i];
    if (command->ready_fd >= 0)
        fds[count++] = command->ready_fd;
    if (command->program_given)
        fds[count++] = command->program;
    if (c->alive_count == SPAWN_MAX_CHILDREN)
        return error_set(err, "sandbox.control", EAGAIN, "as many commands as may run already");
    c->last = c->last == INT32_MAX ? 1 : c->last + 1;
    const struct message m = {.type = MESSAGE_SPAWN, .child = c->last};
    if (message_send_fds(s->control, &m, fds, (unsigned)count) < 0)
        return error_set(err, "sandbox.control", errno, "cannot reach init of the sandbox");
    c->alive[c->alive_count++] = (struct child){
        .number = c->last,
        .may = command->open != OPEN_NOTHING
                   ? MAY_FILE
                   : MAY_LISTENER | MAY_START | (command->terminal ? MAY_TERMINAL : 0)};
    return c->last;
}

int sandbox_child_signal(struct sandbox *s, int child, int sig)
{
    const struct message m = {.type = MESSAGE_CHILD_SIGNAL, .child = child, .value = sig};
    return s->reaped ? 0 : message_send(s->control, &m, -1);
}

int sandbox_usage(const struct sandbox *s, struct sandbox_usage *ret)
{
    struct cgroup_stats stats = {0};
    if (cgroup_read_stats(s->cgroup, &stats) < 0)
        return -1;
    *ret = (struct sandbox_usage){
        .cpu_us = stats.cpu_usec,
        .user_us = stats.user_usec,
        .system_us = stats.system_usec,
        .memory_bytes = stats.memory_bytes,
        .memory_peak_bytes = stats.memory_peak_bytes,
        .processes = stats.processes,
        .processes_peak = stats.processes_peak,
        .oom_kills = stats.oom_kills + (s->children != NULL ? s->children->own_kills : 0),
        .io_read_bytes = stats.io_read_bytes,
        .io_write_bytes = stats.io_write_bytes,
        .memory_cache_bytes = stats.memory_cache_bytes,
        .process_limit_hits = stats.process_limit_hits,
        .memory_by = cgroup_enforced_by(s->cgroup, CGROUP_MEMORY),
        .processes_by = cgroup_enforced_by(s->cgroup, CGROUP_PROCESSES),
        .cpu_by = cgroup_enforced_by(s->cgroup, CGROUP_CPU),
        .memory_known = cgroup_measured_by(s->cgroup, CGROUP_MEMORY) != MEANS_NONE,
        .processes_known = cgroup_measured_by(s->cgroup, CGROUP_PROCESSES) != MEANS_NONE,
        .cpu_known = cgroup_measured_by(s->cgroup, CGROUP_CPU) != MEANS_NONE,
    };
    memcpy(ret->pressure_some_us, stats.pressure_some_usec, sizeof ret->pressure_some_us);
    return 0;
}

int sandbox_update(struct sandbox *s, const struct spec_resources *resources, struct error *err)
{
    int rc = cgroup_update(s->cgroup, resources, s->spec->enforce_required, err);
    let_die_alone(s);
    return rc;
}

bool sandbox_can_throttle(const struct sandbox *s)
{
    const struct spec_resources *r = &s->spec->resources;
    return (r->memory_bytes == LIMIT_NONE || cgroup_can_throttle(s->cgroup, CGROUP_MEMORY)) &&
           (r->cpu_quota_us == LIMIT_NONE || cgroup_can_throttle(s->cgroup, CGROUP_CPU));
}

int sandbox_throttle(struct sandbox *s, const struct spec_resources *resources, uint64_t high_bytes,
                     bool slower, struct error *err)
{
    return cgroup_throttle(s->cgroup, resources, high_bytes, slower, err);
}

int sandbox_close(struct sandbox *s, struct error *err)
{
    int rc = 0;
    if (!s->reaped && s->pid > 0) {
        sys_pidfd_send_signal(s->pidfd, SIGKILL);
        s->reaped = waitpid(s->pid, &s->init_status, __WALL) == s->pid;
    }
    if (s->cgroup != NULL)
        rc = cgroup_remove(TAKE_PTR(s->cgroup), err);
    sandbox_free(s);
    return rc;
}

int sandbox_sweep(const char *id, struct error *err)
{
    return cgroup_sweep(id, err);
}

int sandbox_sweep_all(struct error *err)
{
    return cgroup_sweep_sandboxes(err);
}
