/* Several modules as one transaction.
 *
 * Each module has its own attempt and its own steps; the group is two meeting points. None writes
 * INTENT before all are rehearsed; then they are quiesced, a dependent before what it depends on.
 * None is switched before all have loaded; then all are, in one turn of the loop. Who fails before
 * that takes the others with it; a probation is each one's own again. */
#include "base/cleanup.h"
#include "runtime/keeper/transaction.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_MAX 32

struct reload_group {
    size_t count, prepared, loaded;
    struct reload *members[GROUP_MAX]; /* dependents before what they depend on; NULL: has left */
    bool leaving, busy, dead;          /* busy: being walked over, so freed by who does that */
};

static void group_free(struct reload_group *g)
{
    if (g->busy)
        g->dead = true;
    else
        free(g);
}

static bool depends_on(const struct module *a, const struct module *b)
{
    for (size_t i = 0; i < a->depends.count; i++) {
        if (strcmp(a->depends.items[i], b->name) == 0)
            return true;
    }
    return false;
}

/* --- meeting points ------------------------------------------------------------------------------
 */

static size_t present(const struct reload_group *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++)
        n += g->members[i] != NULL;
    return n;
}

static void quiesce_all(struct reload_group *g)
{
    g->prepared = 0;
    g->busy = true;
    for (size_t i = 0; i < g->count && !g->leaving; i++) {
        if (g->members[i] != NULL)
            transaction_quiesce(g->members[i]);
    }
    g->busy = false;
    if (g->dead)
        free(g);
}

static void switch_all(struct reload_group *g)
{
    /* one may have lost its worker while it waited for the others */
    for (size_t i = 0; i < g->count; i++) {
        struct reload *t = g->members[i];
        struct error err = ERROR_INIT;
        if (t == NULL || (t->next != NULL && !t->next->lost))
            continue;
        error_set(&err, "worker.died", 0, "version %u died", t->to.number);
        transaction_abort(t, "load", &err);
        return;
    }
    for (size_t i = g->count; i > 0; i--) {
        if (g->members[i - 1] != NULL)
            transaction_switch(g->members[i - 1]);
    }
    memset(g->members, 0, sizeof g->members);
    group_free(g);
}

bool group_prepared(struct reload *t)
{
    struct reload_group *g = t->group;
    if (g == NULL)
        return false;
    if (++g->prepared == present(g))
        quiesce_all(g);
    return true;
}

bool group_loaded(struct reload *t)
{
    struct reload_group *g = t->group;
    if (g == NULL)
        return false;
    if (++g->loaded == present(g))
        switch_all(g);
    return true;
}

struct reload_group *group_leave(struct reload *t)
{
    struct reload_group *g = t->group;
    t->group = NULL;
    for (size_t i = 0; g != NULL && i < g->count; i++) {
        if (g->members[i] == t)
            g->members[i] = NULL;
    }
    return g;
}

void group_unchanged(struct reload *t)
{
    struct reload_group *g = group_leave(t);
    if (g == NULL)
        return;
    if (present(g) == 0)
        group_free(g);
    else if (g->prepared == present(g))
        quiesce_all(g);
}

void group_fail(struct reload_group *g, const char *module)
{
    struct error err = ERROR_INIT;
    if (g == NULL)
        return;
    g->leaving = true;
    error_set(&err, "reload.group", 0,
              "module \"%s\" failed, which is part of the same transaction", module);
    for (size_t i = 0; i < g->count; i++) {
        struct reload *other = g->members[i];
        if (other == NULL)
            continue;
        g->members[i] = NULL;
        other->group = NULL;
        transaction_abort(other, "group", &err);
    }
    group_free(g);
}

/* --- the members ---------------------------------------------------------------------------------
 */

struct selection {
    struct module *modules[GROUP_MAX];
    const struct reload_request *requests[GROUP_MAX]; /* NULL: comes along by --cascade */
    size_t count;
};

static int select_module(struct selection *s, struct module *m, const struct reload_request *r,
                         struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->modules[i] == m)
            return r == NULL
                       ? 0
                       : error_set(err, "usage.module", 0, "module \"%s\" is named twice", m->name);
    }
    if (s->count == GROUP_MAX)
        return error_set(err, "reload.too_many", 0, "more than %d modules at a time", GROUP_MAX);
    s->modules[s->count] = m;
    s->requests[s->count++] = r;
    return 0;
}

/** Whoever depends on one that is selected, and so on. */
static int cascade_from(struct keeper *k, struct selection *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        for (struct module *m = k->modules; m != NULL; m = m->next) {
            if (depends_on(m, s->modules[i]) && m->service != NULL && m->service->serving != NULL &&
                select_module(s, m, NULL, err) < 0)
                return -1;
        }
    }
    return 0;
}

/** Dependents first; what is left over when none can come next is a cycle. */
static int sort(struct selection *s, struct error *err)
{
    for (size_t at = 0; at < s->count; at++) {
        size_t next = s->count;
        for (size_t i = at; i < s->count && next == s->count; i++) {
            bool wanted = false; /* by one that comes later still */
            for (size_t j = at; j < s->count; j++)
                wanted = wanted || (j != i && depends_on(s->modules[j], s->modules[i]));
            if (!wanted)
                next = i;
        }
        if (next == s->count) {
            error_set(err, "module.cycle", 0,
                      "modules \"%s\" and \"%s\" depend on each other, directly or not",
                      s->modules[at]->name, s->modules[s->count - 1]->name);
            return error_hint(err, "change \"depends\" of one of them");
        }
        struct module *m = s->modules[at];
        const struct reload_request *r = s->requests[at];
        s->modules[at] = s->modules[next];
        s->requests[at] = s->requests[next];
        s->modules[next] = m;
        s->requests[next] = r;
    }
    return 0;
}

int reload_start_all(struct keeper *k, const struct reload_request *list, size_t count,
                     bool cascade, const struct reload_watch *w, size_t *ret_count,
                     struct error *err)
{
    struct selection s = {0};
    for (size_t i = 0; i < count; i++) {
        const struct reload_request *r = &list[i];
        bool has_source = r->number != 0 || r->artifact >= 0 || r->source != NULL;
        struct module *m =
            has_source ? modules_add(k, r->module, err) : modules_find(k, r->module, err);
        if (m == NULL || select_module(&s, m, r, err) < 0)
            return -1;
    }
    if ((cascade && cascade_from(k, &s, err) < 0) || sort(&s, err) < 0)
        return -1;
    struct reload_group *g = calloc(1, sizeof *g);
    if (g == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot begin a reload");
    for (size_t i = 0; i < s.count; i++) {
        struct reload_request r = {
            .module = s.modules[i]->name, .artifact = -1, .kind = list[0].kind, .cause = "cascade"};
        if (s.requests[i] != NULL)
            r = *s.requests[i];
        else
            r.number = s.modules[i]->active;
        if (reload_start(k, &r, w, err) == 0) {
            struct reload *t = s.modules[i]->service->reload;
            g->members[g->count++] = t;
            t->group = s.count > 1 ? g : NULL;
            continue;
        }
        /* nobody hears of those that were begun: the caller gets this error */
        struct error why = *err;
        for (size_t j = 0; j < g->count; j++) {
            struct reload *t = g->members[j];
            t->group = NULL;
            t->watch = (struct reload_watch){0};
            transaction_abort(t, "group", &why);
        }
        free(g);
        return -1;
    }
    if (g->count == 1)
        free(g);
    *ret_count = s.count;
    return 0;
}
