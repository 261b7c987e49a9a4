#include "runtime/keeper/queries.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static void add_number_or_null(cJSON *o, const char *name, uint64_t number)
{
    if (number == 0)
        cJSON_AddNullToObject(o, name);
    else
        cJSON_AddNumberToObject(o, name, (double)number);
}

static cJSON *version_json(const struct version *n, uint32_t active)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "version", n->number);
    cJSON_AddStringToObject(o, "status", version_status_name(n->status));
    cJSON_AddBoolToObject(o, "active", n->number == active);
    cJSON_AddBoolToObject(o, "pinned", n->pinned);
    cJSON_AddBoolToObject(o, "collected", n->collected);
    cJSON_AddStringToObject(o, "reason", n->reason);
    cJSON_AddStringToObject(o, "label", n->label);
    cJSON_AddNumberToObject(o, "schema", n->schema);
    cJSON_AddNumberToObject(o, "schema_min", n->schema_min);
    cJSON_AddNumberToObject(o, "flags", n->flags);
    cJSON_AddNumberToObject(o, "size_bytes", (double)n->size_bytes);
    cJSON_AddStringToObject(o, "sha256", n->sha256);
    add_number_or_null(o, "published_ms", n->published_ms);
    add_number_or_null(o, "good_ms", n->good_ms);
    cJSON *depends = cJSON_AddArrayToObject(o, "depends");
    for (size_t i = 0; i < n->depends.count; i++)
        cJSON_AddItemToArray(depends, cJSON_CreateString(n->depends.items[i]));
    return o;
}

cJSON *query_versions(struct versions *v, const char *module, uint32_t active, bool all,
                      struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version *rows;
    size_t count;
    uint32_t good = 0;
    if (store_list(v, a, module, all, &rows, &count, err) < 0 ||
        store_good(v, module, &good, err) < 0)
        return NULL;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "module", module);
    add_number_or_null(o, "active", active);
    add_number_or_null(o, "good", good);
    cJSON *list = cJSON_AddArrayToObject(o, "versions");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, version_json(&rows[i], active));
    return o;
}

/* The detail may be JSON itself. */
static void add_detail(cJSON *o, const char *detail)
{
    cJSON *parsed = detail != NULL && detail[0] == '{' ? cJSON_Parse(detail) : NULL;
    if (parsed != NULL)
        cJSON_AddItemToObject(o, "detail", parsed);
    else
        cJSON_AddStringToObject(o, "detail", detail != NULL ? detail : "");
}

cJSON *query_history(struct versions *v, const char *module, size_t limit, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct history_attempt *rows;
    size_t count;
    if (history_attempts(v, a, module, limit, &rows, &count, err) < 0)
        return NULL;
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "attempts");
    for (size_t i = 0; i < count; i++) {
        const struct history_attempt *h = &rows[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "attempt", (double)h->attempt);
        cJSON_AddStringToObject(row, "module", h->module);
        cJSON_AddStringToObject(row, "kind", h->kind);
        cJSON_AddStringToObject(row, "cause", h->cause);
        cJSON_AddStringToObject(row, "state", attempt_state_name(h->state));
        cJSON_AddBoolToObject(row, "ended", h->ended);
        add_number_or_null(row, "from", h->from);
        add_number_or_null(row, "to", h->to);
        cJSON_AddStringToObject(row, "reason", h->reason);
        add_detail(row, h->detail);
        cJSON_AddNumberToObject(row, "started_ms", (double)h->started_ms);
        cJSON_AddNumberToObject(row, "ended_ms", (double)h->ended_ms);
        cJSON_AddItemToArray(list, row);
    }
    return o;
}

/* --- without a keeper ---------------------------------------------------------------------------
 */

/* A module that never had a version. */
static int check_module(struct versions *v, const char *module, const char *id, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names = {0};
    char list[256] = "";
    size_t used = 0;
    if (store_modules(v, a, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.count; i++) {
        if (strcmp(names.items[i], module) == 0)
            return 0;
        if (used < sizeof list - 80)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                     names.items[i]);
    }
    error_set(err, "module.unknown", 0, "sandbox \"%s\" has no module \"%.80s\"", id, module);
    return used > 0 ? error_hint(err, "it has %s", list) : -1;
}

static int export(struct versions *v, const char *module, const struct frame *f, struct error *err)
{
    if (f->fd_count != 1)
        return error_set(err, "protocol.fields", 0, "export needs a file");
    return store_export(v, module, f->fds[0], err);
}

static int answer(int socket, cJSON *o)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    _cleanup_close_ int file = fields_add_json(&f, text != NULL ? text : "null");
    return frame_send(socket, FRAME_OK, 1, &f, &file, file >= 0, 0);
}

int query_store_failed(int state_fd, const char *id, struct error *err)
{
    char link[64], dir[400];
    error_wrap(err, "sandbox \"%s\"", id);
    snprintf(link, sizeof link, "/proc/self/fd/%d", state_fd);
    ssize_t n = readlink(link, dir, sizeof dir);
    if (strcmp(err->code, "store.corrupt") == 0 && n > 0 && (size_t)n < sizeof dir)
        error_hint(err, "move %.*s/sandbox.db away: its modules are built anew, without a history",
                   (int)n, dir);
    return -1;
}

static cJSON *look_up(struct versions *v, const char *id, const struct frame *f, struct error *err)
{
    const char *op = frame_get(f, "op"), *module = frame_get(f, "module");
    if (module != NULL && check_module(v, module, id, err) < 0)
        return NULL;
    if (op != NULL && strcmp(op, "history") == 0)
        return query_history(v, module, (size_t)frame_get_int(f, "limit", 0, INT32_MAX, 0), err);
    if (module == NULL)
        error_set(err, "protocol.fields", 0, "which module?");
    else if (op != NULL && strcmp(op, "versions") == 0)
        return query_versions(v, module, 0, frame_get_int(f, "all", 0, 1, 0) == 1, err);
    else if (op != NULL && strcmp(op, "export") == 0)
        return export(v, module, f, err) < 0 ? NULL : cJSON_CreateObject();
    else
        error_set(err, "protocol.operation", 0, "unknown question \"%s\"", op != NULL ? op : "");
    return NULL;
}

static int ask(int socket, int state_fd, const char *id, const struct frame *f, struct error *err)
{
    _cleanup_versions_ struct versions *v = NULL;
    if (faccessat(state_fd, "sandbox.db", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        error_set(err, "module.unknown", 0, "sandbox \"%s\" has no modules", id);
        return error_hint(err, "cloche create ID --module NAME=SOURCE makes one");
    }
    cJSON *o = versions_open_readonly(state_fd, &v, err) < 0 ? NULL : look_up(v, id, f, err);
    if (o == NULL)
        return strncmp(err->code, "store.", 6) == 0 ? query_store_failed(state_fd, id, err) : -1;
    return answer(socket, o);
}

int query_serve(int socket, int state_fd, const char *id)
{
    static struct frame f;
    struct error err = ERROR_INIT;
    if (frame_receive(socket, &f, 0) != 1)
        return -1;
    if (ask(socket, state_fd, id, &f, &err) == 0)
        return 0;
    _cleanup_fields_ struct fields e = FIELDS_INIT;
    fields_add_error(&e, &err);
    return frame_send(socket, FRAME_ERROR, 1, &e, NULL, 0, 0);
}
