/* Starts children and timers: "start" answers the child's number, "ended" how many ended and the
 * last status, "timer" starts one of 10 ms, "once" one that comes once, "busy" 200 of 1 ms beside
 * 0.3 s of work, "ticks" how often they came. "bad" ends it when it is built with -DBAD. */
#include <cloche/module.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cloche_host *host;
static int ended_count, ended_status, ticks;

static int init(const struct cloche_host *h, void **self)
{
    (void)self;
    host = h;
    return 0;
}

static int is(const struct cloche_request *r, const char *word)
{
    return r->size == strlen(word) && memcmp(r->data, word, r->size) == 0;
}

static int handle(void *self, const struct cloche_request *r, struct cloche_reply *reply)
{
    const struct cloche_timer_v1 *t =
        (const struct cloche_timer_v1 *)cloche_get(host, CLOCHE_TIMER_ID);
    (void)self;
#ifdef BAD
    if (is(r, "bad"))
        abort();
#endif
    if (r->size > 0 && ((const char *)r->data)[0] == '{') {
        const struct cloche_children_v1 *c =
            (const struct cloche_children_v1 *)cloche_get(host, CLOCHE_CHILDREN_ID);
        char json[512] = "";
        uint64_t child = 0;
        memcpy(json, r->data, r->size < sizeof json - 1 ? r->size : sizeof json - 1);
        if (c->start(host, json, &child) != 0)
            return 1;
        return cloche_reply_number(reply, (int64_t)child);
    }
    if (is(r, "timer"))
        return t->start(host, 7, 10, 10);
    if (is(r, "once"))
        return t->start(host, 7, 400, 0);
    for (uint64_t token = 100; is(r, "busy") && token < 300; token++)
        t->start(host, token, 1, 1);
    if (is(r, "busy") || is(r, "work"))
        return usleep(300000);
    if (is(r, "ticks"))
        return cloche_reply_number(reply, ticks);
    cloche_reply_number(reply, ended_count);
    cloche_reply_text(reply, " ");
    return cloche_reply_number(reply, ended_status);
}

static void on_ended(void *self, uint64_t child, int status)
{
    (void)self;
    (void)child;
    ended_count++;
    ended_status = status;
}

static void on_expired(void *self, uint64_t token)
{
    (void)self;
    ticks += token == 7 || token == 299;
}

static const void *extension(void *self, const char *id)
{
    static const struct cloche_children_handler_v1 children = {sizeof children, on_ended};
    static const struct cloche_timer_handler_v1 timer = {sizeof timer, on_expired};
    (void)self;
    return strcmp(id, CLOCHE_CHILDREN_ID) == 0 ? (const void *)&children
           : strcmp(id, CLOCHE_TIMER_ID) == 0  ? (const void *)&timer
                                               : (const void *)0;
}

CLOCHE_MODULE("parent", .init = init, .handle = handle, .get_extension = extension);
