/**
 * The keeper: the process outside that owns one long-lived sandbox.
 *
 * Theory of operation. `cloche create` starts one keeper per sandbox and waits for its word on a
 * pipe. The keeper holds a lock on the sandbox's state directory, so there is never a second one;
 * it is init's parent, the only door (control.sock), and the supervisor of the spec's children. One
 * thread, one loop (loop.h):
 *
 *   control.sock --- connections (server.c) --- operations (operations.c, exec.c)
 *   sandbox_event_fd() --- what becomes of children --- tasks: an exec'd command or a supervised
 *                                                       child (tree.c, decided by supervise.c)
 *   a pipe per supervised child --- its bounded log (journal.c)
 *   the spec's ttl and idle timeout, a client's stop, restart, destroy --- stop.c
 *   the control group, while somebody looks or a warning is set --- samples (sampling.c, monitor.c)
 *   changes of status and every operation --- record.json, events.jsonl (journal.c)
 *
 * When the keeper dies, init sees its socket close and the kernel ends the tree; what is on disk
 * then says "running", nobody answers at the socket, and clients show failed(keeper). Everything
 * that comes from the inside is a fixed-size message of init, an exit status, or bytes that are
 * copied and never read.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_KEEPER_H
#define CLOCHE_RUNTIME_KEEPER_KEEPER_H

#include "config/spec.h"
#include "isolation/sandbox.h"
#include "runtime/keeper/loop.h"
#include "runtime/protocol.h"
#include "runtime/worker/wire.h"

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

enum status {
    STATUS_INITIALIZING,
    STATUS_COMPILING,
    STATUS_STARTING,
    STATUS_RUNNING,
    STATUS_PAUSED,
    STATUS_STOPPING,
    STATUS_STOPPED,
    STATUS_FAILED,
};

/** Somebody who wants to know what becomes of one child of the sandbox. */
struct task {
    struct task *next;
    int child;
    void (*call)(struct task *t, const struct sandbox_child_event *e);
};

struct connection;
struct tree;
struct module;
struct versions;
struct elf_exports;
struct build;
struct preparation;
struct sampling;
struct cJSON;
struct worker;
struct session;

struct keeper {
    char id[72], group[128]; /* of control groups: its name */
    struct spec *spec;
    struct loop *loop;
    int state_fd, run_fd, log_fd; /* directories */
    int listener;
    bool is_full; /* no fd is left to let anybody in */
    struct loop_source *listener_source;
    struct connection *connections;

    struct sandbox *sandbox; /* NULL unless its tree is alive */
    struct loop_source *sandbox_source;
    struct task *tasks;
    struct tree *tree;
    struct log *logs;                /* log.c */
    struct versions *versions;       /* the store; NULL while there are no modules */
    struct checkpoints *checkpoints; /* checkpoints.h; NULL until there is one */
    struct module *modules;          /* modules.h */
    struct elf_exports *exports;
    struct build *builds; /* build.h */
    struct preparation *preparation;
    struct worker *workers, *spares[2]; /* worker.h */
    struct loop_timer *reserve_timer;
    cpu_set_t processors; /* before it gathered */
    struct loop_timer *affinity_timer;
    int worker_program;        /* a sealed copy; 0: not yet */
    int network;               /* made for the first tree, or -1 */
    struct session *dirty;     /* have replies to send */
    struct wire_packet packet; /* being written */

    enum status status, thawed; /* the second while it is paused: what it is after that */
    char reason[256];           /* of the last failure */
    int64_t created_ms;         /* CLOCK_REALTIME */
    uint64_t started_ms;        /* CLOCK_MONOTONIC, of the present tree */
    unsigned restarts;          /* of the whole sandbox */
    uint64_t oom_kills, limit_hits;
    uint64_t next_span;
    bool gathered;             /* affinity.h */
    bool retired;              /* its events are in the audit, and so are those to come */
    struct sampling *sampling; /* NULL until somebody asks, or a warning is set */
    char kill_reason[128];     /* of keeper_kill() */

    void (*ready)(struct keeper *k, const struct error *err); /* waits for the children */
    struct error ready_error;
    bool ready_but_init; /* every child is ready (there may be none), init is not heard of yet */
    void (*stopped)(struct keeper *k); /* called when stopping has come to its end */
    struct loop_timer *stop_timer;
    struct connection *stop_client; /* waits for the outcome of destroy or restart */
    uint32_t stop_serial;
    uint64_t stop_span;

    struct loop_timer *collect_timer;
    uint64_t used_ms; /* CLOCK_MONOTONIC, when a client last wanted something of it */
};

const char *status_name(enum status s);

/* --- keeper.c: life of the tree --- */
/** -1: there is no tree. 0: @ready will be called once: when every child is ready, or with why not.
 */
int keeper_start(struct keeper *k, void (*ready)(struct keeper *k, const struct error *err),
                 struct error *err);
/** Ask everything inside to end, kill what still runs after @grace_ms, then call @stopped. */
void keeper_stop(struct keeper *k, uint64_t grace_ms, void (*stopped)(struct keeper *k));
/** Whoever waits for a start that is under way is told that it comes to nothing. */
#define KEEPER_INTERRUPTED "sandbox.interrupted"
void keeper_interrupt(struct keeper *k, const char *by);
/** Something has ended: whether the stop is complete is looked at. */
void keeper_check_stopped(struct keeper *k);
/** Kill what still runs and remove what the tree was made of. */
int keeper_release(struct keeper *k, struct error *err);
/** sandbox.not_running, unless there is a tree that is not ending. */
int keeper_is_running(const struct keeper *k, struct error *err);
/** sandbox.paused. Returns -1. */
int keeper_is_paused(const struct keeper *k, struct error *err);
/** End the tree at once: the sandbox has failed for @reason. */
void keeper_kill(struct keeper *k, const char *reason);
/** Forks that the limit refused since last asked are an event. */
void keeper_note_limit_hits(struct keeper *k, const struct sandbox_usage *u);
/** That, and every file of the sandbox. Each step is tried, whatever became of those before; what
 * stayed is one error, sandbox.leftovers. */
int keeper_remove(struct keeper *k, struct error *err);
void keeper_set_status(struct keeper *k, enum status s, const char *reason);
/** The same of a tree that lives, and may be paused: then it is said when it goes on. */
void keeper_set_alive(struct keeper *k, enum status s, const char *reason);
/** Freeze every process, or let them run again; nothing when that is so. */
int keeper_freeze(struct keeper *k, bool frozen, struct error *err);
void task_add(struct keeper *k, struct task *t);
void task_remove(struct keeper *k, struct task *t);

/* --- holder.c --- */
/** Kill the keeper that holds the lock of this state directory; its tree dies with it. */
bool holder_kill(int state_fd);

/* --- server.c --- */
int server_open(struct keeper *k, struct error *err);
void server_close(struct keeper *k);
/** Let nobody in any more; who is in stays. */
void server_shut(struct keeper *k);

struct job;
struct connection {
    struct connection *next;
    struct keeper *keeper;
    int fd;
    struct loop_source *source;
    uid_t uid;
    pid_t pid;
    struct job *job;         /* an exec in progress */
    struct session *session; /* it calls a module */
    bool writing;            /* and waits for room in its socket */
    unsigned waits_for;      /* requests without their answer */
};
void connection_reply(struct connection *c, uint32_t serial, const struct fields *f);
void connection_data(struct connection *c, uint32_t serial, const struct fields *f, int fd);
void connection_error(struct connection *c, uint32_t serial, const struct error *err);
/** Its files that are still to come are nobody's. */
void open_forget(struct connection *c);
/** Reply {"json": text}. */
void connection_json(struct connection *c, uint32_t serial, char *text);
/** Handlers that stand in files of their own: exec.c, stop.c, module_operations.c. */
typedef int operation_fn(struct connection *c, struct frame *f, struct error *err);
operation_fn op_versions, op_history, op_pin, op_unpin, op_import, op_watch, op_unwatch;
/** spec.json anew. */
int keeper_save_spec(const struct keeper *k, struct error *err);
/** May be called for any operation: finds the handler. */
void operation_call(struct connection *c, struct frame *f);

/* --- exec.c --- */
int exec_operation(struct connection *c, struct frame *f, struct error *err);
/** The client has gone, or the sandbox: kill, and forget who asked. */
void exec_abandon(struct job *j);
/** SIGTERM to every exec'd command; how many there are. */
unsigned exec_count(const struct keeper *k);
void exec_stop_all(struct keeper *k);
void exec_signal(struct job *j, int sig);

/* --- stop.c --- */
int op_restart(struct connection *c, struct frame *f, struct error *err);
int op_stop(struct connection *c, struct frame *f, struct error *err);
int op_destroy(struct connection *c, struct frame *f, struct error *err);
/** Watch over the spec's ttl and idle timeout. */
void collect_start(struct keeper *k);
/** Somebody uses it: the idle timeout begins anew. */
void collect_used(struct keeper *k);

/* --- session.c, reloads.c */
int op_call(struct connection *c, struct frame *f, struct error *err);
int op_mailbox(struct connection *c, struct frame *f, struct error *err);
int op_reload(struct connection *c, struct frame *f, struct error *err);
int op_rollback(struct connection *c, struct frame *f, struct error *err);
int op_confirm(struct connection *c, struct frame *f, struct error *err);
void reload_client_gone(struct connection *c);

/* --- journal.c: what is kept on disk --- */
void journal_status(struct keeper *k);
void journal_read(struct keeper *k);
uint64_t journal_start(struct keeper *k, const char *event, const struct connection *by,
                       const char *detail);
/** The other end of the span: event "NAME.stop", or "NAME.exception" when @err is given. */
void journal_stop(struct keeper *k, uint64_t span, const char *event, const struct connection *by,
                  const struct error *err);
/** Hand over what happened, before the state directory goes. */
void journal_retire(struct keeper *k);
/** "security.violation", when @who was ended by the syscall filter. */
void journal_violation(struct keeper *k, const struct sandbox_child_event *e, const char *who);
/** "client.dropped" */
void journal_dropped(const struct connection *who, const char *why);
/** An event with the fields of @more, which is consumed. */
void journal_fields(struct keeper *k, const char *event, struct cJSON *more);
/** An event without duration. */
void journal_event(struct keeper *k, const char *event, const char *detail);

#endif
