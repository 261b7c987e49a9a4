/* cloche spec: the spec that `run` would use with the same options, as OCI JSON. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"

#include <errno.h>

static int print_line(const char *text)
{
    struct error err = ERROR_INIT;
    if (printf("%s\n", text) >= 0 && fflush(stdout) == 0)
        return EXIT_SUCCESS;
    error_set(&err, "spec.write", errno, "cannot write the spec to standard output");
    return cli_fail(&err, false, EXIT_FAILURE);
}

int cli_spec(int argc, char **argv)
{
    if (cli_wants_help("spec", cli_sandbox_options, argc, argv))
        return EXIT_SUCCESS;
    _cleanup_spec_ struct spec *spec = spec_new();
    struct cli_sandbox c = {.spec = spec};
    struct error err = ERROR_INIT;
    if (cli_sandbox_base(&c, cli_sandbox_options, argc, argv, &err) < 0)
        return cli_fail(&err, c.json, EXIT_FAILURE);
    int operand = cli_parse(cli_sandbox_options, &c, argc, argv, &err);
    if (operand < 0)
        return cli_fail(&err, c.json, EXIT_USAGE);

    if (operand < argc)
        spec->args = (struct strings){0};
    for (int i = operand; i < argc; i++)
        strings_add(spec->arena, &spec->args, argv[i]);
    /* OCI wants a command; this one is there to be replaced */
    if (spec->args.count == 0)
        strings_add(spec->arena, &spec->args, "/bin/sh");
    if (cli_sandbox_finish(&c, &err) < 0)
        return cli_fail(&err, c.json, EXIT_FAILURE);
    _cleanup_free_ char *text = spec_to_json(spec);
    return print_line(text);
}
