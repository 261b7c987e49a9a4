/* cloche profiles: names and descriptions; with --json the limits of each, too. */
#include "runtime/cli/cli.h"

#include "base/arena.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct cli_option options[] = {
    {.name = "json", .help = "one JSON array, with the limits of each profile"},
    {0, NULL, NULL, NULL, NULL},
};

static void print_limit(const char *name, uint64_t limit)
{
    if (limit == LIMIT_NONE)
        printf(",\"%s\":null", name);
    else
        printf(",\"%s\":%" PRIu64, name, limit);
}

/* A profile of the user's that cannot be read is listed with what is wrong. */
static void print_object(const char *name, const char *description)
{
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    fputs("{\"name\":", stdout);
    cli_print_json_string(stdout, name);
    fputs(",\"description\":", stdout);
    cli_print_json_string(stdout, description);
    if (spec_apply_profile(s, name, &err) < 0) {
        fputs(",\"error\":", stdout);
        cli_print_json_string(stdout, err.message);
    } else {
        print_limit("memory_bytes", s->resources.memory_bytes);
        print_limit("processes", s->resources.processes);
        print_limit("cpu_ms", s->cpu_time_ms);
        print_limit("wall_ms", s->wall_ms);
        print_limit("output_bytes", s->output_bytes);
        fputs(",\"seccomp\":", stdout);
        if (s->seccomp.kind == SECCOMP_NAMED)
            cli_print_json_string(stdout, s->seccomp.name);
        else
            fputs(s->seccomp.kind == SECCOMP_JSON ? "\"custom\"" : "\"unconfined\"", stdout);
    }
    putchar('}');
}

int cli_profiles(int argc, char **argv)
{
    bool json = false;
    struct error err = ERROR_INIT;
    if (cli_wants_help("profiles", options, argc, argv))
        return EXIT_SUCCESS;
    int operand = cli_parse(options, &json, argc, argv, &err);
    if (operand >= 0 && operand < argc)
        operand = error_set(&err, "usage.operand", 0, "unexpected argument \"%s\"", argv[operand]);
    if (operand < 0)
        return cli_fail(&err, json, EXIT_USAGE);

    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names;
    spec_profile_names(a, &names);
    if (json)
        putchar('[');
    for (size_t i = 0; i < names.count; i++) {
        const char *description = spec_profile_description(a, names.items[i]);
        if (description == NULL)
            description = "";
        if (json) {
            fputs(i == 0 ? "\n" : ",\n", stdout);
            print_object(names.items[i], description);
        } else {
            printf("%-12s %s\n", names.items[i], description);
        }
    }
    if (json)
        puts("\n]");
    return EXIT_SUCCESS;
}
