#include "runtime/cli/cli.h"

static void print_count(FILE *out, const char *name, bool known, uint64_t count)
{
    if (known)
        fprintf(out, ",\"%s\":%llu", name, (unsigned long long)count);
    else
        fprintf(out, ",\"%s\":null", name);
}

void cli_print_report(FILE *out, const struct report *r)
{
    fprintf(out, "{\"verdict\":\"%s\"", verdict_name(r->verdict));
    print_count(out, "exit_code", r->exit_code >= 0, (uint64_t)r->exit_code);
    print_count(out, "signal", r->signal != 0, (uint64_t)r->signal);
    fprintf(out, ",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"user_ms\":%.3f,\"system_ms\":%.3f",
            r->wall_ms, r->cpu_ms, r->user_ms, r->system_ms);
    print_count(out, "memory_peak_bytes", true, r->memory_peak_bytes);
    print_count(out, "processes_peak", r->processes_peak != 0, r->processes_peak);
    print_count(out, "stdout_bytes", r->stdout_bytes >= 0, (uint64_t)r->stdout_bytes);
    print_count(out, "stderr_bytes", r->stderr_bytes >= 0, (uint64_t)r->stderr_bytes);
    fputs(",\"blocked_syscall\":", out);
    if (r->blocked_syscall != NULL)
        cli_print_json_string(out, r->blocked_syscall);
    else
        fputs("null", out);
    fprintf(out, ",\"enforced_by\":{\"memory\":\"%s\",\"processes\":\"%s\",\"cpu\":\"%s\"}",
            means_name(r->enforced_by.memory), means_name(r->enforced_by.processes),
            means_name(r->enforced_by.cpu));
    fprintf(out, ",\"measured_by\":{\"memory\":\"%s\",\"cpu\":\"%s\"},\"detail\":",
            means_name(r->measured_by.memory), means_name(r->measured_by.cpu));
    if (r->detail[0] != '\0')
        cli_print_json_string(out, r->detail);
    else
        fputs("null", out);
    fputs("}\n", out);
}
