/* The parent's one epoll: end of init, messages, timers, memory events, the filter's notifications,
 * output. */
#include "isolation/sandbox_impl.h"

#include "base/syscalls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define CPU_CHECK_MIN_NS 2000000ULL
#define FLUSH_GRACE_NS   500000000L

int watch_add(struct sandbox *s, int fd, uint32_t events, uint32_t tag)
{
    struct epoll_event e = {.events = events, .data.u32 = tag};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

int watch_open(struct sandbox *s, struct error *err)
{
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || watch_add(s, s->pidfd, EPOLLIN, WATCH_PIDFD) < 0 ||
        watch_add(s, s->control, EPOLLIN, WATCH_CONTROL) < 0)
        return error_set(err, "sandbox.watch", errno, "cannot watch the sandbox");
    const struct spec *spec = s->spec;
    if (spec->wall_ms != LIMIT_NONE || spec->cpu_time_ms != LIMIT_NONE) {
        s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (s->timer < 0 || watch_add(s, s->timer, EPOLLIN, WATCH_TIMER) < 0)
            return error_set(err, "sandbox.watch", errno, "cannot make a timer for the limits");
    }
    uint32_t events = 0;
    int memory = cgroup_memory_event_fd(s->cgroup, &events);
    int pressure = cgroup_memory_pressure_fd(s->cgroup);
    if ((memory >= 0 && watch_add(s, memory, events, WATCH_MEMORY) < 0) ||
        (pressure >= 0 && watch_add(s, pressure, EPOLLIN, WATCH_PRESSURE) < 0))
        return error_set(err, "sandbox.watch", errno, "cannot watch the memory limit");
    return 0;
}

int64_t watch_cpu_usec(struct sandbox *s)
{
    if (cgroup_measured_by(s->cgroup, CGROUP_CPU) != MEANS_NONE)
        return cgroup_cpu_usec(s->cgroup);
    int64_t used = s->reaped ? -1 : tree_cpu_usec(s->pid);
    if (used > s->sampled_usec)
        s->sampled_usec = used;
    return used;
}

/** Of a CPU time that is limited; -1. */
static int64_t limited_cpu_usec(struct sandbox *s)
{
    return s->spec->cpu_time_ms != LIMIT_NONE ? watch_cpu_usec(s) : -1;
}

/** The next moment at which a limit can have been reached: the wall deadline, or the earliest that
 * all CPUs together could have used up the CPU time that is left. */
static void arm(struct sandbox *s, int64_t used)
{
    const struct spec *spec = s->spec;
    uint64_t next = s->wall_deadline_ns, now = plan_now_ns();
    if (used >= 0) {
        uint64_t limit = spec->cpu_time_ms * 1000ULL;
        uint64_t left_ns = (uint64_t)used >= limit ? 0 : (limit - (uint64_t)used) * 1000ULL;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        left_ns /= cpus > 0 ? (uint64_t)cpus : 1;
        if (left_ns < CPU_CHECK_MIN_NS)
            left_ns = CPU_CHECK_MIN_NS;
        if (next == 0 || now + left_ns < next)
            next = now + left_ns;
    }
    if (next == 0)
        return;
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(next / 1000000000ULL),
                                        .tv_nsec = (long)(next % 1000000000ULL)}};
    timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

void watch_arm(struct sandbox *s)
{
    if (s->timer < 0)
        return;
    if (s->spec->wall_ms != LIMIT_NONE)
        s->wall_deadline_ns = s->start_ns + s->spec->wall_ms * 1000000ULL;
    arm(s, limited_cpu_usec(s));
}

static void on_timer(struct sandbox *s)
{
    uint64_t expirations;
    if (read(s->timer, &expirations, sizeof expirations) < 0)
        return;
    if (s->flushing)
        pump_drop(s);
    if (s->flushing || s->exited)
        return;
    if (s->wall_deadline_ns != 0 && plan_now_ns() >= s->wall_deadline_ns) {
        sandbox_kill(s, VERDICT_TIME_LIMIT, "ran longer than the wall time limit");
        return;
    }
    int64_t used = limited_cpu_usec(s);
    if (used >= 0 && (uint64_t)used >= s->spec->cpu_time_ms * 1000ULL) {
        sandbox_kill(s, VERDICT_TIME_LIMIT, "used more than the CPU time limit");
        return;
    }
    arm(s, used);
}

/** What a tree wrote before a limit ended it is handed out, but not to a reader who does not read:
 * the end would wait for him, whatever the limit. */
static int bound_flush(struct sandbox *s, struct error *err)
{
    if (s->flushing)
        return 0;
    s->flushing = true;
    if (s->timer < 0) {
        s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (s->timer < 0 || watch_add(s, s->timer, EPOLLIN, WATCH_TIMER) < 0)
            return error_set(err, "sandbox.watch", errno, "cannot make a timer for the output");
    }
    struct itimerspec t = {.it_value = {.tv_nsec = FLUSH_GRACE_NS}};
    timerfd_settime(s->timer, 0, &t, NULL);
    return 0;
}

/** The program runs from here on: its clocks start. */
static void begin(struct sandbox *s, uint64_t time_ns)
{
    if (s->start_ns != 0)
        return;
    s->start_ns = time_ns;
    watch_arm(s);
}

void watch_program_seen(struct sandbox *s)
{
    s->started = true;
    begin(s, plan_now_ns());
}

void watch_message(struct sandbox *s, const struct message *m, int fd)
{
    if (m->child != 0 && s->on_child != NULL) {
        s->on_child(s, m, fd);
        return;
    }
    if (m->type == MESSAGE_STARTED && !s->started) {
        s->started = true;
        begin(s, m->time_ns);
    } else if (m->type == MESSAGE_FAILED && !s->started) {
        s->failed = true;
        step_error(&s->plan, m, &s->failure);
    } else if (m->type == MESSAGE_EXITED && !s->exited) {
        s->started = s->exited = true;
        s->status = m->value;
        s->end_ns = m->time_ns;
        report_measure(s); /* while init dies, */
        if (s->stats_final && s->plan.slot == NULL)
            cgroup_unwatch(s->cgroup); /* which takes longer than to look for what is left */
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->control, NULL); /* its pidfd tells the rest */
    } else if (m->type == MESSAGE_LISTENER && fd >= 0 && s->listener < 0) {
        s->listener = fd;
        fd = -1;
        begin(s, m->time_ns);
        watch_add(s, s->listener, EPOLLIN, WATCH_LISTENER);
    } else if (m->type == MESSAGE_TERMINAL && fd >= 0 && s->terminal < 0) {
        s->terminal = fd;
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
}

static void on_control(struct sandbox *s)
{
    struct message m;
    int fd = -1, rc = message_receive(s->control, &m, &fd, MSG_DONTWAIT);
    if (rc == 1)
        watch_message(s, &m, fd);
    else if (rc == 0) /* init is gone: its pidfd tells the rest */
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->control, NULL);
    else if (errno != EAGAIN)
        sandbox_kill(s, VERDICT_SETUP_ERROR, "its init sent what is no message");
}

static void on_listener(struct sandbox *s)
{
    const char *name;
    int pid;
    uint64_t id;
    /* never answered: the caller stands still until it is killed, and does not go on to some end of
     * its own meanwhile */
    if (seccomp_receive_notification(s->listener, &name, &pid, &id) < 0) {
        if (errno != ENOENT && errno != EAGAIN && errno != EINTR)
            epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->listener, NULL);
        return;
    }
    watch_program_seen(s);
    if (s->report.blocked_syscall == NULL)
        s->report.blocked_syscall = name;
    char detail[96];
    snprintf(detail, sizeof detail, "called %s, which the filter never allows", name);
    sandbox_kill(s, VERDICT_BLOCKED_SYSCALL, detail);
}

static void on_pidfd(struct sandbox *s)
{
    int status;
    if (s->reaped || wait4(s->pid, &status, __WALL, &s->usage) != s->pid)
        return;
    s->reaped = true;
    s->init_status = status;
    namespaces_end_tree(&s->plan);
    namespaces_release(&s->plan);
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->pidfd, NULL);
    /* what init said before it went */
    struct message m;
    int fd;
    while (message_receive(s->control, &m, &fd, MSG_DONTWAIT) == 1)
        watch_message(s, &m, fd);
    if (s->end_ns == 0)
        s->end_ns = plan_now_ns();
}

static bool output_done(const struct sandbox *s)
{
    for (size_t i = 0; i < s->pump_count; i++) {
        if (!s->pumps[i].done && !s->pumps[i].terminal_input)
            return false;
    }
    return true;
}

int sandbox_event_fd(const struct sandbox *s)
{
    return s->epoll;
}

int sandbox_dispatch(struct sandbox *s, struct error *err)
{
    if (s->ended)
        return 1;
    struct epoll_event events[8];
    int n = epoll_wait(s->epoll, events, 8, 0);
    if (n < 0 && errno != EINTR)
        return error_set(err, "sandbox.watch", errno, "cannot watch the sandbox");
    for (int i = 0; i < n; i++) {
        uint32_t tag = events[i].data.u32;
        if (tag == WATCH_PIDFD)
            on_pidfd(s);
        else if (tag == WATCH_CONTROL)
            on_control(s);
        else if (tag == WATCH_TIMER)
            on_timer(s);
        else if (tag >= WATCH_CHILD && s->on_child_event != NULL)
            s->on_child_event(s, tag, events[i].events);
        else if (tag == WATCH_MEMORY && s->on_memory != NULL)
            s->on_memory(s);
        else if (tag == WATCH_PRESSURE && s->on_pressure != NULL)
            s->on_pressure(s);
        else if (tag == WATCH_MEMORY || tag == WATCH_PRESSURE) {
            if ((tag == WATCH_MEMORY && cgroup_memory_exceeded(s->cgroup)) ||
                cgroup_memory_thrashes(s->cgroup))
                sandbox_kill(s, VERDICT_MEMORY_LIMIT, "needed more than the memory limit");
        } else if (tag == WATCH_LISTENER) {
            if ((events[i].events & EPOLLIN) != 0)
                on_listener(s);
            else { /* nobody is left under the filter */
                close(s->listener);
                s->listener = -1;
            }
        } else
            pump_event(s, tag);
    }
    if (s->reaped && (s->failed || s->start_ns == 0))
        return launch_failed(s, err);
    if (s->reaped && s->verdict_set && !output_done(s) && bound_flush(s, err) < 0)
        return -1;
    if (s->reaped && output_done(s)) {
        report_finish(s);
        s->ended = true;
        return 1;
    }
    return 0;
}
