/* cloche create: a spec as for `run`, handed to a keeper of its own. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"
#include "runtime/spec_children.h"

#include <string.h>

static int set_seconds(const char *text, uint64_t *ret, struct error *err)
{
    uint64_t ms;
    if (spec_parse_duration(text, &ms, err) < 0)
        return -1;
    *ret = ms / 1000 + (ms % 1000 != 0);
    return 0;
}

static int set_ttl(void *context, const char *text, struct error *err)
{
    return set_seconds(text, &((struct cli_sandbox *)context)->spec->ttl_s, err);
}

static int set_idle(void *context, const char *text, struct error *err)
{
    return set_seconds(text, &((struct cli_sandbox *)context)->spec->idle_timeout_s, err);
}

static const struct cli_option more[] = {
    {0, "ttl", "TIME", "destroy it at this age, such as 2h", set_ttl},
    {0, "idle", "TIME", "destroy it when nobody has used it for so long", set_idle},
    {0, NULL, NULL, NULL, NULL}};

/** The id may stand before, between or after the options; out it goes. */
static int take_id(const struct cli_option *options, int *argc, char **argv, const char **ret_id,
                   struct error *err)
{
    _cleanup_spec_ struct spec *scratch = spec_new();
    struct cli_sandbox c = {.spec = scratch};
    int at = cli_parse(options, &c, *argc, argv, err);
    if (at < 0)
        return -1;
    if (at == *argc) {
        error_set(err, "usage.no_id", 0, "no id given");
        return error_hint(err, "cloche create ID [OPTIONS] [--] [COMMAND [ARG...]]");
    }
    *ret_id = argv[at];
    memmove(&argv[at], &argv[at + 1], (size_t)(*argc - at) * sizeof *argv);
    (*argc)--;
    return 0;
}

static int parse(struct cli_sandbox *c, const struct cli_option *options, int argc, char **argv,
                 const char **ret_id, struct error *err)
{
    if (take_id(options, &argc, argv, ret_id, err) < 0 ||
        cli_sandbox_base(c, options, argc, argv, err) < 0)
        return -1;
    int first = cli_parse(options, c, argc, argv, err);
    if (first < 0)
        return -1;
    if (first < argc)
        c->spec->args = (struct strings){0};
    for (int i = first; i < argc; i++)
        strings_add(c->spec->arena, &c->spec->args, argv[i]);
    spec_add_main_child(c->spec);
    return cli_sandbox_finish(c, err);
}

int cli_create(int argc, char **argv)
{
    struct cli_option options[CLI_OPTIONS_MAX];
    cli_sandbox_table(more, options);
    if (cli_wants_help("create", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    _cleanup_spec_ struct spec *spec = spec_new();
    struct cli_sandbox c = {.spec = spec};
    const char *id = NULL;
    if (parse(&c, options, argc, argv, &id, &err) < 0)
        return cli_fail(&err, c.json, strncmp(err.code, "usage.", 6) == 0 ? EXIT_USAGE : 1);
    _cleanup_free_ char *text = spec_to_json(spec);
    if (client_create(id, text, &err) < 0)
        return cli_fail(&err, c.json, sandboxes_status(&err));
    if (c.json)
        printf("{\"id\":\"%s\",\"status\":\"running\"}\n", id);
    else
        puts(id);
    return 0;
}
