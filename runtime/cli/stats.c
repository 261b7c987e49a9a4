/* stats, top and update: what a sandbox uses, what runs in it, what it may use. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <ctype.h>
#include <math.h>
#include <poll.h>
#include <string.h>

/* --- stats ---------------------------------------------------------------------------------------
 */

struct stats {
    bool json, watch, history, all; /* all: no id was given, so those that run are meant */
};

static const struct cli_option stats_options[] = {
    CLI_SWITCH(0, "history", "what was seen in the last hour, while somebody looked", stats,
               history),
    CLI_SWITCH(0, "watch", "again each second, CPU since the last time", stats, watch),
    CLI_SWITCH(0, "json", "as JSON, a line for each sandbox", stats, json),
    {0, NULL, NULL, NULL, NULL}};

#define SPARKS 20

struct last {
    double cpu_us, uptime_ms;
};

static void print_stats(const cJSON *o, struct last *last)
{
    char used[24], limit[24], peak[24], processes[24], in[24], out[24], share[24] = "-";
    const cJSON *u = cJSON_GetObjectItemCaseSensitive(o, "usage"),
                *l = cJSON_GetObjectItemCaseSensitive(o, "limits");
    double cpu = sandboxes_number(u, "cpu_us"), up = sandboxes_number(o, "uptime_ms");
    double percent = up > last->uptime_ms ? (cpu - last->cpu_us) / (up - last->uptime_ms) / 10 : 0;
    *last = (struct last){cpu, up};
    if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(u, "cpu_us")))
        snprintf(share, sizeof share, "%.1f%%", percent);
    printf("%-20s %7s %8s / %-8s %8s %6s %8s %8s  ", sandboxes_text(o, "id"), share,
           sandboxes_size_of(used, sizeof used, u, "memory_bytes", "-"),
           sandboxes_size_of(limit, sizeof limit, l, "memory_bytes", "any"),
           sandboxes_size_of(peak, sizeof peak, u, "memory_peak_bytes", "-"),
           sandboxes_count_of(processes, sizeof processes, u, "processes", "-"),
           sandboxes_size(in, sizeof in, sandboxes_number(u, "io_read_bytes")),
           sandboxes_size(out, sizeof out, sandboxes_number(u, "io_write_bytes")));
    double cpus = sandboxes_number(l, "cpus");
    sandboxes_sparkline(cJSON_GetObjectItemCaseSensitive(o, "recent_cpu_percent"), SPARKS,
                        cpus > 0 ? cpus * 100 : 100);
    fputs("  ", stdout);
    sandboxes_sparkline(cJSON_GetObjectItemCaseSensitive(o, "recent_memory_bytes"), SPARKS,
                        sandboxes_number(l, "memory_bytes"));
    putchar('\n');
}

static bool has_ended(const struct error *err)
{
    return client_without_keeper(err) || strcmp(err->code, "sandbox.not_running") == 0 ||
           strcmp(err->code, "sandbox.unknown") == 0;
}

/** One round over all; returns how many answered. */
static size_t round_of_stats(const struct strings *ids, const struct stats *s, struct last *last,
                             int *status)
{
    size_t answered = 0;
    if (!s->json)
        printf("%-20s %7s %8s / %-8s %8s %6s %8s %8s  %-*s  %s\n", "ID", "CPU", "MEMORY", "LIMIT",
               "PEAK", "PROCS", "READ", "WRITTEN", SPARKS, "CPU", "MEMORY");
    for (size_t i = 0; i < ids->count; i++) {
        struct error err = ERROR_INIT;
        cJSON *o = sandboxes_ask(ids->items[i], "stats", NULL, &err);
        if (o == NULL) {
            if (!s->all || !has_ended(&err))
                *status = cli_fail(&err, s->json, sandboxes_status(&err));
            continue;
        }
        if (s->json) {
            sandboxes_print(o);
            putchar('\n');
        } else {
            print_stats(o, &last[i]);
        }
        cJSON_Delete(o);
        answered++;
    }
    fflush(stdout);
    return answered;
}

/** Those that came since the last time, behind those that are known. */
static int add_new(struct arena *a, struct strings *ids, struct error *err)
{
    _cleanup_arena_ struct arena *now = arena_new();
    struct strings there = {0};
    if (client_list(now, &there, err) < 0)
        return -1;
    for (size_t i = 0, k; i < there.count; i++) {
        for (k = 0; k < ids->count && strcmp(ids->items[k], there.items[i]) != 0; k++)
            ;
        if (k == ids->count)
            strings_add(a, ids, there.items[i]);
    }
    return 0;
}

int cli_stats(int argc, char **argv)
{
    if (cli_wants_help("stats", stats_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct stats s = {0};
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    int status = 0;
    if (cli_parse_all(stats_options, &s, argc, argv, a, &ids, &err) < 0)
        return cli_fail(&err, s.json, EXIT_USAGE);
    s.all = ids.count == 0;
    if (s.all && client_list(a, &ids, &err) < 0)
        return cli_fail(&err, s.json, 1);
    for (size_t i = 0; s.history && i < ids.count; i++) {
        err = (struct error)ERROR_INIT;
        if (sandboxes_history(ids.items[i], s.json, &err) < 0)
            status = cli_fail(&err, s.json, sandboxes_status(&err));
    }
    if (s.history)
        return status;
    struct last *last = NULL;
    for (size_t known = 0;;) {
        for (; known < ids.count; known++)
            last = arena_grow(a, last, known, sizeof *last);
        if (round_of_stats(&ids, &s, last, &status) == 0 || !s.watch)
            return status;
        poll(NULL, 0, 1000);
        if (s.all && add_new(a, &ids, &err) < 0)
            return cli_fail(&err, s.json, 1);
    }
}

/* --- top -----------------------------------------------------------------------------------------
 */

static const struct cli_option top_options[] = {CLI_SWITCH(0, "json", "as JSON", stats, json),
                                                {0, NULL, NULL, NULL, NULL}};

static void print_processes(const cJSON *list)
{
    printf("%8s %8s %-5s %10s %8s  %s\n", "PID", "PARENT", "STATE", "CPU ms", "MEMORY", "NAME");
    for (int i = 0; i < cJSON_GetArraySize(list); i++) {
        const cJSON *p = cJSON_GetArrayItem(list, i);
        char memory[24], name[32];
        snprintf(name, sizeof name, "%s", sandboxes_text(p, "name"));
        for (char *c = name; *c != '\0'; c++) /* a program chooses its name */
            *c = (char)(iscntrl((unsigned char)*c) ? '?' : *c);
        printf("%8.0f %8.0f %-5s %10.0f %8s  %s\n", sandboxes_number(p, "pid"),
               sandboxes_number(p, "parent"), sandboxes_text(p, "state"),
               sandboxes_number(p, "cpu_ms"),
               sandboxes_size(memory, sizeof memory, sandboxes_number(p, "memory_bytes")), name);
    }
}

int cli_top(int argc, char **argv)
{
    if (cli_wants_help("top", top_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct stats s = {0};
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(top_options, &s, argc, argv, a, &ids, &err) < 0)
        return cli_fail(&err, s.json, EXIT_USAGE);
    if (ids.count != 1) {
        error_set(&err, "usage.no_id", 0, "one id is needed");
        error_hint(&err, "cloche top ID");
        return cli_fail(&err, s.json, EXIT_USAGE);
    }
    cJSON *o = sandboxes_ask(ids.items[0], "top", NULL, &err);
    if (o == NULL)
        return cli_fail(&err, s.json, sandboxes_status(&err));
    if (s.json) {
        sandboxes_print(o);
        putchar('\n');
    } else {
        print_processes(cJSON_GetObjectItemCaseSensitive(o, "processes"));
    }
    cJSON_Delete(o);
    return 0;
}

/* --- update --------------------------------------------------------------------------------------
 */

struct update {
    struct fields fields;
    bool json;
};

static int set_memory(void *context, const char *text, struct error *err)
{
    uint64_t bytes;
    if (spec_parse_size(text, &bytes, err) < 0)
        return -1;
    fields_add_int(&((struct update *)context)->fields, "memory_bytes", (int64_t)bytes);
    return 0;
}

static int set_processes(void *context, const char *text, struct error *err)
{
    uint64_t n;
    if (cli_parse_processes(text, &n, err) < 0)
        return -1;
    fields_add_int(&((struct update *)context)->fields, "processes", (int64_t)n);
    return 0;
}

static int set_cpus(void *context, const char *text, struct error *err)
{
    uint64_t quota_us;
    if (cli_parse_cpus(text, &quota_us, err) < 0)
        return -1;
    fields_add_int(&((struct update *)context)->fields, "cpu_quota_us", (int64_t)quota_us);
    return 0;
}

static const struct cli_option update_options[] = {
    {0, "memory", "SIZE", "memory of the whole tree", set_memory},
    {0, "pids-limit", "N", "processes and threads of the whole tree", set_processes},
    {0, "cpus", "N", "share of the machine", set_cpus},
    CLI_SWITCH(0, "json", "results and errors as JSON, a line each", update, json),
    {0, NULL, NULL, NULL, NULL}};

/** An option that is right for create, and cannot be changed afterwards. */
static void explain_fixed(int argc, char **argv, struct error *err)
{
    if (strcmp(err->code, "usage.unknown_option") != 0)
        return;
    for (int i = 1; i < argc; i++) {
        for (const struct cli_option *o = cli_sandbox_options; o->help != NULL; o++) {
            size_t n = strncmp(argv[i], "--", 2) == 0 ? strcspn(argv[i] + 2, "=") : 0;
            if (n == 0 || o->name == NULL || strlen(o->name) != n ||
                strncmp(o->name, argv[i] + 2, n) != 0)
                continue;
            bool known = false;
            for (const struct cli_option *u = update_options; u->help != NULL; u++)
                known = known || strcmp(u->name, o->name) == 0;
            if (known)
                continue;
            *err = (struct error)ERROR_INIT;
            error_set(err, "update.fixed", 0, "--%s cannot be changed while a sandbox lives",
                      o->name);
            error_hint(err, "destroy it and create it anew; memory, processes and CPUs can");
            return;
        }
    }
}

int cli_update(int argc, char **argv)
{
    if (cli_wants_help("update", update_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct update u = {0};
    struct strings ids = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_free_ struct frame *f = client_frame_new();
    int status = 0;
    if (cli_parse_all(update_options, &u, argc, argv, a, &ids, &err) < 0) {
        explain_fixed(argc, argv, &err);
        return cli_fail(&err, u.json, EXIT_USAGE);
    }
    if (ids.count == 0 || u.fields.used == 0) {
        error_set(&err, "usage.nothing", 0, "%s",
                  ids.count == 0 ? "no id given" : "no limit given");
        error_hint(&err, "cloche update ID --memory 512m");
        return cli_fail(&err, u.json, EXIT_USAGE);
    }
    for (size_t i = 0; i < ids.count; i++) {
        err = (struct error)ERROR_INIT;
        if (client_call(ids.items[i], "update", &u.fields, f, &err) < 0)
            status = cli_fail(&err, u.json, sandboxes_status(&err));
        else if (u.json)
            printf("{\"id\":\"%s\",\"done\":\"update\"}\n", ids.items[i]);
        else
            puts(ids.items[i]);
    }
    fields_free(&u.fields);
    return status;
}
