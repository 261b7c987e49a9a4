/**
 * The supervision tree of commands.
 *
 * Theory of operation. Every supervisor is the same small machine: its children carry two wishes,
 * `stop` and `wanted`, set by a decision of supervise.c, and step() does the next thing that
 * brings them about: stop the last that is to stop and wait for its end; when none is left, wait
 * out the delay; start the first that is wanted and wait until it is ready; and so on. It is called
 * again whenever something has happened, so an end in the middle of a restart needs no care of its
 * own: it only changes the wishes. A nested supervisor is a child whose start and stop are those of
 * its own children.
 *
 * A command is ready when it runs; with "ready": "line" when it has written a line to the fd that
 * CLOCHE_READY_FD names, with "socket" when somebody listens at ready_socket inside (probe.c), both
 * within ready_ms. Its output goes to log/<path>.log, bounded.
 */
#ifndef CLOCHE_RUNTIME_KEEPER_TREE_H
#define CLOCHE_RUNTIME_KEEPER_TREE_H

#include "runtime/keeper/keeper.h"
#include "runtime/keeper/supervise.h"

#include <cjson/cJSON.h>

struct service;

enum node_state { NODE_DOWN, NODE_STARTING, NODE_RUNNING, NODE_STOPPING };

struct node {
    struct task task; /* first: a task is cast to its node */
    struct keeper *keeper;
    struct node *parent; /* NULL: the root */
    size_t index;        /* in the parent */
    const char *id, *path;
    enum node_state state;
    bool stop, wanted;

    struct service *service; /* a module; else: */

    /* a command */
    struct strings args;
    bool late; /* it was ended because it did not become ready */
    uint64_t shutdown_ms, ready_ms;
    enum { READY_NONE, READY_LINE, READY_SOCKET } ready;
    const char *ready_socket;
    struct probe *probe; /* waits for that socket */
    int pidfd, ready_fd;
    struct loop_source *ready_source;
    struct loop_timer *timer; /* shutdown or readiness; of a supervisor: the delay of a restart */
    uint64_t started_ms;
    unsigned restarts;
    char last[96]; /* how it ended last */

    /* a supervisor */
    bool supervisor, closing, gave_up;
    struct supervise logic;
    struct node *children;
};

struct tree {
    struct arena *arena;
    struct node root;
    void (*ready)(struct keeper *k, const struct error *err); /* called once */
    bool started, abandoned;
    size_t added;         /* services that the spec does not list */
    struct error failure; /* of the child that made the root give up: */
    struct node *culprit;
    bool mended; /* and now serves again: the root comes up anew */
};

/** children.c: the tree that the spec describes; NULL with @err. */
struct tree *tree_new(struct keeper *k, struct error *err);

/** children.c: one more at the root, not started; NULL with @err when there is no more room. */
struct node *tree_new_service(struct tree *t, struct service *s, struct error *err);

/** @ready is called once: when all children are ready, or with why the root gave up. */
void tree_start(struct tree *t, void (*ready)(struct keeper *k, const struct error *err));
/** Ask all to end, last first. Their tasks go as they end. */
void tree_stop(struct tree *t);
/** The sandbox is gone or going: nothing is started any more. */
void tree_abandon(struct tree *t);
void tree_free(struct tree *t);

/** [{"id":..., "state":..., "restarts":..., "last":...}, ...] */
cJSON *tree_json(const struct tree *t);

/** probe.c: look for the socket of @n until somebody listens; then node_is_up(), or, when it cannot
 * be looked for, node_never_up(). */
int probe_start(struct node *n, struct error *err);
/** The answer is not wanted any more. */
void probe_stop(struct node *n);
void node_is_up(struct node *n);
void node_never_up(struct node *n);
/** A service serves that its supervisor has given up: if all were stopped for it, all start again.
 */
void node_mended(struct node *n);

/** log.c: a fd to write to; what is written ends up in log/<name>.log. -1 with @err. */
int log_open(struct keeper *k, const char *path, struct error *err);
/** The last line of that log, if any; what is not printable is a question mark. */
bool log_last_line(struct keeper *k, const char *path, char *ret, size_t size);
/** Those whose writers have not been heard to end. */
void logs_close(struct keeper *k);

#endif
