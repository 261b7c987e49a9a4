/* What clients ask about stored versions. Changes go through a publisher, beside the loop. */
#include "base/cleanup.h"
#include "runtime/keeper/modules.h"
#include "runtime/keeper/queries.h"
#include "runtime/keeper/service.h"

#include <stdlib.h>
#include <string.h>

static int answer(struct connection *c, const struct frame *f, cJSON *o)
{
    if (o == NULL)
        return -1;
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}

static void record_all(struct keeper *k)
{
    for (struct module *m = k->modules; m != NULL; m = m->next) {
        if (m->service != NULL)
            reload_record(m->service);
    }
}

int op_versions(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    const struct module *m = modules_find(k, frame_get(f, "module"), err);
    if (m == NULL || modules_store(k, err) == NULL)
        return -1;
    record_all(k);
    return answer(c, f,
                  query_versions(k->versions, m->name, m->active,
                                 frame_get_int(f, "all", 0, 1, 0) == 1, err));
}

int op_history(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    const char *name = frame_get(f, "module");
    if ((name != NULL && modules_find(k, name, err) == NULL) || modules_store(k, err) == NULL)
        return -1;
    record_all(k);
    return answer(
        c, f,
        query_history(k->versions, name, (size_t)frame_get_int(f, "limit", 0, INT32_MAX, 0), err));
}

/* --- changes ------------------------------------------------------------------------------------
 */

struct changing {
    struct keeper *keeper;
    struct connection *client;
    uint32_t serial;
    uint64_t span;
    const char *event;
    char module[72];
};

static void on_changed(void *context, const struct build_result *r)
{
    struct changing *g = context;
    struct keeper *k = g->keeper;
    struct connection *c = k->connections;
    while (c != NULL && c != g->client) /* the client may have gone meanwhile */
        c = c->next;
    bool failed = r->status == BUILD_FAILED;
    journal_stop(k, g->span, g->event, c, failed ? &r->error : NULL);
    if (c != NULL && failed) {
        struct error err = r->error;
        error_wrap(&err, "%s", g->event);
        if (strcmp(g->event, "import") == 0)
            error_hint(&err, "cloche export ID %s makes an archive of that module", g->module);
        connection_error(c, g->serial, &err);
    } else if (c != NULL) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "module", g->module);
        if (strcmp(g->event, "import") == 0)
            cJSON_AddItemToObject(o, "versions", cJSON_Parse(r->imported));
        else
            cJSON_AddNumberToObject(o, "version", r->number);
        connection_json(c, g->serial, cJSON_PrintUnformatted(o));
        cJSON_Delete(o);
    }
    free(g);
}

static int change(struct connection *c, const struct frame *f, const struct module *m,
                  const char *event, const struct build_options *o, struct error *err)
{
    struct keeper *k = c->keeper;
    struct changing *g = calloc(1, sizeof *g);
    if (g == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot change the store");
    *g = (struct changing){.keeper = k, .client = c, .serial = f->head.serial, .event = event};
    snprintf(g->module, sizeof g->module, "%s", m->name);
    g->span = journal_start(k, event, c, m->name);
    if (build_start(k, m->name, o, on_changed, g, err) != NULL)
        return 0;
    journal_stop(k, g->span, event, c, err);
    free(g);
    return -1;
}

static int pin(struct connection *c, struct frame *f, bool pinned, struct error *err)
{
    const struct module *m = modules_find(c->keeper, frame_get(f, "module"), err);
    const struct build_options o = {.source.fd = -1,
                                    .change = "pin",
                                    .number =
                                        (uint32_t)frame_get_int(f, "version", 1, UINT32_MAX, 0),
                                    .pinned = pinned};
    if (m == NULL)
        return -1;
    if (o.number == 0)
        return error_set(err, "usage.version", 0, "a version is a number from 1 on");
    return change(c, f, m, pinned ? "pin" : "unpin", &o, err);
}

int op_pin(struct connection *c, struct frame *f, struct error *err)
{
    return pin(c, f, true, err);
}

int op_unpin(struct connection *c, struct frame *f, struct error *err)
{
    return pin(c, f, false, err);
}

int op_import(struct connection *c, struct frame *f, struct error *err)
{
    if (f->fd_count != 1)
        return error_set(err, "protocol.fields", 0, "import needs a file");
    const struct module *m = modules_add(c->keeper, frame_get(f, "module"), err);
    const struct build_options o = {.source.fd = f->fds[0], .change = "import"};
    if (m == NULL || modules_store(c->keeper, err) == NULL)
        return -1;
    return change(c, f, m, "import", &o, err);
}
