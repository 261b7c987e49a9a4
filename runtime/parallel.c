#include "runtime/parallel.h"

#include "base/beside.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS_MAX 64
#define STACK_BYTES (512 * 1024)

struct work {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count, next;
    bool *ended;
    void (*one)(void *context, size_t i);
    void *context;
};

static void *worker(void *argument)
{
    struct work *w = argument;
    pthread_mutex_lock(&w->lock);
    while (w->next < w->count) {
        size_t i = w->next++;
        pthread_mutex_unlock(&w->lock);
        w->one(w->context, i);
        pthread_mutex_lock(&w->lock);
        w->ended[i] = true;
        pthread_cond_signal(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static unsigned start_threads(pthread_t *threads, unsigned wanted, struct work *w)
{
    unsigned n = 0;
    while (n < wanted && beside_thread(&threads[n], STACK_BYTES, worker, w) == 0)
        n++;
    return n;
}

void parallel_run(size_t count, unsigned limit, void (*one)(void *context, size_t i),
                  void (*done)(void *context, size_t i), void *context)
{
    pthread_t threads[THREADS_MAX];
    limit = limit == 0 ? PARALLEL_DEFAULT : limit > THREADS_MAX ? THREADS_MAX : limit;
    unsigned wanted = count < limit ? (unsigned)count : limit, n = 0;
    struct work w = {.count = count, .one = one, .context = context};
    w.ended = wanted > 1 ? calloc(count, sizeof *w.ended) : NULL;
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    if (w.ended != NULL)
        n = start_threads(threads, wanted, &w);
    for (size_t i = 0; i < count; i++) {
        if (n == 0) {
            one(context, i);
        } else {
            pthread_mutex_lock(&w.lock);
            while (!w.ended[i])
                pthread_cond_wait(&w.changed, &w.lock);
            pthread_mutex_unlock(&w.lock);
        }
        if (done != NULL)
            done(context, i);
    }
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.changed);
    free(w.ended);
}
