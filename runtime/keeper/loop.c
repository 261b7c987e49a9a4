#include "runtime/keeper/loop.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

struct loop_source {
    struct loop_source *next;
    int fd;
    loop_fd_fn *call; /* NULL: removed, to be freed after the round */
    void *context;
};

struct loop_timer {
    struct loop_timer *next;
    uint64_t due_ms;
    loop_timer_fn *call;
    void *context;
};

struct loop {
    int epoll;
    bool stop;
    int timer;         /* a timerfd: a timeout of epoll_wait costs a kernel timer each time */
    uint64_t armed_ms; /* what it is set to; 0: nothing */
    struct loop_source *removed;
    struct loop_timer *timers; /* earliest first */
    struct loop_look *looks, *next_look;
};

/* Rounds of looking before events get their turn */
#define LOOKS 8

uint64_t loop_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (l->epoll >= 0 && l->timer >= 0 && epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &e) == 0)
        return l;
    cleanup_close(&l->timer);
    cleanup_close(&l->epoll);
    free(l);
    return NULL;
}

static void free_removed(struct loop *l)
{
    while (l->removed != NULL) {
        struct loop_source *s = l->removed;
        l->removed = s->next;
        free(s);
    }
}

void loop_free(struct loop *l)
{
    while (l->timers != NULL)
        loop_cancel(l, l->timers);
    free_removed(l);
    close(l->timer);
    close(l->epoll);
    free(l);
}

struct loop_source *loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *call,
                               void *context)
{
    struct loop_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (struct loop_source){.fd = fd, .call = call, .context = context};
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        free(s);
        return NULL;
    }
    return s;
}

void loop_unwatch(struct loop *l, struct loop_source *s)
{
    if (s == NULL || s->call == NULL)
        return;
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    s->call = NULL;
    s->next = l->removed; /* an event of this round may still point to it */
    l->removed = s;
}

void loop_change(struct loop *l, struct loop_source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (s != NULL && s->call != NULL)
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, s->fd, &e);
}

void loop_look(struct loop *l, struct loop_look *k)
{
    if (k->listed)
        return;
    k->listed = true;
    k->next = l->looks;
    l->looks = k;
}

void loop_unlook(struct loop *l, struct loop_look *k)
{
    if (!k->listed)
        return;
    struct loop_look **at = &l->looks;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    k->listed = false;
    if (l->next_look == k)
        l->next_look = k->next;
}

static bool look(struct loop *l)
{
    bool found = false;
    for (struct loop_look *k = l->looks; k != NULL; k = l->next_look) {
        l->next_look = k->next;
        if (k->call(k->context))
            found = true;
        else
            loop_unlook(l, k);
    }
    return found;
}

struct loop_timer *loop_after(struct loop *l, uint64_t ms, loop_timer_fn *call, void *context)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort(); /* without it the keeper could wait for ever */
    *t = (struct loop_timer){.due_ms = loop_now_ms() + ms, .call = call, .context = context};
    struct loop_timer **at = &l->timers;
    while (*at != NULL && (*at)->due_ms <= t->due_ms)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
    return t;
}

void loop_cancel(struct loop *l, struct loop_timer *timer)
{
    for (struct loop_timer **at = &l->timers; *at != NULL; at = &(*at)->next) {
        if (*at != timer)
            continue;
        *at = timer->next;
        free(timer);
        return;
    }
}

static void run_timers(struct loop *l)
{
    uint64_t now = loop_now_ms();
    while (l->timers != NULL && l->timers->due_ms <= now && !l->stop) {
        struct loop_timer *t = l->timers;
        l->timers = t->next;
        loop_timer_fn *call = t->call;
        void *context = t->context;
        free(t);
        call(context);
    }
}

/** Let the timerfd say when the earliest is due. */
static void arm(struct loop *l)
{
    uint64_t due = l->timers != NULL ? l->timers->due_ms : 0;
    if (due == l->armed_ms)
        return;
    const struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(due / 1000), .tv_nsec = (long)(due % 1000 * 1000000)}};
    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &t, NULL);
    l->armed_ms = due;
}

void loop_run(struct loop *l)
{
    struct epoll_event events[32];
    while (!l->stop) {
        bool due = false, found = look(l);
        for (int i = 1; found && i < LOOKS; i++)
            found = look(l);
        arm(l);
        int n = epoll_wait(l->epoll, events, 32, found || l->stop ? 0 : -1);
        for (int i = 0; i < n && !l->stop; i++) {
            const struct loop_source *s = events[i].data.ptr;
            if (s == NULL)
                due = true;
            else if (s->call != NULL)
                s->call(s->context, s->fd, events[i].events);
        }
        if (due) {
            uint64_t times;
            l->armed_ms = 0;
            if (read(l->timer, &times, sizeof times) >= 0 || l->timers != NULL)
                run_timers(l);
        }
        free_removed(l);
    }
    l->stop = false; /* it can be run again */
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}
