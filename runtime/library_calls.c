/* Calls of modules of runtime/cloche.h: client_calls.c in public words. */
#include "runtime/library.h"

#include "base/cleanup.h"
#include "runtime/client_calls.h"

#include <stdlib.h>

/* --- many in flight ------------------------------------------------------------------------------
 */

struct cloche_calls {
    struct calls calls;
};

int cloche_calls_open(struct cloche *c, const char *id, const char *module, uint64_t timeout_ms,
                      struct cloche_calls **ret, struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    struct cloche_calls *calls = calloc(1, sizeof *calls);
    int rc = calls == NULL ? error_set(&e, "client.memory", ENOMEM, "cannot call \"%s\"", module)
                           : calls_open(&calls->calls, id, module, timeout_ms, &e);
    if (rc == 0)
        *ret = calls;
    else
        free(calls);
    return library_give(rc, &e, err);
}

void cloche_calls_close(struct cloche_calls *calls)
{
    if (calls == NULL)
        return;
    calls_close(&calls->calls);
    free(calls);
}

int cloche_calls_fd(struct cloche_calls *calls)
{
    return calls_fd(&calls->calls);
}

int cloche_calls_put(struct cloche_calls *calls, uint64_t number, const void *data, size_t size,
                     struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    return library_give(calls_put(&calls->calls, number, data, size, &e), &e, err);
}

int cloche_calls_send(struct cloche_calls *calls, struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    return library_give(calls_send(&calls->calls, true, &e), &e, err);
}

int cloche_calls_next(struct cloche_calls *calls, int wait, struct cloche_reply *ret,
                      struct cloche_error *err)
{
    struct error e = ERROR_INIT;
    struct calls_reply r;
    int rc = calls_next(&calls->calls, wait != 0, &r, &e);
    if (rc <= 0)
        return library_give(rc, &e, err);
    *ret = (struct cloche_reply){.number = r.id,
                                 .status = r.status,
                                 .version = r.version,
                                 .data = r.failed ? NULL : r.data,
                                 .size = r.failed ? 0 : r.size};
    if (r.failed)
        library_give(-1, &r.error, &ret->error);
    return 1;
}

/* --- one at a time -------------------------------------------------------------------------------
 */

#define KEPT_MAX 8

/** A connection that a call has left. */
struct kept {
    struct kept *next;
    pid_t owner; /* a fork's child has it too, and must not use it */
    char id[72], module[72];
    struct calls calls;
};

static void drop(struct kept *k)
{
    if (k == NULL)
        return;
    calls_close(&k->calls);
    free(k);
}

/** The one of this module, taken out of those that are kept, or NULL. */
static struct kept *take(struct cloche *c, const char *id, const char *module)
{
    struct kept *found = NULL;
    if (c == NULL)
        return NULL;
    pthread_mutex_lock(&c->lock);
    for (struct kept **at = &c->kept; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->id, id) == 0 && strcmp((*at)->module, module) == 0) {
            found = *at;
            *at = found->next;
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (found == NULL || (found->owner == getpid() && calls_idle(&found->calls)))
        return found;
    drop(found); /* its keeper is gone, or had no place for one that is idle */
    return NULL;
}

static struct kept *make(const char *id, const char *module, struct error *err)
{
    struct kept *k = calloc(1, sizeof *k);
    if (k == NULL) {
        error_set(err, "client.memory", ENOMEM, "cannot call module \"%s\"", module);
        return NULL;
    }
    if (calls_open(&k->calls, id, module, 0, err) < 0) {
        free(k);
        return NULL;
    }
    k->owner = getpid();
    snprintf(k->id, sizeof k->id, "%s", id);
    snprintf(k->module, sizeof k->module, "%s", module);
    return k;
}

/** The last one first; of too many the one that was not used for longest goes. */
static void keep(struct cloche *c, struct kept *k)
{
    struct kept *old = NULL;
    unsigned count = 0;
    pthread_mutex_lock(&c->lock);
    k->next = c->kept;
    c->kept = k;
    for (struct kept **at = &c->kept; *at != NULL; at = &(*at)->next) {
        if (++count > KEPT_MAX) {
            old = *at;
            *at = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&c->lock);
    drop(old);
}

void library_drop_calls(struct cloche *c)
{
    while (c->kept != NULL) {
        struct kept *k = c->kept;
        c->kept = k->next;
        drop(k);
    }
}

/** 1: a reply; -1: none, and what may still come is not to be waited for. */
static int ask(struct calls *calls, const void *data, size_t size, struct calls_reply *ret,
               struct error *err)
{
    return calls_put(calls, 1, data, size, err) < 0 || calls_send(calls, true, err) < 0
               ? -1
               : calls_next(calls, true, ret, err);
}

/** The reply, or why there is none: 0 or -1. */
static int give(const struct calls_reply *r, const char *module, void **ret_data, size_t *ret_size,
                int *ret_status, struct error *err)
{
    if (r->failed) {
        *err = r->error;
        return -1;
    }
    if (ret_data != NULL) {
        char *copy = malloc(r->size + 1); /* a text needs no care of its own */
        if (copy == NULL)
            return error_set(err, "client.memory", ENOMEM, "cannot keep the reply of \"%s\"",
                             module);
        if (r->size > 0)
            memcpy(copy, r->data, r->size);
        copy[r->size] = '\0';
        *ret_data = copy;
    }
    if (ret_size != NULL)
        *ret_size = r->size;
    if (ret_status != NULL)
        *ret_status = r->status;
    return 0;
}

int cloche_call(struct cloche *c, const char *id, const char *module, const void *data, size_t size,
                void **ret_data, size_t *ret_size, int *ret_status, struct cloche_error *err)
{
    LIBRARY_CALL(c);
    struct error e = ERROR_INIT;
    struct calls_reply r = {0};
    struct kept *k = take(c, id, module);
    const bool kept = k != NULL;
    if (k == NULL)
        k = make(id, module, &e);
    if (k == NULL)
        return library_give(-1, &e, err);
    calls_set_deadline(&k->calls);
    struct error now = ERROR_INIT;
    int rc = ask(&k->calls, data, size, &r, &e);
    bool good = rc > 0;
    if (good)
        rc = give(&r, module, ret_data, ret_size, ret_status, &e);
    if (good && c != NULL)
        keep(c, k);
    else
        drop(k);
    /* what has become of it meanwhile says more; not asked again, for it may have been answered */
    if (kept && !good && strcmp(e.code, "keeper.gone") == 0) {
        k = make(id, module, &now);
        drop(k);
        e = k == NULL ? now : e;
    }
    return library_give(rc < 0 ? -1 : 0, &e, err);
}
