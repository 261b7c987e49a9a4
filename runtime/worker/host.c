/* What a module may ask of its host: cloche.log/1, cloche.timer/1, cloche.children/1. All of them
 * are messages to the keeper; none waits for an answer. */
#include "runtime/worker/host.h"

#include "base/cleanup.h"

#include <string.h>

static struct host *of(const struct cloche_host *api)
{
    return api->opaque;
}

static void send_out(struct host *h, const int *fd)
{
    if (fd == NULL && mailbox_put(&h->box, h->out.data, h->out.used)) {
        h->out.used = 0;
        return;
    }
    if (wire_send(WIRE_SOCKET, h->box.sent + 1, h->out.data, h->out.used, fd, fd != NULL, 0) < 0)
        _exit(1);
    mailbox_sent(&h->box);
    h->out.used = 0;
}

void host_flush(struct host *h)
{
    if (h->out.used > 0)
        send_out(h, NULL);
}

void host_put(struct host *h, const struct wire_record *r, const void *payload, int fd)
{
    if (fd >= 0 || !wire_fits(&h->out, r->size))
        host_flush(h);
    if (h->out.used == 0)
        wire_begin(&h->out, &h->box);
    wire_add(&h->out, r, payload);
    if (fd < 0)
        return;
    send_out(h, &fd);
    close(fd);
}

void host_done(struct host *h, enum wire_failure failure, const char *text, int fd)
{
    size_t size = text != NULL ? strnlen(text, WIRE_DETAIL_MAX) : 0;
    const struct wire_record r = {.type = WIRE_DONE,
                                  .size = (uint32_t)size,
                                  .value = (uint64_t)failure,
                                  .flags = fd >= 0 ? WIRE_FD : 0};
    host_stage(h, WIRE_OK);
    host_put(h, &r, text, fd);
    host_flush(h);
}

static void log_write(const struct cloche_host *api, int level, const char *text, size_t size)
{
    struct host *h = of(api);
    const struct wire_record r = {.type = WIRE_LOG,
                                  .size = (uint32_t)(size < 4096 ? size : 4096),
                                  .value = (uint64_t)(level < 0 ? 0 : level)};
    if (text == NULL)
        return;
    host_put(h, &r, text, -1);
    host_flush(h);
}

static int timer_start(const struct cloche_host *api, uint64_t token, uint64_t delay_ms,
                       uint64_t period_ms)
{
    const uint64_t times[2] = {delay_ms, period_ms};
    const struct wire_record r = {.type = WIRE_TIMER, .size = sizeof times, .id = token};
    host_put(of(api), &r, times, -1);
    host_flush(of(api));
    return 0;
}

static int timer_cancel(const struct cloche_host *api, uint64_t token)
{
    const struct wire_record r = {.type = WIRE_CANCEL, .id = token};
    host_put(of(api), &r, NULL, -1);
    host_flush(of(api));
    return 0;
}

static int child_start(const struct cloche_host *api, const char *spec_json, uint64_t *ret_child)
{
    struct host *h = of(api);
    size_t size = spec_json != NULL ? strlen(spec_json) : 0;
    if (size == 0 || size > WIRE_INLINE_MAX)
        return -1;
    const struct wire_record r = {
        .type = WIRE_CHILD_START, .size = (uint32_t)size, .id = ++h->last_child};
    host_put(h, &r, spec_json, -1);
    host_flush(h);
    if (ret_child != NULL)
        *ret_child = h->last_child;
    return 0;
}

static int child_stop(const struct cloche_host *api, uint64_t child)
{
    const struct wire_record r = {.type = WIRE_CHILD_STOP, .id = child};
    host_put(of(api), &r, NULL, -1);
    host_flush(of(api));
    return 0;
}

static const struct cloche_log_v1 log_api = {sizeof log_api, log_write};
static const struct cloche_timer_v1 timer_api = {sizeof timer_api, timer_start, timer_cancel};
static const struct cloche_children_v1 children_api = {sizeof children_api, child_start,
                                                       child_stop};

static const void *get_extension(const struct cloche_host *api, const char *id)
{
    static const struct {
        const char *id;
        const void *api;
    } known[] = {
        {CLOCHE_LOG_ID, &log_api},
        {CLOCHE_TIMER_ID, &timer_api},
        {CLOCHE_CHILDREN_ID, &children_api},
    };
    (void)api;
    for (size_t i = 0; id != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].id, id) == 0)
            return known[i].api;
    }
    return NULL;
}

void host_open(struct host *h)
{
    h->api = (struct cloche_host){.struct_size = sizeof h->api,
                                  .major = CLOCHE_MODULE_MAJOR,
                                  .minor = CLOCHE_MODULE_MINOR,
                                  .module = h->name,
                                  .version = h->init.version,
                                  .arena = h->api.arena,
                                  .arena_size = h->api.arena_size,
                                  .opaque = h,
                                  .get_extension = get_extension};
}
