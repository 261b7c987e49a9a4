/* The operations "reload", "rollback" and "confirm": a client waits for a transaction, hears of its
 * steps as DATA, and gets OK when the new version serves, or, with wait=1, when the attempt has
 * come to its end or waits for its first request; ERROR when it failed before. The transaction does
 * not depend on the client. */
#include "runtime/keeper/reload.h"

#include "base/cleanup.h"
#include "runtime/keeper/service.h"
#include "runtime/keeper/transaction.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define MODULES_MAX 32 /* of one command */

struct waiting {
    struct waiting *next;
    struct keeper *keeper;
    struct connection *client; /* NULL: gone, or answered */
    uint32_t serial;
    uint64_t span;
    bool progress, wait;
    const char *operation;
    size_t expected, answers, ends; /* one for each module */
    cJSON *results;
    bool failed;
};

static struct waiting *all;

/** What became of one module; said when all have something to say. */
static void answer(struct waiting *w, const struct reload_result *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "module", r->module);
    cJSON_AddNumberToObject(o, "attempt", (double)r->attempt);
    cJSON_AddStringToObject(o, "state", attempt_state_name(r->state));
    cJSON_AddNumberToObject(o, "version", r->tried);
    cJSON_AddNumberToObject(o, "active", r->active);
    cJSON_AddNumberToObject(o, "step", r->step);
    cJSON_AddNumberToObject(o, "pause_us", (double)r->pause_us);
    cJSON_AddNumberToObject(o, "lost_updates", (double)r->lost_updates);
    cJSON_AddItemToArray(w->results, o);
    if (++w->answers < w->expected || w->client == NULL)
        return;
    connection_json(w->client, w->serial,
                    cJSON_PrintUnformatted(w->expected > 1 ? w->results : w->results->child));
    w->client = NULL;
}

static void on_step(void *context, int step, const char *text)
{
    const struct waiting *w = context;
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (w->client == NULL || !w->progress || (step >= 9 && step <= 12)) /* no time in the pause */
        return;
    fields_add_int(&f, "step", step);
    fields_add(&f, "text", text);
    connection_data(w->client, w->serial, &f, -1);
}

static void on_switched(void *context, const struct reload_result *r)
{
    struct waiting *w = context;
    if (!w->wait)
        answer(w, r);
}

static void on_untried(void *context, const struct reload_result *r)
{
    struct waiting *w = context;
    if (w->wait)
        answer(w, r);
}

static void finish(struct waiting *w)
{
    for (struct waiting **at = &all; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    cJSON_Delete(w->results);
    free(w);
}

static void on_ended(void *context, const struct reload_result *r)
{
    struct waiting *w = context;
    if (w->client != NULL && r->error != NULL) {
        connection_error(w->client, w->serial, r->error);
        w->client = NULL;
    } else if (!r->untried && (w->wait || w->client != NULL)) {
        answer(w, r);
    }
    if (r->error != NULL && !w->failed)
        journal_stop(w->keeper, w->span, w->operation, NULL, r->error);
    w->failed = w->failed || r->error != NULL;
    if (++w->ends < w->expected)
        return;
    if (!w->failed)
        journal_stop(w->keeper, w->span, w->operation, NULL, NULL);
    finish(w);
}

/** The probation has ended, and not always with GOOD. */
static void on_confirmed(void *context, const struct reload_result *r)
{
    struct waiting *w = context;
    struct error err = ERROR_INIT;
    if (r->error != NULL)
        err = *r->error;
    else if (r->state != ATTEMPT_GOOD)
        error_set(&err, "reload.superseded", 0,
                  "version %u of module \"%s\" was not confirmed: a newer attempt took over",
                  r->tried, r->module);
    bool failed = err.code != NULL;
    if (w->client != NULL && failed)
        connection_error(w->client, w->serial, &err);
    else if (w->client != NULL)
        connection_reply(w->client, w->serial, NULL);
    journal_stop(w->keeper, w->span, w->operation, NULL, failed ? &err : NULL);
    finish(w);
}

void reload_client_gone(struct connection *c)
{
    for (struct waiting *w = all; w != NULL; w = w->next) {
        if (w->client == c)
            w->client = NULL;
    }
}

static int start(struct connection *c, struct frame *f, const struct reload_request *list,
                 size_t count, struct error *err)
{
    struct keeper *k = c->keeper;
    struct waiting *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot begin a reload");
    *w = (struct waiting){.keeper = k,
                          .client = c,
                          .serial = f->head.serial,
                          .progress = frame_get_int(f, "progress", 0, 1, 0) == 1,
                          .wait = frame_get_int(f, "wait", 0, 1, 0) == 1,
                          .operation = list[0].kind,
                          .results = cJSON_CreateArray()};
    const struct reload_watch watch = {.step = on_step,
                                       .switched = on_switched,
                                       .untried = on_untried,
                                       .ended = on_ended,
                                       .context = w};
    w->span = journal_start(k, list[0].kind, c, list[0].module);
    w->next = all;
    all = w;
    bool cascade = frame_get_int(f, "cascade", 0, 1, 0) == 1;
    if (reload_start_all(k, list, count, cascade, &watch, &w->expected, err) == 0)
        return 0;
    journal_stop(k, w->span, list[0].kind, c, err);
    finish(w);
    return -1;
}

/** @back: to a version that has left one. */
static int state_choice(const struct frame *f, bool back, enum reload_state *ret, struct error *err)
{
    const char *word = frame_get(f, "state");
    *ret = RELOAD_STATE_MIGRATE;
    if (word == NULL || strcmp(word, "migrate") == 0 || strcmp(word, "keep") == 0)
        return 0;
    *ret = strcmp(word, "empty") == 0 ? RELOAD_STATE_EMPTY : RELOAD_STATE_SNAPSHOT;
    if (*ret == RELOAD_STATE_EMPTY || (back && strcmp(word, "snapshot") == 0))
        return 0;
    error_set(err, "usage.state", 0, "\"%.40s\" is nothing that can become of the state", word);
    return error_hint(err, back ? "migrate, snapshot or empty" : "migrate or empty");
}

int op_reload(struct connection *c, struct frame *f, struct error *err)
{
    struct reload_request list[MODULES_MAX];
    size_t count = 0;
    const char *source = NULL;
    /* module and source take turns; "" is the module's own source */
    for (const char *name = NULL; (name = frame_next(f, "module", name)) != NULL; count++) {
        if (count == MODULES_MAX)
            return error_set(err, "reload.too_many", 0, "more than %d modules at a time",
                             MODULES_MAX);
        source = frame_next(f, "source", source);
        list[count] = (struct reload_request){
            .module = name,
            .artifact = count == 0 && f->fd_count > 0 ? f->fds[0] : -1,
            .artifact_name = frame_get(f, "artifact"),
            .source = source != NULL && source[0] != '\0' ? source : NULL,
            .kind = "reload",
            .cause = "command",
            .force_drain = frame_get_int(f, "force_drain", 0, 1, 0) == 1,
            .supersede = frame_get_int(f, "supersede", 0, 1, 0) == 1,
        };
        struct reload_request *r = &list[count];
        if (state_choice(f, false, &r->state, err) < 0)
            return -1;
        if (r->source != NULL && r->source[0] != '/')
            return error_set(err, "usage.source", 0, "source \"%s\" is not absolute", r->source);
        if (source == NULL && name != frame_get(f, "module"))
            return error_set(err, "usage.source", 0, "a source for each module, or none");
    }
    if (count == 0)
        return error_set(err, "usage.module", 0, "no module named");
    return start(c, f, list, count, err);
}

static int roll_back(struct connection *c, struct frame *f, struct service *s, const char *name,
                     struct error *err)
{
    struct keeper *k = c->keeper;
    struct reload_request r = {.module = name,
                               .number = (uint32_t)frame_get_int(f, "number", 1, UINT32_MAX, 0),
                               .artifact = -1,
                               .kind = "rollback",
                               .cause = "command",
                               .supersede = frame_get_int(f, "supersede", 0, 1, 0) == 1};
    if (modules_store(k, err) == NULL || state_choice(f, true, &r.state, err) < 0)
        return -1;
    if (r.number == 0 && s->probation != NULL)
        r.number = reload_fallback(s);
    if (r.number == 0 &&
        history_previous_good(k->versions, s->name, s->active.number, &r.number, err) < 0)
        return -1;
    if (r.number == 0) {
        error_set(err, "reload.no_previous", 0, "module \"%s\" has no GOOD version before %u",
                  s->name, s->active.number);
        return error_hint(err, "cloche versions %s %s", k->id, s->name);
    }
    return start(c, f, &r, 1, err);
}

int op_rollback(struct connection *c, struct frame *f, struct error *err)
{
    const char *name = frame_get(f, "module");
    struct service *s = service_require(c->keeper, name != NULL ? name : "", err);
    if (s == NULL || roll_back(c, f, s, name, err) == 0)
        return s == NULL ? -1 : 0;
    if (strcmp(err->code, "reload.busy") == 0) /* which names the other's step */
        return -1;
    error_wrap(err, "step 1 (%s) of module \"%s\"", transaction_step_name(1), s->name);
    if (s->active.number != 0)
        error_append(err, "version %u still serves", s->active.number);
    return -1;
}

int op_confirm(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    const char *name = frame_get(f, "module");
    struct waiting *w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot confirm");
    *w = (struct waiting){.keeper = k,
                          .client = c,
                          .serial = f->head.serial,
                          .operation = "confirm",
                          .span = journal_start(k, "confirm", c, name),
                          .next = all};
    all = w;
    const struct reload_watch watch = {.ended = on_confirmed, .context = w};
    if (reload_confirm(k, name != NULL ? name : "", &watch, err) == 0)
        return 0;
    journal_stop(k, w->span, "confirm", c, err);
    finish(w);
    return -1;
}
