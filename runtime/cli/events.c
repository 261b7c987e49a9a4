/* events: what happened, who asked for it, how long it took and how it ended. Of living sandboxes
 * from their state directory, of those that are gone from the audit; no keeper is asked. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/audit.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <fnmatch.h>
#include <string.h>
#include <time.h>

struct events {
    bool follow, json;
    const char *name; /* a pattern; NULL: all */
    double since;     /* seconds of the clock on the wall */

    const char *sandbox; /* of the audit: only this one's */
    size_t shown, used;
    char line[16384];
};

static int set_follow(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct events *)context)->follow = true;
    return 0;
}

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct events *)context)->json = true;
    return 0;
}

static int set_name(void *context, const char *text, struct error *err)
{
    (void)err;
    ((struct events *)context)->name = text;
    return 0;
}

static int set_since(void *context, const char *text, struct error *err)
{
    uint64_t ms;
    if (spec_parse_duration(text, &ms, err) < 0)
        return -1;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ((struct events *)context)->since =
        (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)ms / 1000;
    return 0;
}

static const struct cli_option options[] = {
    {'f', "follow", NULL, "go on as it grows; of one sandbox until it is destroyed", set_follow},
    {0, "name", "PATTERN", "only these, such as 'exec.*' or security.violation", set_name},
    {0, "since", "TIME", "not older than this, such as 10m", set_since},
    {0, "json", NULL, "as JSON, a line each; errors as JSON", set_json},
    {0, NULL, NULL, NULL, NULL}};

static bool is_wanted(const struct events *e, const cJSON *o)
{
    return (e->name == NULL || fnmatch(e->name, sandboxes_text(o, "event"), 0) == 0) &&
           sandboxes_number(o, "time") >= e->since &&
           (e->sandbox == NULL || strcmp(e->sandbox, sandboxes_text(o, "sandbox")) == 0);
}

static void print(const cJSON *o)
{
    double at = sandboxes_number(o, "time");
    time_t s = (time_t)at;
    struct tm tm;
    char date[40] = "", took[32] = "", who[48] = "", near[64] = "";
    strftime(date, sizeof date, "%F %T", localtime_r(&s, &tm));
    if (cJSON_HasObjectItem(o, "duration_ms"))
        snprintf(took, sizeof took, "  %.1f ms", sandboxes_number(o, "duration_ms"));
    if (cJSON_HasObjectItem(o, "uid"))
        snprintf(who, sizeof who, "  by uid %.0f pid %.0f", sandboxes_number(o, "uid"),
                 sandboxes_number(o, "pid"));
    if (cJSON_HasObjectItem(o, "percent"))
        snprintf(near, sizeof near, "  %.20s at %.0f %% of its limit",
                 sandboxes_text(o, "resource"), sandboxes_number(o, "percent"));
    const char *detail = sandboxes_text(o, "detail"), *message = sandboxes_text(o, "message");
    printf("%s.%03d  %-20s %-20s%s%s%s%s%s%s%s\n", date, (int)((at - (double)s) * 1000),
           sandboxes_text(o, "sandbox"), sandboxes_text(o, "event"), detail[0] != '\0' ? "  " : "",
           detail, message[0] != '\0' ? "  " : "", message, near, took, who);
}

static void show_line(struct events *e)
{
    cJSON *o = cJSON_Parse(e->line);
    if (o == NULL || !is_wanted(e, o)) {
        cJSON_Delete(o);
        return;
    }
    e->shown++;
    if (e->json)
        puts(e->line);
    else
        print(o);
    cJSON_Delete(o);
}

static void show(void *context, const char *data, size_t size)
{
    struct events *e = context;
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n') {
            if (e->used < sizeof e->line - 1)
                e->line[e->used++] = data[i];
            continue;
        }
        e->line[e->used] = '\0';
        if (e->used > 0)
            show_line(e);
        e->used = 0;
    }
}

/** Of all that are gone, or of @id alone. */
static int show_audit(struct events *e, const char *id, struct error *err)
{
    _cleanup_close_ int dir = audit_open(err);
    if (dir < 0)
        return -1;
    e->sandbox = id;
    int rc = sandboxes_show_file(dir, AUDIT_FILE, false, show, e, err);
    e->sandbox = NULL;
    return rc;
}

static int show_one(struct events *e, const char *id, struct error *err)
{
    struct error ours = ERROR_INIT;
    _cleanup_close_ int dir = client_open_state(id, ".", &ours);
    if (dir >= 0)
        return sandboxes_show_file(dir, "events.jsonl", e->follow, show, e, err);
    size_t before = e->shown;
    if (strcmp(ours.code, "sandbox.unknown") == 0 && !e->follow && show_audit(e, id, err) == 0 &&
        e->shown > before)
        return 0;
    *err = ours;
    return -1;
}

int cli_events(int argc, char **argv)
{
    if (cli_wants_help("events", options, argc, argv))
        return 0;
    static struct events e;
    struct error err = ERROR_INIT;
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(options, &e, argc, argv, a, &ids, &err) < 0)
        return cli_fail(&err, e.json, EXIT_USAGE);
    if (e.follow && ids.count > 1) {
        error_set(&err, "usage.no_id", 0, "-f follows one sandbox, or all");
        error_hint(&err, "cloche events -f [ID]");
        return cli_fail(&err, e.json, EXIT_USAGE);
    }
    if (ids.count == 0 && show_audit(&e, NULL, &err) < 0)
        return cli_fail(&err, e.json, 1);
    if (ids.count == 0 && (e.follow ? sandboxes_follow_all("events.jsonl", show, &e, &err)
                                    : client_list(a, &ids, &err)) < 0)
        return cli_fail(&err, e.json, 1);
    int status = 0;
    for (size_t i = 0; i < ids.count; i++) {
        err = (struct error)ERROR_INIT;
        if (show_one(&e, ids.items[i], &err) < 0)
            status = cli_fail(&err, e.json, sandboxes_status(&err));
    }
    return status;
}
