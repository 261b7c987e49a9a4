/* What the calls of libcloche take inside one process: library ROUNDS; a line "NAME MS" for each
 * single call, for tests/bench/run-keeper to sum up. */
#include "runtime/cloche.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static void note(const char *name, double begun, int rc, const struct cloche_error *err)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", err->code, err->message);
        exit(1);
    }
    printf("%s %.4f\n", name, now_ms() - begun);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 10, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char *const args[] = {"/bin/true", NULL};
    struct cloche_command command = CLOCHE_OPTIONS(cloche_command);
    struct cloche_error err;
    double begun;
    command.args = args;
    command.streams[0] = command.streams[1] = command.streams[2] = null;
    for (int i = 0; i < rounds; i++) {
        begun = now_ms();
        note("create", begun, cloche_create(NULL, "library", NULL, &err), &err);
        for (int n = 0; n < 5; n++) {
            begun = now_ms();
            note("exec", begun, cloche_exec(NULL, "library", &command, NULL, &err), &err);
        }
        begun = now_ms();
        note("restart", begun, cloche_restart(NULL, "library", 0, &err), &err);
        begun = now_ms();
        note("destroy", begun, cloche_destroy(NULL, "library", 0, &err), &err);
    }
    return 0;
}
