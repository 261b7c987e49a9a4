/* Calls of a module against their floor: bare ping-pong between two processes over a SEQPACKET
 * socket pair, before and after them, where the scheduler puts both.
 *
 *   calls SANDBOX MODULE [SECONDS]     a JSON line a measurement
 *   calls SANDBOX MODULE load SECONDS  one call after the other; how many, how many failed, longest
 */
#include "runtime/client_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

#define SAMPLES 20000
static double samples[SAMPLES];

static double median(size_t n)
{
    qsort(samples, n, sizeof *samples, by_value);
    return samples[n / 2];
}

static double ping_pong(size_t size, double seconds)
{
    int ends[2];
    char *data = calloc(1, size);
    if (data == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0)
        exit(1);
    int room = 4 << 20; /* a packet of 1 MiB is one packet */
    for (int i = 0; i < 2; i++) {
        if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0)
            setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        for (ssize_t n; (n = recv(ends[1], data, size, 0)) > 0;)
            if (send(ends[1], data, (size_t)n, 0) < 0)
                break;
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (double end = now_us() + seconds * 1e6, t = now_us(); n < SAMPLES && t < end; n++) {
        if (send(ends[0], data, size, 0) < 0 || recv(ends[0], data, size, 0) <= 0)
            exit(1);
        double after = now_us();
        samples[n] = after - t;
        t = after;
    }
    close(ends[0]);
    waitpid(pid, NULL, 0);
    free(data);
    return median(n);
}

static struct calls calls;

static void must(int rc, const struct error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static struct calls_reply next(void)
{
    struct error err = ERROR_INIT;
    struct calls_reply r;
    must(calls_next(&calls, true, &r, &err), &err);
    return r;
}

static double round_trip(const char *data, size_t size, double seconds)
{
    struct error err = ERROR_INIT;
    size_t n = 0;
    for (double end = now_us() + seconds * 1e6, t = now_us(); n < SAMPLES && t < end; n++) {
        must(calls_put(&calls, n, data, size, &err), &err);
        must(calls_send(&calls, true, &err), &err);
        next();
        double after = now_us();
        samples[n] = after - t;
        t = after;
    }
    return median(n);
}

static double throughput(const char *data, size_t size, unsigned window, double seconds)
{
    struct error err = ERROR_INIT;
    uint64_t open = 0, done = 0, id = 0;
    double began = now_us(), end = began + seconds * 1e6;
    while (now_us() < end) {
        for (; open < window; open++)
            must(calls_put(&calls, ++id, data, size, &err), &err);
        must(calls_send(&calls, true, &err), &err);
        struct calls_reply r;
        for (int rc = 1; rc > 0 && open > 0; done++, open--) {
            rc = calls_next(&calls, open > window / 2, &r, &err);
            must(rc, &err);
            if (rc == 0) {
                break;
            }
        }
    }
    for (; open > 0; open--, done++)
        next();
    return (double)done / ((now_us() - began) / 1e6);
}

static int load(double seconds)
{
    struct error err = ERROR_INIT;
    uint64_t done = 0, failed = 0;
    double longest = 0;
    for (double end = now_us() + seconds * 1e6, t = now_us(); t < end; done++) {
        must(calls_put(&calls, done, "add", 3, &err), &err);
        must(calls_send(&calls, true, &err), &err);
        struct calls_reply r = next();
        failed += r.failed || r.status != 0;
        double after = now_us();
        longest = after - t > longest ? after - t : longest;
        t = after;
    }
    printf("{\"requests\":%llu,\"lost\":%llu,\"longest_ms\":%.3f}\n", (unsigned long long)done,
           (unsigned long long)failed, longest / 1e3);
    return failed != 0;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 4096, 1048576};
    static const unsigned windows[] = {1, 8, 64, 512};
    struct error err = ERROR_INIT;
    if (argc < 3)
        return 2;
    must(calls_open(&calls, argv[1], argv[2], 0, &err), &err);
    if (argc == 5 && strcmp(argv[3], "load") == 0)
        return load(atof(argv[4]));
    double seconds = argc > 3 ? atof(argv[3]) : 1;
    char *data = calloc(1, sizes[2]);
    if (data == NULL)
        return 1;
    for (int i = 0; i < 3; i++) {
        double before = ping_pong(sizes[i], seconds / 2);
        double ours = round_trip(data, sizes[i], seconds);
        double floor = (before + ping_pong(sizes[i], seconds / 2)) / 2;
        printf("{\"bytes\":%zu,\"round_trip_us\":%.2f,\"ping_pong_us\":%.2f,\"ratio\":%.2f}\n",
               sizes[i], ours, floor, ours / floor);
        /* of large ones, as many as a connection may have open */
        for (int w = 0; w < (sizes[i] <= 65536 ? 4 : 3); w++)
            printf("{\"bytes\":%zu,\"in_flight\":%u,\"calls_per_s\":%.0f}\n", sizes[i], windows[w],
                   throughput(data, sizes[i], windows[w], seconds));
    }
    free(data);
    calls_close(&calls);
    return 0;
}
