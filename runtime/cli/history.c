/* What a sandbox used in the last hour: a table or JSON, and the sparklines of stats. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIME, MEMORY, CPU, PROCESSES, READ, WRITTEN, WAIT_CPU, WAIT_MEMORY, WAIT_IO, COLUMNS };

static bool is_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value != NULL && *value != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

void sandboxes_sparkline(const cJSON *values, size_t width, double full)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    const char *const *marks = is_utf8() ? blocks : plain;
    size_t count = (size_t)cJSON_GetArraySize(values), first = count > width ? count - width : 0;
    double most = full;
    const cJSON *v;
    size_t i = 0;
    cJSON_ArrayForEach(v, values)
    {
        if (full <= 0 && v->valuedouble > most)
            most = v->valuedouble;
    }
    for (size_t n = count - first; n < width; n++)
        putchar(' ');
    cJSON_ArrayForEach(v, values)
    {
        if (i++ < first)
            continue;
        double share = most > 0 ? v->valuedouble / most : 0;
        fputs(marks[share >= 1 ? 7 : share <= 0 ? 0 : (int)(share * 8)], stdout);
    }
}

/** One page after the other into one object. */
static cJSON *fetch(const char *id, struct error *err)
{
    cJSON *all = NULL;
    int64_t since = 0;
    for (bool more = true; more;) {
        _cleanup_fields_ struct fields fields = FIELDS_INIT;
        fields_add_int(&fields, "since_ms", since);
        cJSON *page = sandboxes_ask(id, "samples", &fields, err),
              *rows = cJSON_GetObjectItemCaseSensitive(page, "samples");
        if (!cJSON_IsArray(rows)) {
            if (err->code == NULL)
                error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
            cJSON_Delete(page);
            cJSON_Delete(all);
            return NULL;
        }
        more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(page, "more")) && rows->child != NULL;
        if (more)
            since = (int64_t)cJSON_GetArrayItem(rows->child->prev, TIME)->valuedouble;
        if (all == NULL) {
            cJSON_DeleteItemFromObject(page, "more");
            all = page;
            continue;
        }
        cJSON *to = cJSON_GetObjectItemCaseSensitive(all, "samples");
        while (rows->child != NULL)
            cJSON_AddItemToArray(to, cJSON_DetachItemViaPointer(rows, rows->child));
        cJSON_Delete(page);
    }
    return all;
}

static void print_row(const cJSON *row, const double *before)
{
    double v[COLUMNS] = {0};
    char date[32], memory[24], in[24], out[24];
    for (int i = 0; i < COLUMNS; i++) {
        const cJSON *n = cJSON_GetArrayItem(row, i);
        v[i] = cJSON_IsNumber(n) ? n->valuedouble : 0;
    }
    double over_us = (v[TIME] - before[TIME]) * 1000, used_us = v[CPU] - before[CPU];
    bool same_tree = before[TIME] > 0 && over_us > 0 && used_us >= 0;
    time_t s = (time_t)(v[TIME] / 1000);
    struct tm tm;
    strftime(date, sizeof date, "%T", localtime_r(&s, &tm));
    printf("%s.%03.0f %6.1f%% %8s %6.0f %8s %8s", date,
           v[TIME] - (double)((int64_t)(v[TIME] / 1000) * 1000),
           same_tree ? used_us / over_us * 100 : 0.0,
           sandboxes_size(memory, sizeof memory, v[MEMORY]), v[PROCESSES],
           sandboxes_size(in, sizeof in, v[READ]), sandboxes_size(out, sizeof out, v[WRITTEN]));
    for (int i = WAIT_CPU; i <= WAIT_IO; i++)
        printf(" %6.1f%%", same_tree ? v[i] / over_us * 100 : 0.0);
    putchar('\n');
}

int sandboxes_history(const char *id, bool json, struct error *err)
{
    cJSON *o = fetch(id, err);
    if (o == NULL)
        return -1;
    if (json) {
        sandboxes_print(o);
        putchar('\n');
        cJSON_Delete(o);
        return 0;
    }
    double before[COLUMNS] = {0};
    printf("%-12s %7s %8s %6s %8s %8s %7s %7s %7s\n", "TIME", "CPU", "MEMORY", "PROCS", "READ",
           "WRITTEN", "~CPU", "~MEM", "~IO");
    const cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(o, "samples"))
    {
        print_row(row, before);
        for (int i = 0; i < COLUMNS; i++) {
            const cJSON *n = cJSON_GetArrayItem(row, i);
            before[i] = cJSON_IsNumber(n) ? n->valuedouble : 0;
        }
    }
    puts("~: the share of the time in which somebody waited for it (cgroup v2 only)");
    cJSON_Delete(o);
    return 0;
}
