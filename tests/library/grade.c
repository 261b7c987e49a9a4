/* A program of somebody else's, with nothing but runtime/cloche.h: compile, then grade.
 * grade SOURCE TESTS OUT */
#include "runtime/cloche.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failed(const struct cloche_error *e)
{
    printf("%s: %s; %s\n", e->code, e->message, e->hint);
    return 3;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const char *sources[] = {argv[1]};
    struct cloche_error error;
    char *json;
    int artifact;

    struct cloche_compile_options c = CLOCHE_OPTIONS(cloche_compile_options);
    c.sources = sources;
    c.source_count = 1;
    c.best_effort = getuid() != 0;
    if (cloche_compile(&c, &artifact, &json, &error) < 0)
        return failed(&error);
    printf("%s\n%d\n", json, artifact >= 0);
    free(json);
    if (artifact >= 0)
        close(artifact);

    struct cloche_judge_options j = CLOCHE_OPTIONS(cloche_judge_options);
    j.tests = argv[2];
    j.submissions = sources;
    j.submission_count = 1;
    j.junit = argv[3];
    j.best_effort = c.best_effort;
    int passed = cloche_judge(&j, &json, &error);
    if (passed < 0)
        return failed(&error);
    printf("%s\n", json);
    free(json);
    return passed == 1 ? 0 : 1;
}
