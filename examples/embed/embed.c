/* Twenty lines: make a sandbox, run a command in it, read its result, destroy it. */
#include <cloche.h>
#include <stdio.h>

static int fail(const struct cloche_error *err)
{
    fprintf(stderr, "%s: %s\n", err->code, err->message);
    return 1;
}

int main(void)
{
    struct cloche_error err;
    struct cloche_result result;
    const char *args[] = {"sh", "-c", "echo hello from $(hostname); exit 3", NULL};
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);
    struct cloche_command command = CLOCHE_OPTIONS(cloche_command);

    what.config_json = "{\"ociVersion\":\"1.1.0\",\"hostname\":\"glass\"}";
    command.args = args;
    command.streams[1] = 1;
    command.streams[2] = 2;
    command.timeout_ms = 5000;

    if (cloche_create(NULL, "embedded", &what, &err) < 0)
        return fail(&err);
    int rc = cloche_exec(NULL, "embedded", &command, &result, &err) < 0 ? fail(&err) : 0;
    if (rc == 0)
        printf("verdict %s, exit code %d\n", result.verdict, result.exit_code);
    return cloche_destroy(NULL, "embedded", 0, &err) < 0 ? fail(&err) : rc;
}
