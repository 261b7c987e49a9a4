/* Theory of operation: checkpoints.h. */
#include "runtime/keeper/checkpoints.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "runtime/keeper/affinity.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define STACK_BYTES (128 * 1024)

struct job {
    struct job *next;
    enum checkpoint_work work;
    int dir, snapshot;
    char module[72]; /* what expect.module is */
    struct state_expect expect;
    checkpoint_done_fn *done;
    void *context;
    bool journal, failed;
    struct error err;
};

struct checkpoints {
    struct keeper *keeper;
    struct loop_source *source;
    int bell;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more, idle;
    /* under the lock; the one that is being done stays the first of `jobs` */
    struct job *jobs, *ended;
    bool close;
    bool alone;               /* without a thread: what is given is done at once, */
    struct loop_timer *timer; /* and told a moment later */
};

static void append(struct job **list, struct job *j)
{
    while (*list != NULL)
        list = &(*list)->next;
    j->next = NULL;
    *list = j;
}

static void run(struct job *j)
{
    int rc = -1;
    switch (j->work) {
    case CHECKPOINT_GOOD:
        rc = state_save(j->dir, STATE_GOOD, j->snapshot, &j->expect, false, &j->err);
        break;
    case CHECKPOINT_PROBATION:
        rc = state_save(j->dir, STATE_PROBATION, j->snapshot, &j->expect, true, &j->err);
        break;
    case CHECKPOINT_LAST:
        rc = state_save(j->dir, STATE_GOOD, j->snapshot, &j->expect, true, &j->err);
        break;
    case CHECKPOINT_KEEP:
        rc = state_keep(j->dir, j->snapshot, &j->expect, &j->err);
        break;
    case CHECKPOINT_PROMOTE:
        rc = state_promote(j->dir, j->module, &j->err);
        break;
    }
    j->failed = rc < 0;
    cleanup_close(&j->snapshot);
}

static void *work(void *context)
{
    struct checkpoints *c = context;
    pthread_mutex_lock(&c->lock);
    while (!c->close || c->jobs != NULL) {
        struct job *j = c->jobs;
        if (j == NULL) {
            pthread_cond_wait(&c->more, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        run(j);
        pthread_mutex_lock(&c->lock);
        c->jobs = j->next;
        append(&c->ended, j);
        if (c->jobs == NULL)
            pthread_cond_broadcast(&c->idle);
        eventfd_write(c->bell, 1);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void end(struct keeper *k, struct job *j)
{
    if (j->failed && j->journal)
        journal_event(k, "checkpoint.failed", j->err.message);
    if (j->done != NULL)
        j->done(j->context, j->failed ? &j->err : NULL);
    free(j);
}

static void tell(struct checkpoints *c)
{
    for (;;) {
        pthread_mutex_lock(&c->lock);
        struct job *j = c->ended;
        c->ended = j != NULL ? j->next : NULL;
        pthread_mutex_unlock(&c->lock);
        if (j == NULL)
            return;
        end(c->keeper, j);
    }
}

static void on_timer(void *context)
{
    struct checkpoints *c = context;
    c->timer = NULL;
    tell(c);
}

static void on_bell(void *context, int fd, uint32_t events)
{
    eventfd_t count;
    (void)events;
    eventfd_read(fd, &count);
    tell(context);
}

static bool start_thread(struct checkpoints *c)
{
    c->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->source = c->bell < 0 ? NULL : loop_watch(c->keeper->loop, c->bell, EPOLLIN, on_bell, c);
    if (c->source == NULL)
        return false;
    mallopt(M_ARENA_MAX, 1); /* a second arena would only cost memory */
    affinity_part(c->keeper);
    return beside_thread(&c->thread, STACK_BYTES, work, c) == 0;
}

static struct checkpoints *open_checkpoints(struct keeper *k)
{
    struct checkpoints *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    c->keeper = k;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->more, NULL);
    pthread_cond_init(&c->idle, NULL);
    c->alone = !start_thread(c);
    return c;
}

void checkpoint(struct keeper *k, enum checkpoint_work what, int snapshot,
                const struct state_expect *expect, checkpoint_done_fn *done, void *context)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL)
        abort(); /* without it a transaction would wait for ever */
    *j = (struct job){.work = what,
                      .dir = k->state_fd,
                      .snapshot = snapshot < 0 ? -1 : fcntl(snapshot, F_DUPFD_CLOEXEC, 3),
                      .expect = *expect,
                      .done = done,
                      .context = context,
                      .journal = done == NULL,
                      .err = ERROR_INIT};
    snprintf(j->module, sizeof j->module, "%s", expect->module);
    j->expect.module = j->module;
    if (k->checkpoints == NULL)
        k->checkpoints = open_checkpoints(k);
    struct checkpoints *c = k->checkpoints;
    if (c->alone) {
        run(j);
        append(&c->ended, j);
        if (c->timer == NULL)
            c->timer = loop_after(k->loop, 0, on_timer, c);
        return;
    }
    pthread_mutex_lock(&c->lock);
    append(&c->jobs, j);
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

void checkpoints_forget(struct keeper *k, const void *context)
{
    struct checkpoints *c = k->checkpoints;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    struct job *const lists[] = {c->jobs, c->ended};
    for (size_t i = 0; i < 2; i++) {
        for (struct job *j = lists[i]; j != NULL; j = j->next)
            j->done = j->context == context ? NULL : j->done;
    }
    pthread_mutex_unlock(&c->lock);
}

void checkpoints_wait(struct keeper *k)
{
    struct checkpoints *c = k->checkpoints;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    while (c->jobs != NULL)
        pthread_cond_wait(&c->idle, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

void checkpoints_close(struct keeper *k)
{
    struct checkpoints *c = k->checkpoints;
    if (c == NULL)
        return;
    if (!c->alone) {
        pthread_mutex_lock(&c->lock);
        c->close = true;
        pthread_cond_signal(&c->more);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
    }
    for (struct job *j; (j = c->ended) != NULL;) {
        c->ended = j->next;
        free(j);
    }
    if (c->timer != NULL)
        loop_cancel(k->loop, c->timer);
    loop_unwatch(k->loop, c->source);
    cleanup_close(&c->bell);
    free(c);
    k->checkpoints = NULL;
}
