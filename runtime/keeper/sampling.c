#include "runtime/keeper/sampling.h"

#include "runtime/keeper/figures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define HISTORY_MS      3600000
#define HISTORY_SAMPLES 3600 /* at most: shorter intervals reach back less far */
#define ASKED_MS        5000
#define RECENT_SAMPLES  60
#define PAGE_SAMPLES    1000 /* as JSON they fit into a frame */

enum { MEMORY, CPU, PROCESSES, RESOURCES };
static const char *const names[RESOURCES] = {"memory", "cpu", "processes"};

struct sampling {
    struct sample *ring; /* mapped: only what is filled costs memory */
    size_t capacity, count, next;
    uint64_t taken_ms, asked_ms; /* CLOCK_MONOTONIC */
    uint64_t pressure_us[3];     /* totals at the last sample */
    uint64_t limit_hits;
    bool comparable; /* the last sample is of this tree, and one interval old */
    bool warned[RESOURCES];
    struct loop_timer *timer;
};

static void on_tick(void *context);

static uint64_t realtime_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct sampling *get(struct keeper *k)
{
    if (k->sampling != NULL)
        return k->sampling;
    struct sampling *s = calloc(1, sizeof *s);
    uint64_t capacity = HISTORY_MS / k->spec->monitor_interval_ms;
    if (s == NULL)
        return NULL;
    s->capacity = capacity > HISTORY_SAMPLES ? HISTORY_SAMPLES : capacity < 2 ? 2 : capacity;
    s->ring = mmap(NULL, s->capacity * sizeof *s->ring, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->ring == MAP_FAILED) {
        free(s);
        return NULL;
    }
    k->sampling = s;
    return s;
}

/** The @i-th sample, the oldest being 0. */
static const struct sample *at(const struct sampling *s, size_t i)
{
    return &s->ring[(s->next + s->capacity - s->count + i) % s->capacity];
}

/* --- near a limit --------------------------------------------------------------------------------
 */

static uint64_t cpu_limit_us(const struct keeper *k, uint64_t over_ms)
{
    const struct spec_resources *r = &k->spec->resources;
    if (r->cpu_quota_us == LIMIT_NONE || r->cpu_period_us == 0 || r->cpu_period_us == LIMIT_NONE)
        return LIMIT_NONE;
    uint64_t limit =
        (uint64_t)((double)over_ms * 1000 * (double)r->cpu_quota_us / (double)r->cpu_period_us);
    bool halved = k->spec->monitor_action == MONITOR_THROTTLE && k->sampling->warned[CPU];
    return halved ? limit / 2 : limit;
}

static void throttle(struct keeper *k)
{
    const struct sampling *s = k->sampling;
    const struct spec_resources *r = &k->spec->resources;
    struct error err = ERROR_INIT;
    uint64_t high = LIMIT_NONE;
    if (s->warned[MEMORY])
        high = r->memory_bytes / 100 * k->spec->monitor_warn_percent;
    if (sandbox_throttle(k->sandbox, r, high, s->warned[CPU], &err) < 0)
        journal_event(k, "resource.throttle_failed", err.message);
}

static void tell(struct keeper *k, const char *event, int resource, uint64_t used, uint64_t limit)
{
    static const char *const actions[] = {[MONITOR_NONE] = "none",
                                          [MONITOR_WARN] = "warn",
                                          [MONITOR_THROTTLE] = "throttle",
                                          [MONITOR_KILL] = "kill"};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "resource", names[resource]);
    cJSON_AddNumberToObject(o, "percent", monitor_percent(used, limit));
    cJSON_AddNumberToObject(o, "used", (double)used);
    cJSON_AddNumberToObject(o, "limit", (double)limit);
    cJSON_AddStringToObject(o, "action", actions[k->spec->monitor_action]);
    journal_fields(k, event, o);
}

static void kill_for(struct keeper *k, int resource, unsigned percent)
{
    char why[128];
    snprintf(why, sizeof why, "%s at %u %% of its limit (monitor.action kill)", names[resource],
             percent);
    journal_event(k, "killed.limit", names[resource]);
    keeper_kill(k, why);
}

static void judge(struct keeper *k, const struct sample *before, const struct sample *now,
                  uint64_t over_ms)
{
    struct sampling *s = k->sampling;
    const struct spec_resources *r = &k->spec->resources;
    const uint64_t used[RESOURCES] = {now->memory_bytes,
                                      before != NULL ? now->cpu_us - before->cpu_us : 0,
                                      now->processes},
                   limits[RESOURCES] = {r->memory_bytes,
                                        before != NULL ? cpu_limit_us(k, over_ms) : LIMIT_NONE,
                                        r->processes};
    bool changed = false;
    for (int i = 0; i < RESOURCES; i++) {
        if (limits[i] == LIMIT_NONE)
            continue;
        enum monitor_change c =
            monitor_judge(s->warned[i], used[i], limits[i], k->spec->monitor_warn_percent);
        if (c == MONITOR_SAME)
            continue;
        s->warned[i] = c == MONITOR_CROSSED;
        changed = true;
        tell(k, s->warned[i] ? "resource.warning" : "resource.normal", i, used[i], limits[i]);
        if (s->warned[i] && k->spec->monitor_action == MONITOR_KILL) {
            kill_for(k, i, monitor_percent(used[i], limits[i]));
            return;
        }
    }
    if (changed && k->spec->monitor_action == MONITOR_THROTTLE)
        throttle(k);
}

/* --- samples -------------------------------------------------------------------------------------
 */

static void tell_sampled(struct keeper *k, const struct sample *now)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "memory_bytes", (double)now->memory_bytes);
    cJSON_AddNumberToObject(o, "cpu_us", (double)now->cpu_us);
    cJSON_AddNumberToObject(o, "processes", (double)now->processes);
    cJSON_AddNumberToObject(o, "io_read_bytes", (double)now->io_read_bytes);
    cJSON_AddNumberToObject(o, "io_write_bytes", (double)now->io_write_bytes);
    journal_fields(k, "resource.sampled", o);
}

static void take(struct keeper *k)
{
    struct sampling *s = k->sampling;
    struct sandbox_usage u;
    uint64_t now_ms = loop_now_ms(), over_ms = now_ms - s->taken_ms;
    if (s->ring == NULL || sandbox_usage(k->sandbox, &u) < 0)
        return;
    const struct sample *before = s->comparable && s->count > 0 ? at(s, s->count - 1) : NULL;
    struct sample now = {
        .time_ms = realtime_ms(),
        .memory_bytes =
            u.memory_bytes -
            (u.memory_cache_bytes < u.memory_bytes ? u.memory_cache_bytes : u.memory_bytes),
        .cpu_us = u.cpu_us,
        .io_read_bytes = u.io_read_bytes,
        .io_write_bytes = u.io_write_bytes,
        .processes = u.processes,
    };
    for (int i = 0; i < 3; i++) {
        uint64_t waited = u.pressure_some_us[i] - s->pressure_us[i];
        now.pressure_us[i] = before != NULL && waited < UINT32_MAX ? (uint32_t)waited : 0;
        s->pressure_us[i] = u.pressure_some_us[i];
    }
    if (k->spec->monitor_action != MONITOR_NONE && k->status != STATUS_STOPPING &&
        k->status != STATUS_FAILED)
        judge(k, before, &now, over_ms);
    keeper_note_limit_hits(k, &u);
    s->ring[s->next] = now;
    s->next = (s->next + 1) % s->capacity;
    s->count += s->count < s->capacity;
    s->taken_ms = now_ms;
    s->comparable = true;
    if (s->next % RECENT_SAMPLES == 1) /* each would flood the journal */
        tell_sampled(k, &now);
}

static bool is_wanted(const struct keeper *k)
{
    uint64_t asked_ms =
        ASKED_MS > 3 * k->spec->monitor_interval_ms ? ASKED_MS : 3 * k->spec->monitor_interval_ms;
    return k->spec->monitor_action != MONITOR_NONE ||
           (k->sampling->asked_ms != 0 && loop_now_ms() - k->sampling->asked_ms < asked_ms);
}

static void arm(struct keeper *k)
{
    struct sampling *s = k->sampling;
    if (s->timer == NULL && k->sandbox != NULL && is_wanted(k))
        s->timer = loop_after(k->loop, k->spec->monitor_interval_ms, on_tick, k);
    else if (s->timer == NULL)
        s->comparable = false; /* the next one comes who knows when */
}

static void on_tick(void *context)
{
    struct keeper *k = context;
    k->sampling->timer = NULL;
    if (k->sandbox == NULL)
        return;
    take(k);
    arm(k);
}

/** Somebody asks: the answer is as fresh as an interval, and the next ones will have a past. */
static struct sampling *ask(struct keeper *k)
{
    struct sampling *s = get(k);
    if (s == NULL || k->sandbox == NULL)
        return s;
    s->asked_ms = loop_now_ms();
    if (s->timer == NULL && (!s->comparable || s->asked_ms - s->taken_ms >= 10))
        take(k);
    arm(k);
    return s;
}

int sampling_check(const struct keeper *k, struct error *err)
{
    const struct spec_resources *r = &k->spec->resources;
    if (k->spec->monitor_action == MONITOR_NONE || r->memory_bytes != LIMIT_NONE ||
        r->processes != LIMIT_NONE || r->cpu_quota_us != LIMIT_NONE)
        return 0;
    error_set(err, "spec.invalid", 0,
              "cloche.monitor.action: there is no limit of memory, CPU or processes to watch");
    return error_hint(err, "give one, such as --memory 256m");
}

int sampling_start(struct keeper *k, struct error *err)
{
    enum spec_monitor action = k->spec->monitor_action;
    if (action == MONITOR_NONE)
        return 0;
    if (action == MONITOR_THROTTLE && k->spec->enforce_required &&
        !sandbox_can_throttle(k->sandbox)) {
        error_set(err, "monitor.cannot_throttle", 0,
                  "cloche.monitor.action: the control groups here have neither memory.high nor a "
                  "CPU quota to slow this sandbox down with");
        return error_hint(err, "action warn or kill; or have the controller \"cpu\" delegated; or "
                               "pass --best-effort");
    }
    if (get(k) == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot watch the limits of \"%s\"", k->id);
    memset(k->sampling->warned, 0, sizeof k->sampling->warned);
    k->sampling->comparable = false;
    arm(k);
    return 0;
}

void sampling_stop(struct keeper *k)
{
    struct sampling *s = k->sampling;
    if (s == NULL)
        return;
    if (s->timer != NULL)
        loop_cancel(k->loop, s->timer);
    s->timer = NULL;
    s->comparable = false;
}

void sampling_limits_changed(struct keeper *k)
{
    struct sampling *s = k->sampling;
    if (s == NULL)
        return;
    memset(s->warned, 0, sizeof s->warned);
    if (k->spec->monitor_action == MONITOR_THROTTLE)
        throttle(k);
}

void sampling_free(struct keeper *k)
{
    struct sampling *s = k->sampling;
    if (s == NULL)
        return;
    munmap(s->ring, s->capacity * sizeof *s->ring);
    free(s);
    k->sampling = NULL;
}

/* --- asking --------------------------------------------------------------------------------------
 */

/** The last minute or so, for a sparkline: the share of a CPU in percent, and memory. */
static void add_recent(cJSON *o, const struct sampling *s)
{
    cJSON *cpu = cJSON_AddArrayToObject(o, "recent_cpu_percent"),
          *memory = cJSON_AddArrayToObject(o, "recent_memory_bytes");
    size_t first = s->count > RECENT_SAMPLES ? s->count - RECENT_SAMPLES : 0;
    for (size_t i = first; i < s->count; i++) {
        const struct sample *now = at(s, i), *before = i > 0 ? at(s, i - 1) : now;
        double over_us = ((double)now->time_ms - (double)before->time_ms) * 1000,
               used_us = (double)now->cpu_us - (double)before->cpu_us;
        bool same_tree = over_us > 0 && used_us >= 0;
        double percent = same_tree ? (double)(int64_t)(used_us / over_us * 1000) / 10 : 0;
        cJSON_AddItemToArray(cpu, cJSON_CreateNumber(percent));
        cJSON_AddItemToArray(memory, cJSON_CreateNumber((double)now->memory_bytes));
    }
}

int op_stats(struct connection *c, struct frame *f, struct error *err)
{
    struct keeper *k = c->keeper;
    struct sandbox_usage u = {0};
    if (keeper_is_running(k, err) < 0)
        return -1;
    const struct sampling *s = ask(k);
    sandbox_usage(k->sandbox, &u);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", k->id);
    figures_add_u64(o, "uptime_ms", loop_now_ms() - k->started_ms);
    cJSON_AddItemToObject(o, "usage", figures_usage(k));
    cJSON_AddItemToObject(o, "limits", figures_limits(k));
    cJSON *by = cJSON_AddObjectToObject(o, "enforced_by");
    cJSON_AddStringToObject(by, "memory", means_name(u.memory_by));
    cJSON_AddStringToObject(by, "processes", means_name(u.processes_by));
    cJSON_AddStringToObject(by, "cpu", means_name(u.cpu_by));
    if (s != NULL)
        add_recent(o, s);
    cJSON *warned = cJSON_AddArrayToObject(o, "warned_of");
    for (int i = 0; s != NULL && i < RESOURCES; i++) {
        if (s->warned[i])
            cJSON_AddItemToArray(warned, cJSON_CreateString(names[i]));
    }
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}

int op_samples(struct connection *c, struct frame *f, struct error *err)
{
    static const char *const columns[] = {
        "time_ms",         "memory_bytes",       "cpu_us",
        "processes",       "io_read_bytes",      "io_write_bytes",
        "pressure_cpu_us", "pressure_memory_us", "pressure_io_us"};
    struct keeper *k = c->keeper;
    uint64_t since = (uint64_t)frame_get_int(f, "since_ms", 0, INT64_MAX, 0);
    const struct sampling *s = ask(k);
    if (s == NULL)
        return error_set(err, "keeper.memory", ENOMEM, "cannot keep samples of \"%s\"", k->id);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", k->id);
    figures_add_u64(o, "interval_ms", k->spec->monitor_interval_ms);
    cJSON_AddItemToObject(
        o, "columns", cJSON_CreateStringArray(columns, (int)(sizeof columns / sizeof *columns)));
    cJSON *rows = cJSON_AddArrayToObject(o, "samples");
    size_t given = 0, i = 0;
    for (; i < s->count && given < PAGE_SAMPLES; i++) {
        const struct sample *x = at(s, i);
        if (x->time_ms <= since)
            continue;
        const double row[] = {
            (double)x->time_ms,        (double)x->memory_bytes,   (double)x->cpu_us,
            (double)x->processes,      (double)x->io_read_bytes,  (double)x->io_write_bytes,
            (double)x->pressure_us[0], (double)x->pressure_us[1], (double)x->pressure_us[2]};
        cJSON_AddItemToArray(rows, cJSON_CreateDoubleArray(row, (int)(sizeof row / sizeof *row)));
        given++;
    }
    cJSON_AddBoolToObject(o, "more", i < s->count);
    connection_json(c, f->head.serial, cJSON_PrintUnformatted(o));
    cJSON_Delete(o);
    return 0;
}
