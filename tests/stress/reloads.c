/* Many calls over many reloads of the counter, every fourth of which crashes on probation.
 *
 *   reloads SANDBOX DIRECTORY CALLS RELOADS SEED ARTIFACT... -- CRASHING...
 *
 * One thread asks the counter of SANDBOX for its next number, in bursts, until RELOADS are done and
 * at least CALLS replies came; each reply must be the number that follows the one before, as from a
 * counter that was never touched. The other one reloads: a random ARTIFACT, confirmed or left on
 * probation for the next one, or, every fourth time, a CRASHING one, which has to come back as
 * ROLLED_BACK with no update lost. What the sandbox holds open, mapped, in memory and in DIRECTORY
 * is looked at after each tenth of the reloads, and is not to grow after the first. Prints one line
 * of JSON; the status is 0 when all of it was so.
 */
#include "runtime/client.h"
#include "runtime/client_calls.h"
#include "tests/stress/held.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST 24

static const char *sandbox, *directory;
static atomic_bool done;
static uint64_t wanted, replies, slowest_us, sent_us[1 << 16];

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static _Noreturn void broken(const char *what, const struct error *err, uint64_t n)
{
    fprintf(stderr, "reloads: %s (%llu)%s%s\n", what, (unsigned long long)n,
            err != NULL ? ": " : "", err != NULL ? err->message : "");
    exit(1);
}

/* --- the caller ----------------------------------------------------------------------------------
 */

static void take(struct calls *c, bool wait, uint64_t *got)
{
    struct calls_reply r;
    struct error err = ERROR_INIT;
    for (int rc; (rc = calls_next(c, wait, &r, &err)) != 0; wait = false) {
        char text[32] = "";
        if (rc < 0)
            broken("the connection broke", &err, *got);
        if (r.failed)
            broken("a request failed", &r.error, r.id);
        memcpy(text, r.data, r.size < sizeof text - 1 ? r.size : sizeof text - 1);
        if (r.id != *got + 1)
            broken("a reply is missing, or came twice", NULL, r.id);
        if (r.status != 0 || strtoull(text, NULL, 10) != r.id) {
            fprintf(stderr, "version %u answered %llu with status %d, \"%s\"\n", r.version,
                    (unsigned long long)r.id, r.status, text);
            broken("the count is another one", NULL, r.id);
        }
        uint64_t took = now_us() - sent_us[r.id % (sizeof sent_us / sizeof *sent_us)];
        slowest_us = took > slowest_us ? took : slowest_us;
        (*got)++;
    }
}

static void *call(void *context)
{
    struct calls c;
    struct error err = ERROR_INIT;
    unsigned seed = *(unsigned *)context;
    uint64_t sent = 0, got = 0;
    if (calls_open(&c, sandbox, "counter", 0, &err) < 0)
        broken("no connection", &err, 0);
    while (!atomic_load(&done) || got < wanted) {
        int burst = rand_r(&seed) % BURST + 1;
        for (int i = 0; i < burst; i++) {
            sent_us[++sent % (sizeof sent_us / sizeof *sent_us)] = now_us();
            if (calls_put(&c, sent, "add", 3, &err) < 0)
                broken("a request was not taken", &err, sent);
        }
        if (calls_send(&c, true, &err) < 0)
            broken("requests were not sent", &err, sent);
        /* the load is to last as long as the reloads do */
        struct pollfd p = {.fd = c.fd, .events = POLLIN};
        if (poll(&p, 1, rand_r(&seed) % 3) > 0)
            take(&c, false, &got);
        while (sent - got > 1000)
            take(&c, true, &got);
    }
    while (got < sent)
        take(&c, true, &got);
    calls_close(&c);
    replies = got;
    return NULL;
}

/* --- the reloads ---------------------------------------------------------------------------------
 */

static struct frame frame;

/** 0 with the result in @frame, or -1. */
static int operate(const char *operation, const char *path, bool wait, struct error *err)
{
    struct fields f = FIELDS_INIT;
    fields_add(&f, "module", "counter");
    fields_add_int(&f, "wait", wait);
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int fd = client_connect(sandbox, err);
    int rc = fd < 0 ? -1 : client_send(fd, operation, &f, &file, file >= 0, err);
    while (rc == 0 && (rc = client_next(fd, sandbox, &frame, err)) > 0)
        frame_close_fds(&frame), rc = 0;
    fields_free(&f);
    if (fd >= 0)
        close(fd);
    if (file >= 0)
        close(file);
    return rc;
}

static double result(const char *name)
{
    const char *text = frame_get(&frame, "json");
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    double value = cJSON_IsNumber(n) ? n->valuedouble : -1;
    cJSON_Delete(o);
    return value;
}

static struct held look(void)
{
    struct held h;
    struct error err = ERROR_INIT;
    struct ucred who = {0};
    socklen_t size = sizeof who;
    int fd = client_connect(sandbox, &err);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        broken("no keeper", &err, 0);
    close(fd);
    if (held_look(&h, who.pid, directory) < 0)
        broken("the keeper has gone", NULL, (uint64_t)who.pid);
    return h;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int by_number(const void *a, const void *b)
{
    const long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

/** Everything is as between two reloads. */
static struct held settle(void)
{
    enum { SOME = 51, FIGURES = sizeof(struct held) / sizeof(long) };
    struct error err = ERROR_INIT;
    long looks[FIGURES][SOME], median[FIGURES];
    struct held h;
    while (operate("confirm", NULL, false, &err) == 0 || strcmp(err.code, "reload.none") != 0)
        err = (struct error)ERROR_INIT;
    /* what is reaped goes in a moment, what is in reserve comes in one: the median of some looks */
    for (int i = 0; i < SOME; i++) {
        h = look();
        memcpy(median, &h, sizeof h);
        for (int k = 0; k < FIGURES; k++)
            looks[k][i] = median[k];
        poll(NULL, 0, 10);
    }
    for (int k = 0; k < FIGURES; k++) {
        qsort(looks[k], SOME, sizeof(long), by_number);
        median[k] = looks[k][SOME / 2];
    }
    memcpy(&h, median, sizeof h);
    return h;
}

#define LOOKS 10

static void print_held_by(const char *name, const struct held_by *h)
{
    printf("\"%s\":{\"processes\":%ld,\"files\":%ld,\"memfds\":%ld,\"mappings\":%ld,"
           "\"resident_kb\":%ld},",
           name, h->processes, h->files, h->memfds, h->mappings, h->resident_kb);
}

#ifdef __SANITIZE_ADDRESS__ /* what was freed is kept for a while: tests/sanitizers/run */
#define KEPT_MAPPINGS 16
#define KEPT_KIB      8192
#else
#define KEPT_MAPPINGS 0
#define KEPT_KIB      0
#endif

/** Fails when something has grown; @reloads lie between. */
static void compare(const char *whose, const struct held_by *from, const struct held_by *to,
                    int reloads)
{
    /* a version without state has no snapshot; a leak would be one a reload */
    struct {
        const char *what;
        long from, to, slack;
    } rows[] = {
        {"processes", from->processes, to->processes, 0},
        {"open files", from->files, to->files, 2},
        {"memfds", from->memfds, to->memfds, 2},
        {"mappings", from->mappings, to->mappings, 2 + KEPT_MAPPINGS},
        {"KiB resident", from->resident_kb, to->resident_kb, 512 + reloads / 16 + KEPT_KIB}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].to <= rows[i].from + rows[i].slack)
            continue;
        fprintf(stderr, "reloads: %s: %ld %s, %ld before\n", whose, rows[i].to, rows[i].what,
                rows[i].from);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    pthread_t caller;
    int good = 0, bad = 0;
    if (argc < 9 || atoi(argv[4]) < LOOKS)
        return 2;
    sandbox = argv[1];
    directory = argv[2];
    wanted = strtoull(argv[3], NULL, 10);
    int reloads = atoi(argv[4]);
    unsigned seed = (unsigned)atoi(argv[5]), caller_seed = seed + 1;
    char **artifacts = argv + 6, **crashing;
    while (strcmp(artifacts[good], "--") != 0)
        good++;
    crashing = artifacts + good + 1;
    while (crashing[bad] != NULL)
        bad++;
    double *pauses = calloc((size_t)reloads + 1, sizeof *pauses);
    int switched = 0, rolled_back = 0, looked = 0, last = -1;
    struct held looks[LOOKS];
    uint64_t began = now_us();

    if (operate("reload", artifacts[0], false, &err) < 0)
        broken("the first version does not serve", &err, 0);
    if (pthread_create(&caller, NULL, call, &caller_seed) != 0)
        return 2;
    for (int i = 1; i < reloads; i++) {
        bool crashes = i % 4 == 3;
        int which = rand_r(&seed) % (crashes ? bad : good);
        if (!crashes && which == last) /* the same bytes would be no reload */
            which = (which + 1) % good;
        last = crashes ? -1 : which;
        err = (struct error)ERROR_INIT;
        int rc = operate("reload", crashes ? crashing[which] : artifacts[which], crashes, &err);
        if (crashes && (rc == 0 || strcmp(err.code, "reload.rolled_back") != 0))
            broken("a crashing version was not taken back", rc < 0 ? &err : NULL, (uint64_t)i);
        if (!crashes && rc < 0)
            broken("a good version was refused", &err, (uint64_t)i);
        rolled_back += crashes;
        if (!crashes)
            pauses[switched++] = result("pause_us");
        if (!crashes && rand_r(&seed) % 4 != 0) { /* else the next one comes during its probation */
            do
                err = (struct error)ERROR_INIT;
            while (operate("confirm", NULL, false, &err) < 0 &&
                   strcmp(err.code, "reload.early") == 0);
        }
        if (i % (reloads / LOOKS) == 0 && looked < LOOKS - 1)
            looks[looked++] = settle();
    }
    looks[looked] = settle();
    double seconds = (double)(now_us() - began) / 1e6;
    atomic_store(&done, true);
    pthread_join(caller, NULL);
    qsort(pauses, (size_t)switched, sizeof *pauses, by_value);
    printf("{\"replies\":%llu,\"reloads\":%d,\"rolled_back\":%d,\"lost\":0,\"seconds\":%.1f,"
           "\"pause_us\":{\"p50\":%.0f,\"p99\":%.0f,\"max\":%.0f},\"slowest_call_us\":%llu,"
           "\"held\":[",
           (unsigned long long)replies, reloads, rolled_back, seconds, pauses[switched / 2],
           pauses[switched * 99 / 100], pauses[switched - 1], (unsigned long long)slowest_us);
    for (int i = 0; i < LOOKS; i++) {
        printf("%s{", i > 0 ? "," : "");
        print_held_by("keeper", &looks[i].keeper);
        print_held_by("inside", &looks[i].inside);
        printf("\"disk_files\":%ld,\"disk_kb\":%ld,\"database_kb\":%ld}", looks[i].disk_files,
               looks[i].disk_kb, looks[i].database_kb);
    }
    puts("]}");
    free(pauses);
    const struct held *first = &looks[0], *last_look = &looks[LOOKS - 1];
    compare("the keeper", &first->keeper, &last_look->keeper, reloads);
    compare("inside", &first->inside, &last_look->inside, reloads);
    return 0;
}
