#include "runtime/keeper/figures.h"

void figures_add_u64(cJSON *o, const char *name, uint64_t value)
{
    if (value == LIMIT_NONE)
        cJSON_AddNullToObject(o, name);
    else
        cJSON_AddNumberToObject(o, name, (double)value);
}

cJSON *figures_usage(const struct keeper *k)
{
    struct sandbox_usage u = {0};
    cJSON *o = cJSON_CreateObject();
    if (k->sandbox != NULL)
        sandbox_usage(k->sandbox, &u);
    const struct {
        const char *name;
        uint64_t value;
        bool known;
    } figures[] = {{"memory_bytes", u.memory_bytes, u.memory_known},
                   {"memory_peak_bytes", u.memory_peak_bytes, u.memory_known},
                   {"processes", u.processes, u.processes_known},
                   {"processes_peak", u.processes_peak, u.processes_known},
                   {"cpu_us", u.cpu_us, u.cpu_known},
                   {"user_us", u.user_us, u.cpu_known},
                   {"system_us", u.system_us, u.cpu_known},
                   {"oom_kills", u.oom_kills, true},
                   {"io_read_bytes", u.io_read_bytes, true},
                   {"io_write_bytes", u.io_write_bytes, true}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        figures_add_u64(o, figures[i].name,
                        k->sandbox == NULL || figures[i].known ? figures[i].value : LIMIT_NONE);
    return o;
}

cJSON *figures_limits(const struct keeper *k)
{
    const struct spec_resources *r = &k->spec->resources;
    cJSON *o = cJSON_CreateObject();
    figures_add_u64(o, "memory_bytes", r->memory_bytes);
    figures_add_u64(o, "processes", r->processes);
    if (r->cpu_quota_us == LIMIT_NONE || r->cpu_period_us == 0)
        cJSON_AddNullToObject(o, "cpus");
    else
        cJSON_AddNumberToObject(o, "cpus", (double)r->cpu_quota_us / (double)r->cpu_period_us);
    return o;
}
