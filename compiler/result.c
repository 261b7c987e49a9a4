/* What came out, for programs. */
#include "compiler/compiler.h"

#include <cjson/cJSON.h>
#include <unistd.h>

cJSON *compile_result_to_json(const struct compile_result *r)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "verdict", verdict_name(r->verdict));
    cJSON_AddStringToObject(o, "toolchain", r->toolchain);
    if (r->artifact_fd >= 0) {
        cJSON_AddNumberToObject(o, "artifact_bytes", (double)r->artifact_bytes);
        cJSON_AddStringToObject(o, "artifact_sha256", r->digest);
    } else {
        cJSON_AddNullToObject(o, "artifact_bytes");
        cJSON_AddNullToObject(o, "artifact_sha256");
    }
    cJSON_AddBoolToObject(o, "cache_hit", r->cache_hit);
    cJSON_AddNumberToObject(o, "compiled", r->compiled);
    cJSON_AddNumberToObject(o, "reused", r->reused);
    cJSON_AddNumberToObject(o, "wall_ms", r->wall_ms);
    cJSON_AddNumberToObject(o, "cpu_ms", r->cpu_ms);
    cJSON_AddNumberToObject(o, "memory_peak_bytes", (double)r->memory_peak_bytes);
    cJSON_AddNumberToObject(o, "errors", (double)r->diagnostics->errors);
    cJSON_AddNumberToObject(o, "warnings", (double)r->diagnostics->warnings);
    cJSON_AddItemToObject(o, "diagnostics", diagnostics_to_json(r->diagnostics));
    if (r->detail[0] != '\0')
        cJSON_AddStringToObject(o, "detail", r->detail);
    else
        cJSON_AddNullToObject(o, "detail");
    return o;
}
