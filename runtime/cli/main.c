/* cloche: the command line. */
#include "runtime/cli/cli.h"

#include <signal.h>
#include <string.h>

const struct cli_command cli_commands[] = {
    {"run", "[OPTIONS] [--] COMMAND [ARG...]", "one command in a fresh sandbox", cli_run},
    {"create", "ID [OPTIONS] [--] [COMMAND [ARG...]]", "a sandbox that stays, run by a keeper",
     cli_create},
    {"exec", "[OPTIONS] ID [--] COMMAND [ARG...]", "run a command in it", cli_exec},
    {"list", "[--json]", "the sandboxes, oldest first (also: ls)", cli_list},
    {"info", "ID...", "status, processes, usage, limits (also: inspect)", cli_info},
    {"logs", "[-f] ID [CHILD]", "what its children wrote", cli_logs},
    {"stats", "[--watch|--history] [ID...]", "what they use", cli_stats},
    {"top", "ID", "processes in it", cli_top},
    {"events", "[-f] [ID...]", "what happened, and who asked for it; also of those gone",
     cli_events},
    {"cp", "ID:PATH PATH | PATH ID:PATH", "copy a file out of it or into it", cli_cp},
    {"update", "ID... [--memory SIZE] ...", "change limits while it runs", cli_update},
    {"stop", "[--force] ID...", "end what runs in it; restart brings it back", cli_stop},
    {"restart", "[--force] ID...", "end what runs in it and start it again", cli_restart},
    {"pause", "ID...", "freeze every process in it", cli_pause},
    {"resume", "ID...", "let them run again", cli_resume},
    {"destroy", "[--force] ID...", "end it and remove every trace (also: rm)", cli_destroy},
    {"call", "ID MODULE [DATA | - | @FILE]", "a request to a module", cli_call},
    {"reload", "ID MODULE [SOURCE] | MODULE[=SOURCE]...",
     "build it anew and let the new version serve", cli_reload},
    {"rollback", "ID MODULE [N]", "let an older version serve again", cli_rollback},
    {"confirm", "ID MODULE", "end the probation of a new version", cli_confirm},
    {"versions", "ID MODULE", "the versions of a module, and which one serves", cli_versions},
    {"history", "ID [MODULE]", "every attempt at changing what serves", cli_history},
    {"pin", "ID MODULE VERSION", "never collect this version", cli_pin},
    {"unpin", "ID MODULE VERSION", "let it go when it is old", cli_unpin},
    {"export", "[-o FILE] ID MODULE", "all versions of a module as one tar", cli_export},
    {"import", "ID MODULE FILE", "publish the versions of such a tar here", cli_import},
    {"watch", "[OPTIONS] ID MODULE [DIR]", "reload it whenever its source is saved", cli_watch},
    {"unwatch", "ID MODULE", "no longer", cli_unwatch},
    {"compile", "[OPTIONS] SOURCE...|DIR [-o OUT]", "compile untrusted sources in a jail",
     cli_compile},
    {"judge", "[OPTIONS] SUBMISSION... --tests DIR", "grade: compile once, run every test",
     cli_judge},
    {"toolchains", "[NAME...]", "languages: version, and whether they work here", cli_toolchains},
    {"cache", "stats|clear|verify", "the compile cache", cli_cache},
    {"spec", "[OPTIONS] [--] [COMMAND [ARG...]]", "print the spec of such a sandbox", cli_spec},
    {"profiles", "[--json]", "list the profiles", cli_profiles},
    {"doctor", "[--spec FILE|--repair] [--json]", "what this kernel and this user can do",
     cli_doctor},
    {"version", "", "version of Cloche", cli_version},
    {"help", "[COMMAND]", "this list, or the options of a command", cli_help},
    {NULL, NULL, NULL, NULL},
};

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("cloche " CLOCHE_VERSION);
    return 0;
}

static int usage(FILE *out)
{
    fputs("Run untrusted native code under glass.\n\n", out);
    for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
        fprintf(out, "  cloche %-9s %-36s %s\n", c->name, c->arguments, c->summary);
    fputs("\n`cloche help COMMAND` shows the options of a command.\n", out);
    return 0;
}

int cli_help(int argc, char **argv)
{
    if (argc < 2)
        return usage(stdout);
    for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
        if (strcmp(c->name, argv[1]) != 0)
            continue;
        char *help[] = {argv[1], (char *)(uintptr_t) "--help", NULL};
        return c->run(2, help);
    }
    fprintf(stderr, "cloche: unknown command \"%s\"; fix: `cloche help` lists them\n", argv[1]);
    return EXIT_USAGE;
}

bool cli_wants_help(const char *command, const struct cli_option *options, int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0))
        return false;
    for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
        if (strcmp(c->name, command) == 0)
            printf("usage: cloche %s %s\n%s\n\n", c->name, c->arguments, c->summary);
    }
    cli_print_options(stdout, options);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0)
        name = "version";
    static const char *const also[][2] = {{"ls", "list"}, {"inspect", "info"}, {"rm", "destroy"}};
    for (size_t i = 0; i < sizeof also / sizeof *also; i++)
        name = strcmp(name, also[i][0]) == 0 ? also[i][1] : name;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return usage(stdout);
    for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return cli_told(c->run(argc - 1, argv + 1));
    }
    const char *names[sizeof cli_commands / sizeof *cli_commands];
    size_t count = 0;
    while (cli_commands[count].name != NULL) {
        names[count] = cli_commands[count].name;
        count++;
    }
    struct error err = ERROR_INIT;
    error_set(&err, "usage.unknown_command", 0, "unknown command \"%s\"", name);
    const char *near = spec_nearest(name, names, count);
    if (near != NULL)
        error_hint(&err, "did you mean `cloche %s`?", near);
    error_hint(&err, "`cloche help` lists them");
    return cli_fail(&err, false, EXIT_USAGE);
}
