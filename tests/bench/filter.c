/* What a syscall filter costs: built by libseccomp, fetched from the cache, loaded into a process.
 * Medians in microseconds. */
#include "config/spec.h"
#include "isolation/seccomp.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 50

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *v)
{
    qsort(v, ROUNDS, sizeof *v, compare);
    return v[ROUNDS / 2];
}

static double load_time(const struct seccomp_filter *f)
{
    int fds[2];
    double us = 0;
    if (pipe(fds) < 0)
        exit(1);
    if (fork() == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        double start = now_us();
        if (seccomp_filter_load(f) < 0)
            _exit(1);
        us = now_us() - start;
        _exit(write(fds[1], &us, sizeof us) != sizeof us);
    }
    if (read(fds[0], &us, sizeof us) != sizeof us)
        exit(1);
    close(fds[0]);
    close(fds[1]);
    wait(NULL);
    return us;
}

int main(void)
{
    struct error err = ERROR_INIT;
    static const char *const names[] = {"tight", "build", "wide"};
    for (size_t i = 0; i < 3; i++) {
        static double build[ROUNDS], cached[ROUNDS], load[ROUNDS];
        char file[64];
        snprintf(file, sizeof file, "seccomp/%s.json", names[i]);
        struct spec *s = spec_new();
        s->seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = names[i]};
        unsigned short count = 0;
        for (int n = 0; n < ROUNDS; n++) {
            struct seccomp_filter f;
            double start = now_us();
            if (seccomp_filter_build(&f, config_builtin(file, NULL), &err) < 0)
                return 1;
            build[n] = now_us() - start;
            seccomp_filter_free(&f);
            start = now_us();
            if (seccomp_filter_get(&f, s, &err) < 0)
                return 1;
            cached[n] = now_us() - start;
            load[n] = load_time(&f);
            count = f.count;
            seccomp_filter_free(&f);
        }
        printf("%s\t%.0f\t%.0f\t%.0f\t%u\n", names[i], median(build), median(cached), median(load),
               count);
        spec_free(s);
    }
    return 0;
}
