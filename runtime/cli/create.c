/* cloche create: a spec as for `run`, handed to a keeper of its own. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"
#include "runtime/launch.h"
#include "runtime/spec_children.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static struct spec *spec_of(void *context)
{
    return ((struct cli_sandbox *)context)->spec;
}

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
    return set_seconds(text, &spec_of(context)->ttl_s, err);
}

static int set_idle(void *context, const char *text, struct error *err)
{
    return set_seconds(text, &spec_of(context)->idle_timeout_s, err);
}

static int set_warn(void *context, const char *text, struct error *err)
{
    struct spec *s = spec_of(context);
    uint64_t percent;
    size_t n = strlen(text);
    char digits[8] = "";
    if (n > 0 && n < sizeof digits)
        memcpy(digits, text, text[n - 1] == '%' ? n - 1 : n);
    if (!io_parse_u64(digits, &percent) || percent < 1 || percent > 100) {
        error_set(err, "usage.number", 0, "\"%s\" is not a share of a limit", text);
        return error_hint(err, "1 to 100 percent, such as 80");
    }
    s->monitor_warn_percent = (unsigned)percent;
    if (s->monitor_action == MONITOR_NONE)
        s->monitor_action = MONITOR_WARN;
    return 0;
}

static int set_near_limit(void *context, const char *text, struct error *err)
{
    static const struct {
        const char *word;
        enum spec_monitor action;
    } words[] = {{"warn", MONITOR_WARN}, {"throttle", MONITOR_THROTTLE}, {"kill", MONITOR_KILL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) != 0)
            continue;
        spec_of(context)->monitor_action = words[i].action;
        return 0;
    }
    error_set(err, "usage.word", 0, "\"%s\" is not what can be done near a limit", text);
    return error_hint(err, "warn, throttle or kill");
}

/** What `create` has beside the options of a sandbox. */
struct create {
    struct cli_sandbox sandbox; /* first: the setters of the sandbox's options cast to it */
    struct strings modules;     /* NAME=SOURCE */
    const char *toolchain;
    bool watch;
    uint64_t probation_ms;
};

static int set_module(void *context, const char *text, struct error *err)
{
    struct create *c = context;
    const char *sign = strchr(text, '=');
    if (sign == NULL || sign == text || sign[1] == '\0') {
        error_set(err, "usage.value", 0, "expected NAME=SOURCE, found \"%.200s\"", text);
        return error_hint(err, "--module counter=counter.c");
    }
    for (size_t i = 0; i < c->modules.count; i++) {
        if (strncmp(c->modules.items[i], text, (size_t)(sign - text) + 1) == 0)
            return error_set(err, "usage.value", 0, "module \"%.*s\" is given twice",
                             (int)(sign - text), text);
    }
    strings_add(c->sandbox.spec->arena, &c->modules, text);
    return 0;
}

static int set_probation(void *context, const char *text, struct error *err)
{
    return spec_parse_duration(text, &((struct create *)context)->probation_ms, err);
}

static const struct cli_option more[] = {
    {0, "module", "NAME=SOURCE", "a module: a file, a directory or a shared object; repeatable",
     set_module},
    CLI_VALUE(0, "toolchain", "NAME", "of the modules; by the ending of the sources otherwise",
              CLI_TEXT, create, toolchain),
    CLI_SWITCH(0, "watch", "reload a module when its source is saved", create, watch),
    {0, "probation", "TIME", "how long a new version is on probation (10s)", set_probation},
    {0, "ttl", "TIME", "destroy it at this age, such as 2h", set_ttl},
    {0, "idle", "TIME", "destroy it when nobody has used it for so long", set_idle},
    {0, "warn", "PERCENT", "an event when so much of a limit is used (80)", set_warn},
    {0, "near-limit", "ACTION", "what to do then: warn, throttle or kill", set_near_limit},
    {0, NULL, NULL, NULL, NULL}};

/** Without those of one command that is waited for: its streams, and its report. */
static void options_of_create(struct cli_option *ret)
{
    static const char *const not [] = {"output-limit", "interactive", "tty", "report"};
    cli_sandbox_table(more, ret);
    struct cli_option *to = ret;
    for (const struct cli_option *o = ret; o->help != NULL; o++) {
        bool drop = false;
        for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
            drop = drop || strcmp(o->name, not [i]) == 0;
        if (!drop)
            *to++ = *o;
    }
    *to = (struct cli_option){0};
}

/** The id may stand before, between or after the options; out it goes. */
static int take_id(const struct cli_option *options, int *argc, char **argv, const char **ret_id,
                   struct error *err)
{
    _cleanup_spec_ struct spec *scratch = spec_new();
    struct create c = {.sandbox.spec = scratch};
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

static int add_modules(const struct create *c, struct error *err)
{
    struct spec *s = c->sandbox.spec;
    _cleanup_free_ char *here = getcwd(NULL, 0);
    for (size_t i = 0; i < c->modules.count; i++) {
        const char *text = c->modules.items[i], *source = strchr(text, '=') + 1;
        const struct spec_module m = {
            .name = arena_strndup(s->arena, text, (size_t)(source - text) - 1),
            .source = source[0] == '/'
                          ? source
                          : arena_printf(s->arena, "%s/%s", here != NULL ? here : "", source),
            .toolchain = c->toolchain,
            .watch = c->watch,
            .probation_ms = c->probation_ms};
        if (spec_add_module(s, &m, err) < 0)
            return -1;
    }
    return 0;
}

static int parse(struct create *whole, const struct cli_option *options, int argc, char **argv,
                 const char **ret_id, struct error *err)
{
    struct cli_sandbox *c = &whole->sandbox;
    if (take_id(options, &argc, argv, ret_id, err) < 0 ||
        cli_sandbox_base(c, options, argc, argv, err) < 0)
        return -1;
    if (c->spec_file != NULL) {
        _cleanup_free_ char *file = realpath(c->spec_file, NULL);
        char *slash = file != NULL ? strrchr(file, '/') : NULL;
        if (slash != NULL)
            spec_modules_below(c->spec,
                               arena_strndup(c->spec->arena, file, (size_t)(slash - file)));
    }
    int first = cli_parse(options, whole, argc, argv, err);
    if (first < 0 || (first < argc && spec_takes_command(c->spec, err) < 0))
        return -1;
    if (first < argc)
        c->spec->args = (struct strings){0};
    for (int i = first; i < argc; i++)
        strings_add(c->spec->arena, &c->spec->args, argv[i]);
    spec_add_main_child(c->spec);
    if (add_modules(whole, err) < 0)
        return -1;
    return cli_sandbox_finish(c, err);
}

/** The keeper that the start program has coming for the first operand (runtime/start/hand_over.c),
 * or -1. */
static int early_keeper(void)
{
    const char *text = getenv(KEEPER_EARLY);
    uint64_t fd = 0;
    bool given = text != NULL && io_parse_u64(text, &fd) && fd > 2 && fd <= INT_MAX &&
                 fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0;
    unsetenv(KEEPER_EARLY);
    return given ? (int)fd : -1;
}

int cli_create(int argc, char **argv)
{
    int keeper = early_keeper();
    struct cli_option options[CLI_OPTIONS_MAX];
    options_of_create(options);
    if (cli_wants_help("create", options, argc, argv))
        return 0; /* no keeper: the first word was no id */
    struct error err = ERROR_INIT;
    _cleanup_spec_ struct spec *spec = spec_new();
    struct create whole = {.sandbox = {.spec = spec, .stays = true}, .probation_ms = UINT64_MAX};
    const struct cli_sandbox *c = &whole.sandbox;
    const char *id = NULL;
    if (parse(&whole, options, argc, argv, &id, &err) < 0) {
        keeper_dismiss(keeper);
        return cli_fail(&err, c->json, strncmp(err.code, "usage.", 6) == 0 ? EXIT_USAGE : 1);
    }
    _cleanup_free_ char *text = spec_to_json(spec);
    const struct client_early early = {.keeper = keeper,
                                       .network = keeper < 0 ? -1 : sandbox_make_network(spec)};
    if (client_create(id, text, &early, &err) < 0)
        return cli_fail(&err, c->json, sandboxes_status(&err));
    if (c->json)
        printf("{\"id\":\"%s\",\"status\":\"running\"}\n", id);
    else
        puts(id);
    return 0;
}
