/* Readiness by socket: a helper inside, as the child's user, tries to connect until somebody takes
 * the connection (OPEN_CONNECT of isolation/sandbox.h). It is a task of its own, which may outlive
 * the child that it was started for. */
#include "runtime/keeper/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct probe {
    struct task task; /* first: a task is cast to its probe */
    struct keeper *keeper;
    struct node *node; /* NULL: nobody wants to know any more */
};

static void on_probe(struct task *task, const struct sandbox_child_event *e)
{
    struct probe *p = (struct probe *)task;
    struct node *n = p->node;
    if (e->type == CHILD_FILE) {
        close(e->fd);
        p->node = NULL;
        if (n == NULL)
            return;
        n->probe = NULL;
        if (n->state == NODE_STARTING)
            node_is_up(n);
        return;
    }
    if (e->type != CHILD_FAILED && e->type != CHILD_EXITED)
        return;
    struct keeper *k = p->keeper;
    task_remove(k, task);
    free(p);
    if (n != NULL) {
        n->probe = NULL;
        if (n->state == NODE_STARTING)
            node_never_up(n);
    }
    keeper_check_stopped(k);
}

int probe_start(struct node *n, struct error *err)
{
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot look for a socket");
    char *args[] = {(char *)(uintptr_t)n->ready_socket, NULL};
    const struct sandbox_command command = {.open = OPEN_CONNECT, .args = args, .ready_fd = -1};
    int child = sandbox_spawn(n->keeper->sandbox, &command, err);
    if (child < 0) {
        free(p);
        return -1;
    }
    *p = (struct probe){.task = {.child = child, .call = on_probe}, .keeper = n->keeper, .node = n};
    n->probe = p;
    task_add(n->keeper, &p->task);
    return 0;
}

void probe_stop(struct node *n)
{
    struct probe *p = n->probe;
    if (p == NULL)
        return;
    n->probe = NULL;
    p->node = NULL;
    if (n->keeper->sandbox != NULL)
        sandbox_child_signal(n->keeper->sandbox, p->task.child, SIGKILL);
}
