/* Many calls over many reloads of the counter, every fourth of which crashes on probation.
 *
 *   reloads SANDBOX CALLS RELOADS SEED ARTIFACT... -- CRASHING...
 *
 * One thread asks the counter of SANDBOX for its next number, in bursts, until RELOADS are done and
 * at least CALLS replies came; each reply must be the number that follows the one before, as from a
 * counter that was never touched. The other one reloads: a random ARTIFACT, confirmed or left on
 * probation for the next one, or, every fourth time, a CRASHING one, which has to come back as
 * ROLLED_BACK with no update lost. What the keeper holds open and mapped is compared with what it
 * was after a tenth of the reloads. Prints one line of JSON; the status is 0 when all of it was so.
 */
#include "runtime/client.h"
#include "runtime/client_calls.h"

#include <cjson/cJSON.h>
#include <dirent.h>
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

static const char *sandbox;
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

/** What the keeper has: open files, memfds among them, mappings, resident pages. */
struct held {
    long files, memfds, mappings, resident_kb;
};

static struct held look(void)
{
    struct held h = {0};
    struct error err = ERROR_INIT;
    struct ucred who = {0};
    socklen_t size = sizeof who;
    char path[64], link[256], line[512];
    int fd = client_connect(sandbox, &err);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        broken("no keeper", &err, 0);
    close(fd);
    snprintf(path, sizeof path, "/proc/%d/fd", who.pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        h.files += n > 0;
        h.memfds += n > 7 && memcmp(link, "/memfd:", 7) == 0;
    }
    if (d != NULL)
        closedir(d);
    snprintf(path, sizeof path, "/proc/%d/maps", who.pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        h.mappings++;
    if (maps != NULL)
        fclose(maps);
    snprintf(path, sizeof path, "/proc/%d/status", who.pid);
    FILE *status = fopen(path, "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        sscanf(line, "VmRSS: %ld", &h.resident_kb);
    if (status != NULL)
        fclose(status);
    return h;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/** Everything is as between two reloads. */
static struct held settle(void)
{
    struct error err = ERROR_INIT;
    struct held h;
    while (operate("confirm", NULL, false, &err) == 0 || strcmp(err.code, "reload.none") != 0)
        err = (struct error)ERROR_INIT;
    /* what is being reaped goes in a moment: the least of some looks */
    for (int i = 0; i < 50; i++) {
        struct held more = look();
        if (i == 0 || more.files < h.files)
            h = more;
        poll(NULL, 0, 10);
    }
    return h;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    pthread_t caller;
    int good = 0, bad = 0;
    if (argc < 8)
        return 2;
    sandbox = argv[1];
    wanted = strtoull(argv[2], NULL, 10);
    int reloads = atoi(argv[3]);
    unsigned seed = (unsigned)atoi(argv[4]), caller_seed = seed + 1;
    char **artifacts = argv + 5, **crashing;
    while (strcmp(artifacts[good], "--") != 0)
        good++;
    crashing = artifacts + good + 1;
    while (crashing[bad] != NULL)
        bad++;
    double *pauses = calloc((size_t)reloads + 1, sizeof *pauses);
    int switched = 0, rolled_back = 0, last = -1;
    struct held before = {0};
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
        if (i == (reloads + 9) / 10)
            before = settle();
    }
    struct held after = settle();
    double seconds = (double)(now_us() - began) / 1e6;
    atomic_store(&done, true);
    pthread_join(caller, NULL);
    qsort(pauses, (size_t)switched, sizeof *pauses, by_value);
    printf("{\"replies\":%llu,\"reloads\":%d,\"rolled_back\":%d,\"lost\":0,\"seconds\":%.1f,"
           "\"pause_us\":{\"p50\":%.0f,\"p99\":%.0f,\"max\":%.0f},\"slowest_call_us\":%llu,"
           "\"files\":[%ld,%ld],\"memfds\":[%ld,%ld],\"mappings\":[%ld,%ld],"
           "\"resident_kb\":[%ld,%ld]}\n",
           (unsigned long long)replies, reloads, rolled_back, seconds, pauses[switched / 2],
           pauses[switched * 99 / 100], pauses[switched - 1], (unsigned long long)slowest_us,
           before.files, after.files, before.memfds, after.memfds, before.mappings, after.mappings,
           before.resident_kb, after.resident_kb);
    free(pauses);
    /* a version without state has no snapshot; a leak would be one a reload */
    if (after.files > before.files + 2 || after.memfds > before.memfds + 2)
        broken("the keeper has more files open than before", NULL, (uint64_t)after.files);
    if (after.mappings > before.mappings + 2)
        broken("the keeper has more mappings than before", NULL, (uint64_t)after.mappings);
    return 0;
}
