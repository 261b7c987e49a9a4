/* What happened, in one word and in figures. */
#include "isolation/sandbox_impl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {
        [VERDICT_OK] = "ok",
        [VERDICT_RUNTIME_ERROR] = "runtime_error",
        [VERDICT_TIME_LIMIT] = "time_limit",
        [VERDICT_MEMORY_LIMIT] = "memory_limit",
        [VERDICT_OUTPUT_LIMIT] = "output_limit",
        [VERDICT_PROCESS_LIMIT] = "process_limit",
        [VERDICT_BLOCKED_SYSCALL] = "blocked_syscall",
        [VERDICT_COMPILE_ERROR] = "compile_error",
        [VERDICT_WRONG_ANSWER] = "wrong_answer",
        [VERDICT_SETUP_ERROR] = "setup_error",
    };
    return names[v];
}

const char *means_name(enum means m)
{
    static const char *const names[] = {
        [MEANS_NONE] = "none",     [MEANS_CGROUP2] = "cgroup2", [MEANS_CGROUP1] = "cgroup1",
        [MEANS_RLIMIT] = "rlimit", [MEANS_RUSAGE] = "rusage",   [MEANS_TIMER] = "timer",
    };
    return names[m];
}

static double ms_of(const struct timeval *t)
{
    return (double)t->tv_sec * 1e3 + (double)t->tv_usec / 1e3;
}

static void set(struct report *r, enum verdict v, const char *detail)
{
    r->verdict = v;
    snprintf(r->detail, sizeof r->detail, "%s", detail);
}

void report_measure(struct sandbox *s)
{
    cgroup_read_outcome(s->cgroup, &s->stats);
    /* a peak says that processes are counted at all */
    s->stats_final = s->stats.processes <= 1 && s->stats.processes_peak != 0;
}

static void measure(struct sandbox *s)
{
    struct report *r = &s->report;
    const struct cgroup_stats *stats = &s->stats;
    if (!s->stats_final)
        report_measure(s);

    r->wall_ms = s->start_ns == 0 ? 0 : (double)(s->end_ns - s->start_ns) / 1e6;
    r->end_ns = s->end_ns;
    r->measured_by.cpu = cgroup_measured_by(s->cgroup, CGROUP_CPU);
    r->measured_by.memory = cgroup_measured_by(s->cgroup, CGROUP_MEMORY);
    if (r->measured_by.cpu != MEANS_NONE) {
        r->cpu_ms = (double)stats->cpu_usec / 1e3;
        r->user_ms = (double)stats->user_usec / 1e3;
        r->system_ms = (double)stats->system_usec / 1e3;
    } else {
        r->measured_by.cpu = MEANS_RUSAGE;
        r->user_ms = ms_of(&s->usage.ru_utime);
        r->system_ms = ms_of(&s->usage.ru_stime);
        r->cpu_ms = r->user_ms + r->system_ms;
        if ((double)s->sampled_usec > r->cpu_ms * 1e3) { /* killed: see sandbox_kill() */
            r->measured_by.cpu = MEANS_TIMER;
            r->cpu_ms = (double)s->sampled_usec / 1e3;
            r->user_ms = r->cpu_ms - r->system_ms;
        }
    }
    if (r->measured_by.memory != MEANS_NONE) {
        r->memory_peak_bytes = stats->memory_peak_bytes;
    } else {
        r->measured_by.memory = MEANS_RUSAGE;
        r->memory_peak_bytes = (uint64_t)s->usage.ru_maxrss * 1024;
    }
    r->processes_peak = stats->processes_peak - (stats->processes_peak > 0); /* without init */
    for (size_t i = 0; i < s->pump_count && r->output_errno == 0; i++)
        r->output_errno = s->pumps[i].failed;
    r->stdout_bytes = s->stdout_pump != NULL ? (int64_t)s->stdout_pump->bytes : -1;
    r->stderr_bytes = s->stderr_pump != NULL ? (int64_t)s->stderr_pump->bytes : -1;
}

static void enforced(struct sandbox *s)
{
    struct report *r = &s->report;
    const struct plan *p = &s->plan;
    r->enforced_by.memory = (p->fallbacks & PLAN_FALLBACK_MEMORY) != 0
                                ? MEANS_RLIMIT
                                : cgroup_enforced_by(s->cgroup, CGROUP_MEMORY);
    r->enforced_by.processes = (p->fallbacks & PLAN_FALLBACK_PROCESSES) != 0
                                   ? MEANS_RLIMIT
                                   : cgroup_enforced_by(s->cgroup, CGROUP_PROCESSES);
    r->enforced_by.cpu = (p->fallbacks & PLAN_FALLBACK_CPU) != 0 ? MEANS_RLIMIT
                         : s->sample_cpu                         ? MEANS_TIMER
                                         : cgroup_enforced_by(s->cgroup, CGROUP_CPU);
}

/** SIGXCPU (at the soft limit) and SIGKILL (at the hard one) are the kernel's only near an rlimit;
 * anybody can send one. Half of it: the kernel counts its rlimit by ticks. */
static bool is_cpu_rlimit(const struct sandbox *s)
{
    const struct spec *spec = s->spec;
    uint64_t seconds = (s->plan.fallbacks & PLAN_FALLBACK_CPU) != 0
                           ? (spec->cpu_time_ms + 999) / 1000
                           : UINT64_MAX;
    for (size_t i = 0; i < spec->rlimit_count; i++) {
        const struct spec_rlimit *r = &spec->rlimits[i];
        if (r->resource == RLIMIT_CPU && r->soft < seconds)
            seconds = r->soft;
    }
    return seconds != UINT64_MAX && s->report.cpu_ms >= (double)seconds * 500;
}

void report_finish(struct sandbox *s)
{
    struct report *r = &s->report;
    measure(s);
    enforced(s);

    r->exit_code = -1;
    r->signal = 0;
    if (s->exited && WIFEXITED(s->status))
        r->exit_code = WEXITSTATUS(s->status);
    else
        r->signal = s->exited ? WTERMSIG(s->status) : SIGKILL;

    /* the cause outranks the symptom: out of memory before killed, too many processes before timed
     * out */
    const bool serves = s->children != NULL; /* its children's causes are not its own */
    if (!serves && cgroup_memory_exceeded(s->cgroup) &&
        (!s->verdict_set || r->verdict == VERDICT_TIME_LIMIT)) {
        set(r, VERDICT_MEMORY_LIMIT, "needed more than the memory limit");
        s->verdict_set = true;
    }
    bool failed = s->verdict_set ? r->verdict == VERDICT_TIME_LIMIT : r->exit_code != 0;
    if (!serves && failed && s->stats.process_limit_hits > 0) {
        set(r, VERDICT_PROCESS_LIMIT, "needed more processes than the limit");
        s->verdict_set = true;
    }
    if (s->verdict_set)
        return;

    uint64_t cpu_limit = s->spec->cpu_time_ms;
    if ((cpu_limit != LIMIT_NONE && r->cpu_ms >= (double)cpu_limit) ||
        ((r->signal == SIGXCPU || r->signal == SIGKILL) && is_cpu_rlimit(s))) {
        set(r, VERDICT_TIME_LIMIT, "used more than the CPU time limit");
    } else if (r->signal == SIGSYS && s->spec->seccomp.kind != SECCOMP_UNCONFINED) {
        /* our lists kill for nothing else; which call a list of the user's killed for is not told
         */
        r->blocked_syscall = s->spec->seccomp.kind == SECCOMP_NAMED ? "foreign_abi" : NULL;
        set(r, VERDICT_BLOCKED_SYSCALL, "made a system call that the filter kills for");
    } else if (r->signal != 0) {
        char text[64];
        snprintf(text, sizeof text, "killed by signal %d (%s)", r->signal, strsignal(r->signal));
        set(r, VERDICT_RUNTIME_ERROR, text);
    } else if (r->exit_code != 0) {
        char text[64];
        snprintf(text, sizeof text, "exited with status %d", r->exit_code);
        set(r, VERDICT_RUNTIME_ERROR, text);
    } else {
        set(r, VERDICT_OK, "");
    }
}
