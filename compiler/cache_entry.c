/* The `entry` file of a cache entry as text: written and read here, and nowhere trusted. */
#include "compiler/cache.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC "cloche-artifact 1"

static const char *const verdict_words[] = {"ok",           "compile_error", "memory_limit",
                                            "output_limit", "process_limit", "runtime_error"};
static const enum verdict verdict_values[] = {
    VERDICT_OK,           VERDICT_COMPILE_ERROR, VERDICT_MEMORY_LIMIT,
    VERDICT_OUTPUT_LIMIT, VERDICT_PROCESS_LIMIT, VERDICT_RUNTIME_ERROR};

static bool verdict_to_word(enum verdict v, const char **ret)
{
    for (size_t i = 0; i < sizeof verdict_words / sizeof *verdict_words; i++) {
        if (verdict_values[i] == v) {
            *ret = verdict_words[i];
            return true;
        }
    }
    return false;
}

static bool sum_linesafe(const char *text)
{
    return strchr(text, '\n') == NULL;
}

/* The whole `entry` file in memory; NULL when it cannot be one. */
char *entry_write(const struct cache_entry *e, size_t *ret_size)
{
    const char *word;
    if (!verdict_to_word(e->verdict, &word))
        return NULL;
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_size);
    if (f == NULL)
        return NULL;
    fprintf(f, MAGIC "\nverdict %s\nartifact %" PRIu64 " %s\n", word, e->artifact_bytes,
            e->artifact_fd >= 0 ? e->digest : "-");
    fprintf(f, "cost %a %a %" PRIu64 "\n", e->wall_ms, e->cpu_ms, e->memory_peak_bytes);
    fprintf(f, "deps %zu\n", e->dep_count);
    bool good = true;
    for (size_t i = 0; i < e->dep_count; i++) {
        const struct cache_dep *d = &e->deps[i];
        good = good && sum_linesafe(d->path);
        if (d->digest != NULL)
            fprintf(f, "project %s %s\n", d->digest, d->path);
        else
            fprintf(f, "system %" PRIu64 " %" PRId64 " %s\n", d->size, d->mtime_ns, d->path);
    }
    const struct {
        const char *name, *data;
        size_t size;
    } blobs[] = {{"diagnostics", e->diagnostics, e->diagnostics_size},
                 {"log", e->log, e->log_size},
                 {"detail", e->detail, e->detail != NULL ? strlen(e->detail) : 0}};
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++) {
        fprintf(f, "%s %zu\n", blobs[i].name, blobs[i].size);
        if (blobs[i].size > 0)
            fwrite(blobs[i].data, 1, blobs[i].size, f);
        fputc('\n', f);
    }
    fflush(f);
    char sum[65];
    digest_bytes(text, *ret_size, sum);
    fprintf(f, "sum %s\n", sum);
    if (fclose(f) != 0 || !good || *ret_size > CACHE_ENTRY_MAX) {
        free(text);
        return NULL;
    }
    return text;
}

#define SUM_LINE (sizeof "sum \n" - 1 + 64)

/* Take the next line, NUL-terminated in place. */
static char *next_line(char **at, const char *end)
{
    char *line = *at, *newline = memchr(line, '\n', (size_t)(end - line));
    if (newline == NULL)
        return NULL;
    *newline = '\0';
    *at = newline + 1;
    return line;
}

static const char *next_blob(char **at, const char *end, const char *name, size_t *ret_size)
{
    const char *line = next_line(at, end);
    size_t n = strlen(name);
    uint64_t size;
    if (line == NULL || strncmp(line, name, n) != 0 || line[n] != ' ' ||
        !io_parse_u64(line + n + 1, &size) || size >= (uint64_t)(end - *at) || (*at)[size] != '\n')
        return NULL;
    char *blob = *at;
    blob[size] = '\0';
    *at += size + 1;
    *ret_size = (size_t)size;
    return blob;
}

/* Fields of a line, one blank between them. */
static bool take_u64(char **at, uint64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoull(*at, &end, 10);
    bool good = end != *at && errno == 0 && **at != '-' && (*end == ' ' || *end == '\0');
    *at = *end == ' ' ? end + 1 : end;
    return good;
}

static bool take_i64(char **at, int64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoll(*at, &end, 10);
    bool good = end != *at && errno == 0 && (*end == ' ' || *end == '\0');
    *at = *end == ' ' ? end + 1 : end;
    return good;
}

static bool take_double(char **at, double *ret)
{
    char *end;
    *ret = strtod(*at, &end);
    bool good = end != *at && (*end == ' ' || *end == '\0');
    *at = *end == ' ' ? end + 1 : end;
    return good;
}

/* The rest of a line that begins with @name and a blank; NULL when it does not. */
static char *field_of(char *line, const char *name)
{
    size_t n = strlen(name);
    return line != NULL && strncmp(line, name, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static bool parse_dep(char *line, struct cache_dep *d)
{
    char *at = field_of(line, "project");
    if (at != NULL && strlen(at) > 64 + 1 && at[64] == ' ') {
        at[64] = '\0';
        d->digest = at;
        d->path = at + 65;
        return true;
    }
    at = field_of(line, "system");
    if (at == NULL || !take_u64(&at, &d->size) || !take_i64(&at, &d->mtime_ns) || *at != '/')
        return false;
    d->path = at;
    return true;
}

/* @text is changed and stays part of the entry. False: torn or tampered with. */
bool entry_read(struct arena *a, char *text, size_t size, struct cache_entry *e)
{
    if (size < SUM_LINE)
        return false;
    char sum[65];
    digest_bytes(text, size - SUM_LINE, sum);
    const char *sum_line = text + size - SUM_LINE;
    if (memcmp(sum_line, "sum ", 4) != 0 || memcmp(sum_line + 4, sum, 64) != 0 ||
        sum_line[SUM_LINE - 1] != '\n')
        return false;

    char *at = text, *line, *field;
    const char *end = text + size - SUM_LINE;
    uint64_t dep_count;
    if ((line = next_line(&at, end)) == NULL || strcmp(line, MAGIC) != 0 ||
        (field = field_of(next_line(&at, end), "verdict")) == NULL)
        return false;
    size_t v = 0;
    while (v < sizeof verdict_words / sizeof *verdict_words && strcmp(field, verdict_words[v]) != 0)
        v++;
    if (v == sizeof verdict_words / sizeof *verdict_words)
        return false;
    e->verdict = verdict_values[v];
    if ((field = field_of(next_line(&at, end), "artifact")) == NULL ||
        !take_u64(&field, &e->artifact_bytes) || strlen(field) >= sizeof e->digest)
        return false;
    snprintf(e->digest, sizeof e->digest, "%s", strcmp(field, "-") == 0 ? "" : field);
    if ((field = field_of(next_line(&at, end), "cost")) == NULL ||
        !take_double(&field, &e->wall_ms) || !take_double(&field, &e->cpu_ms) ||
        !take_u64(&field, &e->memory_peak_bytes) ||
        (field = field_of(next_line(&at, end), "deps")) == NULL || !take_u64(&field, &dep_count) ||
        dep_count > CACHE_DEPS_MAX)
        return false;
    e->dep_count = (size_t)dep_count;
    e->deps = arena_alloc(a, e->dep_count * sizeof *e->deps);
    for (size_t i = 0; i < e->dep_count; i++) {
        if ((line = next_line(&at, end)) == NULL || !parse_dep(line, &e->deps[i]))
            return false;
    }
    size_t detail_size;
    e->diagnostics = next_blob(&at, end, "diagnostics", &e->diagnostics_size);
    e->log = e->diagnostics == NULL ? NULL : next_blob(&at, end, "log", &e->log_size);
    e->detail = e->log == NULL ? NULL : next_blob(&at, end, "detail", &detail_size);
    return e->detail != NULL && at == end;
}
