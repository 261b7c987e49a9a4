/**
 * spec -> running process tree; limits, stats, kill, verdict.
 *
 * Theory of operation. Three processes make a one-shot sandbox:
 *
 *   parent    the caller. Resolves everything that can fail while nothing runs yet (host fds, ids,
 * the filter, the cgroup), makes init by one clone3 with all namespaces, writes its id maps, then
 * watches. init      PID 1 inside, a forked copy of the caller. Builds the mounts, pivots, joins
 * the cgroup, makes itself untraceable, starts the program, reaps orphans, forwards signals. Its
 * end is the tree's end. program   drops everything, filters itself, execs.
 *
 *   parent --- control (socketpair) --- init        "go", signals down; failed step, pid, status up
 *   parent <-- notify fd (over control) -- program  calls of the filter's never tier
 *
 * Setup fails closed: the first step that fails in init or program goes up as (step, errno) and
 * sandbox_create or sandbox_start returns an error; the program never ran. The parent waits on one
 * epoll: pidfd, control, timer, output pipes, memory events, notify fd; nothing polls on a fixed
 * beat. When the parent dies, init is killed (parent-death signal, and the control socket's end),
 * and with it the tree.
 *
 * The create step and the start step are separate (OCI create/start): between them everything is in
 * place and the program waits before its exec.
 */
#ifndef CLOCHE_ISOLATION_SANDBOX_H
#define CLOCHE_ISOLATION_SANDBOX_H

#include "base/error.h"
#include "config/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum verdict {
    VERDICT_OK,
    VERDICT_RUNTIME_ERROR,
    VERDICT_TIME_LIMIT,
    VERDICT_MEMORY_LIMIT,
    VERDICT_OUTPUT_LIMIT,
    VERDICT_PROCESS_LIMIT,
    VERDICT_BLOCKED_SYSCALL,
    VERDICT_COMPILE_ERROR,
    VERDICT_WRONG_ANSWER,
    VERDICT_SETUP_ERROR,
};

/** "ok", "runtime_error", ...: the words of reports. */
const char *verdict_name(enum verdict v);

/** By what means a limit is enforced or a figure measured. */
enum means { MEANS_NONE, MEANS_CGROUP2, MEANS_CGROUP1, MEANS_RLIMIT, MEANS_RUSAGE, MEANS_TIMER };
const char *means_name(enum means m);

struct report {
    enum verdict verdict;
    int exit_code;                      /* -1 when ended by a signal or not run */
    int signal;                         /* 0 when exited */
    double wall_ms;                     /* from exec to the end of the program */
    uint64_t end_ns;                    /* CLOCK_MONOTONIC at that end: who ended first? */
    double cpu_ms, user_ms, system_ms;  /* of the whole tree */
    uint64_t memory_peak_bytes;         /* of the whole tree; by rusage: of its largest process */
    uint64_t processes_peak;            /* 0: not known */
    int64_t stdout_bytes, stderr_bytes; /* -1: not counted, as the program had the caller's fd */
    const char *blocked_syscall;        /* static or NULL */
    struct {
        enum means memory, processes, cpu;
    } enforced_by;
    struct {
        enum means memory, cpu;
    } measured_by;
    char detail[256]; /* a sentence for people, or "" */
    int output_errno; /* output was lost: it could not be written to the caller's fd; else 0 */
};

/** Where one of the program's standard streams comes from or goes to. */
enum stream_kind {
    STREAM_FD,      /* the program gets this very fd (a duplicate); bytes are not counted */
    STREAM_COPY,    /* the program gets a pipe; the parent copies to @fd and counts (output only) */
    STREAM_CAPTURE, /* the program gets a pipe; the parent keeps the bytes in memory (output only)
                     */
    STREAM_OUTPUT,  /* the program gets its output once more (error only) */
    STREAM_MEMORY,  /* the program reads @data (input only): a sealed memfd */
    STREAM_NULL     /* /dev/null */
};

struct stream {
    enum stream_kind kind;
    int fd;           /* borrowed */
    const void *data; /* borrowed until sandbox_create returns */
    size_t size;
    size_t max_bytes; /* STREAM_CAPTURE keeps this many; what comes after is counted and dropped */
};

/**
 * What sandboxes that follow each other on behalf of one owner (the tests of one submission) take
 * over, when nobody inside has any say over it: the network namespace, a closed one, and the
 * control group, when it is empty and counts from zero again. Making and unmaking them is a quarter
 * of a sandbox; all else is new each time. After a run that was not "ok" everything is. Never for
 * two sandboxes at a time, and it outlives them.
 */
struct sandbox_slot {
    int network;          /* -1: made by the next sandbox */
    struct cgroup *group; /* NULL: the same */
};
#define SANDBOX_SLOT_INIT                                                                          \
    {                                                                                              \
        .network = -1                                                                              \
    }
void sandbox_slot_done(struct sandbox_slot *slot);

struct sandbox_options {
    struct stream input, output, error;
    struct sandbox_slot *slot; /* NULL: everything is new */
    const char *id;            /* names the cgroup cloche.slice/<id>; NULL: run-<pid>-<n> */
    int terminal_fd;           /* the caller's terminal of a spec with `terminal`, or -1 */
    const int *pass_fds;       /* further fds for the program, as 3, 4, ... (borrowed) */
    size_t pass_fd_count;
    /* the caller's own arguments, from argv[0] to the end of the last: init, a copy of the caller,
     * overwrites its copy, since /proc/1/cmdline is for all inside to read; NULL: they are left */
    char *arguments;
    size_t arguments_bytes;
};

#define SANDBOX_OPTIONS_INIT                                                                       \
    {                                                                                              \
        .input = {.kind = STREAM_FD, .fd = 0}, .output = {.kind = STREAM_FD, .fd = 1},             \
        .error = {.kind = STREAM_FD, .fd = 2}, .terminal_fd = -1                                   \
    }

struct sandbox;

/** Make everything up to, and without, the program's exec. @spec must be validated and outlive the
 * sandbox. -1: nothing is left behind. Errors: sandbox.*, rootfs.*, mount.*, cgroup.*, seccomp.*,
 * network.*, ids.* */
int sandbox_create(struct sandbox **ret, const struct spec *spec,
                   const struct sandbox_options *options, struct error *err);

/** Let the program exec. -1: it did not start: error code sandbox.not_found (127),
 * sandbox.not_executable (126), or a setup failure. */
int sandbox_start(struct sandbox *s, struct error *err);

/** Both at once, without waiting for either: a failure of setting up or of the exec comes from
 * sandbox_dispatch(). Saves the caller two changes of process. */
int sandbox_run(struct sandbox **ret, const struct spec *spec,
                const struct sandbox_options *options, struct error *err);

/** An epoll fd that is readable when sandbox_dispatch() has something to do: for callers with a
 * loop. */
int sandbox_event_fd(const struct sandbox *s);

/** Handle what is ready. 1: the tree has ended, the report is final; 0: still running; -1: error;
 * after sandbox_run() also those of sandbox_create() and sandbox_start(): the program did not
 * start. */
int sandbox_dispatch(struct sandbox *s, struct error *err);

/** Dispatch until the end, and report. */
int sandbox_wait(struct sandbox *s, struct report *ret, struct error *err);

/** After sandbox_dispatch returned 1. */
void sandbox_report(const struct sandbox *s, struct report *ret);

/** Captured bytes of a STREAM_CAPTURE stream (1 or 2), owned by the sandbox. */
const char *sandbox_captured(const struct sandbox *s, int stream, size_t *ret_size);

/** Send a signal to the program, as a terminal or a caller would. */
int sandbox_signal(struct sandbox *s, int sig);

/** Give the program's terminal the size of the caller's (on SIGWINCH). */
void sandbox_resize(struct sandbox *s);

/**
 * What to write to a program's terminal, whose outer end this is, when its input is over: ^D, twice
 * where lines are read, since the first may only end one. Returns how much; 0 where the terminal
 * would echo it, which is output again. A program that reads lines itself (a shell) switches the
 * terminal to raw and back, and in between the mark is lost: so it is to be made again whenever the
 * program has written something, a prompt for one.
 */
size_t terminal_end_mark(int terminal, char mark[2]);

/** End the tree now; the report will carry @verdict and @detail. */
void sandbox_kill(struct sandbox *s, enum verdict verdict, const char *detail);

/** Stop and continue the whole tree (freezer). */
int sandbox_freeze(struct sandbox *s, bool frozen, struct error *err);
/** The caller is about to be stopped (@on), or goes on: so does the tree, or without a freezer the
 * program; the caller's terminal is meanwhile as it was before the run. */
void sandbox_suspend(struct sandbox *s, bool on);

/** PID of init as the caller sees it, for joining and inspecting; and its pidfd (borrowed). */
pid_t sandbox_pid(const struct sandbox *s);
int sandbox_pidfd(const struct sandbox *s);

/* --- serving sandboxes: many commands, one after the other or side by side ---------------------
 *
 * sandbox_serve() makes a sandbox in which init waits for commands; it returns while init builds,
 * and commands can be given at once. sandbox_spawn() starts one: a child, in a PID namespace of its
 * own below init, so that whatever it forks dies with it. sandbox_dispatch() calls back for what
 * becomes of children; it returns 1 or -1 only when the whole sandbox has ended, or could not be
 * built. The limits on wall and CPU time are the caller's to apply to each child.
 */

enum sandbox_child_event_type {
    CHILD_STARTED,  /* @fd: pidfd of its namespace's init, now the callee's */
    CHILD_TERMINAL, /* @fd: the outer end of its terminal, now the callee's; before CHILD_STARTED */
    CHILD_FILE,     /* @fd: the file that was asked for, now the callee's; CHILD_EXITED follows */
    CHILD_FAILED,   /* it never ran: @error; final */
    CHILD_EXITED,   /* it and all its descendants are gone; final */
    CHILD_MEMORY    /* @child is 0: the kernel killed processes for memory */
};

struct sandbox_child_event {
    enum sandbox_child_event_type type;
    int child;
    int fd;
    int status; /* as of wait(2) */
    uint64_t time_ns, user_us, system_us, max_rss_bytes;
    const char *blocked_syscall; /* it was killed for this call; static or NULL */
    bool process_limit; /* it was killed: most of the processes that all may have were its */
    const struct error *error;
};
typedef void sandbox_child_fn(void *context, const struct sandbox_child_event *event);

/** Of a pidfd, as the host counts; 0: not known. */
pid_t sandbox_pid_of(int pidfd);

/** Instead of running a program: open args[0], a regular file, as the program's user and as the
 * sandbox sees it. Never waits, and never follows a link at the end of the name. */
enum sandbox_open {
    OPEN_NOTHING,
    OPEN_READ,
    OPEN_WRITE,  /* made or emptied */
    OPEN_CONNECT /* args[0] is a unix socket's path, or "tcp:PORT" at 127.0.0.1: tried until
                    somebody takes the connection, which is the file; ends by SIGKILL only */
};

struct sandbox_command {
    enum sandbox_open open;
    uint16_t mode;                  /* of what OPEN_WRITE makes; the umask is 022 */
    char *const *args, *const *env; /* NULL-terminated; @env NULL: the spec's */
    const char *cwd;                /* NULL: the spec's */
    bool user_given;
    uid_t uid;
    gid_t gid;
    bool terminal; /* instead of @streams */
    uint16_t rows, columns;
    int streams[3];
    int ready_fd; /* becomes 3, and CLOCHE_READY_FD=3 is set; -1: none */
    bool program_given;
    int program; /* this file is executed, whatever the rootfs holds; args[0] is only its name */
};

/** @network: made for it by sandbox_make_network() (taken), or -1. */
int sandbox_serve(struct sandbox **ret, const struct spec *spec, const char *id, int network,
                  sandbox_child_fn *on_child, void *context, struct error *err);

/** For a sandbox that another process will serve, while that comes up: a new network namespace, a
 * closed one of the host's, over which nobody inside will be root. The caller's thread is in it for
 * a moment. -1: the sandbox makes its own (it needs rights over it, or this user may not). */
int sandbox_make_network(const struct spec *spec);

/** Init has built and waits for commands; true at the latest when a command has started. */
bool sandbox_serves(const struct sandbox *s);

/** Returns the number of the child (> 0), known before anything is called back for it.
 * sandbox.command (too long), sandbox.control */
int sandbox_spawn(struct sandbox *s, const struct sandbox_command *command, struct error *err);

/** To the child's program; SIGKILL to its whole tree. */
int sandbox_child_signal(struct sandbox *s, int child, int sig);

struct sandbox_usage {
    uint64_t cpu_us, user_us, system_us, memory_bytes, memory_peak_bytes, processes, processes_peak,
        oom_kills, io_read_bytes, io_write_bytes;
    uint64_t memory_cache_bytes;  /* part of memory_bytes that the kernel can drop at once */
    uint64_t process_limit_hits;  /* forks that the limit refused */
    uint64_t pressure_some_us[3]; /* time that somebody waited for CPU, memory, I/O; v2 only */
    enum means memory_by, processes_by, cpu_by;    /* what enforces the limits */
    bool memory_known, processes_known, cpu_known; /* zero else */
};
int sandbox_usage(const struct sandbox *s, struct sandbox_usage *ret);

/** Write changed limits to the living sandbox. cgroup.* */
int sandbox_update(struct sandbox *s, const struct spec_resources *resources, struct error *err);

/** Slow it down near a limit: cgroup_throttle() of cgroup.h. sandbox_can_throttle(): whether there
 * is a means for its limits of memory and CPU. */
int sandbox_throttle(struct sandbox *s, const struct spec_resources *resources, uint64_t high_bytes,
                     bool slower, struct error *err);
bool sandbox_can_throttle(const struct sandbox *s);

/** As sandbox_free(), and say what stayed: cgroup.remove. */
int sandbox_close(struct sandbox *s, struct error *err);

/** Remove the control groups that a killed keeper of sandbox @id, and killed runs, left. Returns
 * how many went. */
int sandbox_sweep(const char *id, struct error *err);

/** Remove the control groups of all serving sandboxes whose keeper is gone. Returns how many. */
int sandbox_sweep_all(struct error *err);

/** Kill what still runs, wait until it is gone, remove every trace, free. */
void sandbox_free(struct sandbox *s);

/** One thing that the kernel or this user's rights may refuse, tried out. */
struct sandbox_ability {
    const char *group, *name; /* "namespace", "user"; static */
    bool usable;
    char detail[256]; /* which version, where, for whom; "" when there is nothing to add */
    char fix[256];    /* when not usable */
};
#define SANDBOX_ABILITY_MAX 48

/** What this kernel and this user can do, each found by trying it in a process that ends at once,
 * not by reading a version. Returns how many were written, at most @max. Leaves nothing behind. */
int sandbox_abilities(struct sandbox_ability *ret, int max);

static inline void cleanup_sandbox(struct sandbox **s)
{
    sandbox_free(*s);
}
#define _cleanup_sandbox_ __attribute__((cleanup(cleanup_sandbox), unused))

#endif
