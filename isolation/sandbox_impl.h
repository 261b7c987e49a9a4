/** The inside of struct sandbox, shared by sandbox.c (launch), watch.c (events) and report.c
 * (verdict). Private. */
#ifndef CLOCHE_ISOLATION_SANDBOX_IMPL_H
#define CLOCHE_ISOLATION_SANDBOX_IMPL_H

#include "isolation/cgroup.h"
#include "isolation/plan.h"
#include "isolation/sandbox.h"

#include <sys/resource.h>
#include <termios.h>

/** Bytes on their way from one fd to another, to memory, or to nowhere. Never blocks on a slow
 * reader: the destination is written to when epoll says so, at most PIPE_BUF at a time. */
struct pump {
    int from, to;
    bool own_to; /* @to is closed at the end */
    bool capture;
    bool terminal_input; /* at the end of the input the program's terminal gets an end-of-file
                            character */
    bool pollable;       /* @to can be waited for */
    bool from_file;      /* which is always readable, and which epoll does not take */
    bool ending;         /* that mark is on its way */
    bool waiting;        /* for @to */
    bool done;
    bool counted;   /* against limits.output_bytes */
    uint64_t bytes; /* seen */
    char *buf;      /* being copied, or captured */
    size_t used, sent, room, max;
    int failed; /* errno of a write of the program's output to @to, but for a reader that left */
};

enum watch_tag {
    WATCH_PIDFD,
    WATCH_CONTROL,
    WATCH_TIMER,
    WATCH_MEMORY,
    WATCH_PRESSURE,
    WATCH_LISTENER,
    WATCH_PUMP
};
#define PUMP_MAX    3
#define WATCH_CHILD 0x10000 /* and above: listeners of a serving sandbox's children */
/* tag of a pump's source: WATCH_PUMP + 2 * index; of its destination: one more */

struct sandbox {
    struct plan plan;
    const struct spec *spec;
    struct cgroup *cgroup;
    pid_t pid;
    int pidfd, control, epoll, timer, listener, terminal;
    bool flushing;   /* the tree has ended by a limit; only its output is still on its way */
    int terminal_fd; /* the caller's, in raw mode while we run; -1 */
    struct termios terminal_saved;

    struct pump pumps[PUMP_MAX];
    size_t pump_count;
    struct pump *stdout_pump, *stderr_pump;

    struct children *children; /* spawn.c, of a serving sandbox; else NULL */
    /* what a serving sandbox does with what concerns children (pointers as plan.serve) */
    void (*on_child)(struct sandbox *s, const struct message *m, int fd);
    void (*on_child_event)(struct sandbox *s, uint32_t tag, uint32_t events);
    void (*on_memory)(struct sandbox *s);
    void (*on_pressure)(struct sandbox *s);
    void (*free_children)(struct sandbox *s);

    bool started, failed, reaped, exited, ended, verdict_set;
    int init_status;      /* once reaped */
    struct error failure; /* when failed */
    int status;           /* of the program, once exited */
    uint64_t start_ns, end_ns;
    uint64_t wall_deadline_ns; /* 0: none */
    bool sample_cpu;           /* no control group counts CPU time: tree.c does */
    int64_t sampled_usec;      /* the most that tree.c saw */
    struct rusage usage;       /* of init and what it reaped, once reaped */
    struct report report;
    struct cgroup_stats stats;
    bool stats_final; /* read when nothing but init was left */
};

/** sandbox.c: sandbox_run() with a say in the plan: @adjust may be NULL. */
int launch_run(struct sandbox **ret, const struct spec *spec, const struct sandbox_options *options,
               void (*adjust)(struct sandbox *s), struct error *err);

/** sandbox.c: init is gone and the program never ran: why. Returns -1. */
int launch_failed(struct sandbox *s, struct error *err);

/** watch.c */
int watch_open(struct sandbox *s, struct error *err);
int watch_add(struct sandbox *s, int fd, uint32_t events, uint32_t tag);
/** After the start: arm the timers. */
void watch_arm(struct sandbox *s);
/** The program has done something (a notification, output): it runs, although init may not have
 * said so yet. Without this a program that is ended at once would look like one that never started.
 */
void watch_program_seen(struct sandbox *s);
/** CPU time of the tree in microseconds; -1: not known. */
int64_t watch_cpu_usec(struct sandbox *s);
/** A message of init, from wherever it was read. */
void watch_message(struct sandbox *s, const struct message *m, int fd);

/** tree.c: CPU time of @init and what descends from it, to 10 ms; -1 with errno,
 * ENOENT where /proc does not tell. */
int64_t tree_cpu_usec(pid_t init);

/** stream.c: make what the program gets as 0, 1, 2 (@own: which of them to close after the clone);
 * let its user open the pipes again through /dev/stderr; and the terminal, once init has made it.
 */
int streams_open(struct sandbox *s, const struct sandbox_options *o, bool *own, struct error *err);
void streams_give(const struct sandbox *s, const bool *own);
void streams_close(struct plan *p, const bool *own);
int terminal_open(struct sandbox *s, const struct sandbox_options *o, struct error *err);
/** The terminal as it was before the run, or raw again. */
void terminal_suspend(struct sandbox *s, bool on);

/** pump.c */
int pump_add(struct sandbox *s, int from, int to, struct error *err);
int pump_open(struct sandbox *s, struct pump *p, struct error *err);
/** Give up what has not been read or handed out. */
void pump_drop(struct sandbox *s);
void pump_event(struct sandbox *s, uint32_t tag);
void pump_close(struct pump *p);

/** report.c */
void report_finish(struct sandbox *s);
/** The program has ended: read the figures while init dies. */
void report_measure(struct sandbox *s);

#endif
