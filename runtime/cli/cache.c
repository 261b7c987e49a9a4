/* cloche cache: figures, emptying and checking of the compile cache. */
#include "runtime/cli/cli.h"

#include "compiler/compiler.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
    {.name = "json", .help = "as JSON"},
    {0, NULL, NULL, NULL, NULL},
};

static void print_stats(const struct cache_stats *s, bool json)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"entries", s->entries}, {"bytes", s->bytes},      {"max_bytes", s->max_bytes},
                {"hits", s->hits},       {"misses", s->misses},    {"stored", s->stored},
                {"evicted", s->evicted}, {"poisoned", s->poisoned}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (json)
            printf("%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
                   (unsigned long long)rows[i].value);
        else
            printf("%-10s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
    }
    if (json)
        puts("}");
}

int cli_cache(int argc, char **argv)
{
    if (cli_wants_help("cache", options, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct strings words = {0};
    bool json = false;
    if (cli_parse_all(options, &json, argc, argv, a, &words, &err) < 0)
        return cli_fail(&err, json, EXIT_USAGE);
    const char *verb = words.count == 1 ? words.items[0] : "";
    struct cache_stats stats;
    int n;
    if (strcmp(verb, "stats") == 0) {
        if (cache_stats(&stats, &err) < 0)
            return cli_fail(&err, json, EXIT_FAILURE);
        print_stats(&stats, json);
        return 0;
    }
    if (strcmp(verb, "clear") == 0) {
        if ((n = cache_clear(&err)) < 0)
            return cli_fail(&err, json, EXIT_FAILURE);
        printf(json ? "{\"removed\":%d}\n" : "%d entries removed\n", n);
        return 0;
    }
    if (strcmp(verb, "verify") == 0) {
        if ((n = cache_verify(&stats, &err)) < 0)
            return cli_fail(&err, json, EXIT_FAILURE);
        if (json)
            printf("{\"good\":%llu,\"removed\":%d}\n", (unsigned long long)stats.entries, n);
        else
            printf("%llu entries are good, %d were bad and are removed\n",
                   (unsigned long long)stats.entries, n);
        return n > 0 ? EXIT_FAILURE : 0;
    }
    error_set(&err, "usage.verb", 0, "expected one of stats, clear, verify");
    error_hint(&err, "cloche cache stats");
    return cli_fail(&err, json, EXIT_USAGE);
}
