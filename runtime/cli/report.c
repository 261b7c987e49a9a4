#include "runtime/cli/cli.h"

void cli_print_report(FILE *out, const struct report *r)
{
    fprintf(out, "{\"verdict\":\"%s\",\"exit_code\":", verdict_name(r->verdict));
    if (r->exit_code >= 0)
        fprintf(out, "%d", r->exit_code);
    else
        fputs("null", out);
    fputs(",\"signal\":", out);
    if (r->signal != 0)
        fprintf(out, "%d", r->signal);
    else
        fputs("null", out);
    fprintf(out, ",\"wall_ms\":%.3f,\"cpu_ms\":%.3f,\"user_ms\":%.3f,\"system_ms\":%.3f",
            r->wall_ms, r->cpu_ms, r->user_ms, r->system_ms);
    fprintf(out, ",\"memory_peak_bytes\":%llu,\"processes_peak\":",
            (unsigned long long)r->memory_peak_bytes);
    if (r->processes_peak != 0)
        fprintf(out, "%llu", (unsigned long long)r->processes_peak);
    else
        fputs("null", out);
    fprintf(out, ",\"stdout_bytes\":%llu,\"stderr_bytes\":%llu,\"blocked_syscall\":",
            (unsigned long long)r->stdout_bytes, (unsigned long long)r->stderr_bytes);
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
