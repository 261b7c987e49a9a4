/* A program whose users write plug-ins: each is compiled behind glass, answers requests behind
 * glass, and is replaced while the program runs. What a plug-in does wrong is an error code here.
 */
#include <cloche.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char id[32];

static void ask(const char *plugin, const char *text)
{
    struct cloche_error err;
    void *reply = NULL;
    if (cloche_call(NULL, id, plugin, text, strlen(text), &reply, NULL, NULL, &err) < 0)
        printf("%s: error %s\n", plugin, err.code);
    else
        printf("%s: %s\n", plugin, (const char *)reply);
    free(reply);
}

static void replace(const char *plugin, const char *source)
{
    struct cloche_error err;
    struct cloche_reload_options options = CLOCHE_OPTIONS(cloche_reload_options);
    options.source = source;
    if (cloche_reload(NULL, id, plugin, &options, NULL, &err) < 0)
        printf("%s: not replaced: %s\n", plugin, err.code);
    else
        printf("%s: replaced\n", plugin);
}

int main(int argc, char **argv)
{
    struct cloche_error err;
    struct cloche_module upper = CLOCHE_OPTIONS(cloche_module),
                         count = CLOCHE_OPTIONS(cloche_module),
                         thief = CLOCHE_OPTIONS(cloche_module);
    const struct cloche_module *plugins[] = {&upper, &count, &thief, NULL};
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);

    if (argc > 1 && chdir(argv[1]) < 0)
        return 1;
    upper.name = "upper", upper.source = "upper.c";
    count.name = "count", count.source = "count.cpp";
    thief.name = "thief", thief.source = "thief.c";
    what.profile = "plugin";
    what.modules = plugins;
    what.config_json = getenv("CLOCHE_CONFIG");
    snprintf(id, sizeof id, "plugins-%d", (int)getpid());
    if (cloche_create(NULL, id, &what, &err) < 0) {
        fprintf(stderr, "%s; fix: %s\n", err.message, err.hint);
        return 1;
    }

    ask("upper", "glass over a seedling");
    ask("count", "to be or not to be");
    ask("thief", "look");
    ask("thief", "crash");
    ask("upper", "still here");
    replace("upper", "upper-broken.c");
    ask("upper", "and here");
    replace("upper", "upper-better.c");
    ask("upper", "better");
    ask("count", "that is the question");
    return cloche_destroy(NULL, id, 1, &err) < 0;
}
