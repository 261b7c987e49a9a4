/* Looking at sandboxes: list and info. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"
#include "runtime/reconcile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAKING_S  10
#define ANSWER_MS 3000 /* a keeper answers such questions at once */

/** What is known of a sandbox whose keeper is there and gives no answer. */
static cJSON *without_answer(const char *id, const struct error *why)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "status", "busy(keeper)");
    cJSON_AddStringToObject(o, "reason", why->message);
    return o;
}

/** Whether its directory was made a moment ago, and its keeper may still be on its way. */
static bool is_young(const char *id)
{
    struct stat st;
    _cleanup_close_ int dir = client_open_state(id, ".", NULL);
    return dir >= 0 && fstat(dir, &st) == 0 && time(NULL) - st.st_mtime < MAKING_S;
}

cJSON *sandboxes_ask(const char *id, const char *operation, const struct fields *fields,
                     struct error *err)
{
    client_set_deadline(client_now_ms() + ANSWER_MS);
    _cleanup_free_ char *text = client_json(id, operation, fields, err);
    client_set_deadline(0);
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    if (text != NULL && o == NULL)
        error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    return o;
}

cJSON *sandboxes_info(const char *id, struct error *err)
{
    struct error ours = ERROR_INIT;
    cJSON *answer = sandboxes_ask(id, "info", NULL, &ours);
    if (answer != NULL)
        return answer;
    if (!client_without_keeper(&ours)) {
        *err = ours;
        return NULL;
    }
    /* what it was before its keeper went; without a record it is being made right now */
    _cleanup_arena_ struct arena *a = arena_new();
    const char *text = client_record(a, id);
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    const char *status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "status"));
    if (!cJSON_IsObject(o)) {
        cJSON_Delete(o);
        bool being_made = text == NULL && is_young(id);
        o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "id", id);
        cJSON_AddStringToObject(o, "status", being_made ? "initializing" : "failed(keeper)");
        if (!being_made)
            cJSON_AddStringToObject(o, "reason",
                                    text == NULL ? "its keeper never came up"
                                                 : "the keeper was killed, its record is ruined");
    } else if (status == NULL ||
               (strcmp(status, "failed") != 0 && strcmp(status, "stopped") != 0)) {
        cJSON_DeleteItemFromObject(o, "reason");
        cJSON_DeleteItemFromObject(o, "status");
        cJSON_AddStringToObject(o, "status", "failed(keeper)");
        cJSON_AddStringToObject(o, "reason", "the keeper was killed");
    }
    return o;
}

const char *sandboxes_text(const cJSON *o, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return text != NULL ? text : "";
}

double sandboxes_number(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

void sandboxes_print(const cJSON *o)
{
    _cleanup_free_ char *text = cJSON_PrintUnformatted(o);
    fputs(text != NULL ? text : "null", stdout);
}

const char *sandboxes_size(char *buf, size_t size, double bytes)
{
    static const char units[] = "BKMGT";
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(buf, size, unit == 0 || bytes >= 100 ? "%.0f%c" : "%.1f%c", bytes, units[unit]);
    return buf;
}

const char *sandboxes_size_of(char *buf, size_t size, const cJSON *o, const char *name,
                              const char *none)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(n) ? sandboxes_size(buf, size, n->valuedouble) : none;
}

const char *sandboxes_count_of(char *buf, size_t size, const cJSON *o, const char *name,
                               const char *none)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!cJSON_IsNumber(n))
        return none;
    snprintf(buf, size, "%.0f", n->valuedouble);
    return buf;
}

const char *sandboxes_time(char *buf, size_t size, double ms)
{
    unsigned long s = ms > 0 ? (unsigned long)(ms / 1000) : 0;
    if (s < 60)
        snprintf(buf, size, "%lus", s);
    else if (s < 3600)
        snprintf(buf, size, "%lum%02lus", s / 60, s % 60);
    else
        snprintf(buf, size, "%luh%02lum", s / 3600, s % 3600 / 60);
    return buf;
}

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    *(bool *)context = true;
    return 0;
}

static const struct cli_option options[] = {{0, "json", NULL, "as JSON", set_json},
                                            {0, NULL, NULL, NULL, NULL}};

struct row {
    cJSON *info;
};

static int by_age(const void *a, const void *b)
{
    double x = sandboxes_number(((const struct row *)a)->info, "created_ms"),
           y = sandboxes_number(((const struct row *)b)->info, "created_ms");
    return x < y ? -1 : x > y ? 1 : 0;
}

static void print_row(const cJSON *o)
{
    char memory[24], up[24], processes[24];
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(o, "usage");
    bool alive = sandboxes_number(o, "init_pid") > 0;
    printf("%-20s %-15s %-9s %6s %8s %8s %9.0f\n", sandboxes_text(o, "id"),
           sandboxes_text(o, "status"),
           alive ? sandboxes_time(up, sizeof up, sandboxes_number(o, "uptime_ms")) : "-",
           sandboxes_count_of(processes, sizeof processes, usage, "processes", "-"),
           alive ? sandboxes_size_of(memory, sizeof memory, usage, "memory_bytes", "-") : "-",
           sandboxes_text(o, "profile")[0] != '\0' ? sandboxes_text(o, "profile") : "-",
           sandboxes_number(o, "restarts"));
}

int cli_list(int argc, char **argv)
{
    if (cli_wants_help("list", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    bool json = false;
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    int first = cli_parse(options, &json, argc, argv, &err);
    if (first < 0 || first < argc) {
        if (first >= 0)
            error_set(&err, "usage.operand", 0, "list takes no id; info does");
        return cli_fail(&err, json, EXIT_USAGE);
    }
    if (client_list(a, &ids, &err) < 0)
        return cli_fail(&err, json, 1);
    struct row *all = arena_alloc(a, (ids.count + 1) * sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < ids.count; i++) {
        err = (struct error)ERROR_INIT;
        cJSON *o = sandboxes_info(ids.items[i], &err);
        bool abandoned = o != NULL && !cJSON_HasObjectItem(o, "keeper_pid");
        if (o == NULL && strcmp(err.code, "sandbox.unknown") != 0) /* not destroyed meanwhile */
            o = without_answer(ids.items[i], &err);
        if (abandoned && reconcile_expired(ids.items[i]))
            cJSON_Delete(o);
        else if (o != NULL)
            all[count++].info = o;
    }
    if (count > 0)
        qsort(all, count, sizeof *all, by_age);
    if (!json)
        printf("%-20s %-15s %-9s %6s %8s %8s %9s\n", "ID", "STATUS", "UP", "PROCS", "MEMORY",
               "PROFILE", "RESTARTS");
    else
        putchar('[');
    for (size_t i = 0; i < count; i++) {
        if (json && i > 0)
            putchar(',');
        if (json)
            sandboxes_print(all[i].info);
        else
            print_row(all[i].info);
        cJSON_Delete(all[i].info);
    }
    if (json)
        puts("]");
    return 0;
}

static void print_children(const cJSON *list)
{
    const cJSON *c;
    cJSON_ArrayForEach(c, list)
    {
        const char *last = sandboxes_text(c, "last");
        const cJSON *module = cJSON_GetObjectItemCaseSensitive(c, "module");
        printf("  child      %s: %s, restarts %.0f%s%s", sandboxes_text(c, "id"),
               sandboxes_text(c, "state"), sandboxes_number(c, "restarts"),
               last[0] != '\0' ? ", last end: " : "", last);
        if (module != NULL && sandboxes_number(module, "active") > 0)
            printf(", version %.0f %s", sandboxes_number(module, "active"),
                   sandboxes_text(module, "state"));
        else if (module != NULL)
            printf(", no version serves");
        putchar('\n');
    }
}

static void print_info(const cJSON *o)
{
    char buf[32], limit[32];
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(o, "usage"),
                *limits = cJSON_GetObjectItemCaseSensitive(o, "limits");
    time_t created = (time_t)(sandboxes_number(o, "created_ms") / 1000);
    struct tm tm;
    char date[40] = "";
    strftime(date, sizeof date, "%F %T %z", localtime_r(&created, &tm));
    printf("%s\n  status     %s%s%s\n  created    %s\n", sandboxes_text(o, "id"),
           sandboxes_text(o, "status"), sandboxes_text(o, "reason")[0] != '\0' ? ": " : "",
           sandboxes_text(o, "reason"), date);
    if (sandboxes_text(o, "profile")[0] != '\0')
        printf("  profile    %s\n", sandboxes_text(o, "profile"));
    printf("  restarts   %.0f\n", sandboxes_number(o, "restarts"));
    if (sandboxes_number(o, "init_pid") <= 0)
        return;
    printf("  up         %s\n  keeper     %.0f\n  init       %.0f\n",
           sandboxes_time(buf, sizeof buf, sandboxes_number(o, "uptime_ms")),
           sandboxes_number(o, "keeper_pid"), sandboxes_number(o, "init_pid"));
    printf("  memory     %s of %s, peak ",
           sandboxes_size_of(buf, sizeof buf, usage, "memory_bytes", "-"),
           sandboxes_size_of(limit, sizeof limit, limits, "memory_bytes", "any"));
    puts(sandboxes_size_of(buf, sizeof buf, usage, "memory_peak_bytes", "-"));
    printf("  processes  %s of %s\n", sandboxes_count_of(buf, sizeof buf, usage, "processes", "-"),
           sandboxes_count_of(limit, sizeof limit, limits, "processes", "any"));
    if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(usage, "cpu_us")))
        printf("  CPU time   %.1f ms\n", sandboxes_number(usage, "cpu_us") / 1000);
    else
        puts("  CPU time   -");
    printf("  commands   %.0f\n", sandboxes_number(o, "commands"));
    print_children(cJSON_GetObjectItemCaseSensitive(o, "children"));
}

int cli_info(int argc, char **argv)
{
    if (cli_wants_help("info", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    bool json = false;
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(options, &json, argc, argv, a, &ids, &err) < 0)
        return cli_fail(&err, json, EXIT_USAGE);
    if (ids.count == 0) {
        error_set(&err, "usage.no_id", 0, "no id given");
        error_hint(&err, "cloche info ID...");
        return cli_fail(&err, json, EXIT_USAGE);
    }
    int status = 0;
    for (size_t i = 0; i < ids.count; i++) {
        err = (struct error)ERROR_INIT;
        cJSON *o = sandboxes_info(ids.items[i], &err);
        if (o == NULL) {
            status = cli_fail(&err, json, sandboxes_status(&err));
            continue;
        }
        if (json) {
            sandboxes_print(o);
            putchar('\n');
        } else {
            print_info(o);
        }
        cJSON_Delete(o);
    }
    return status;
}
