/* Long-lived sandboxes from a program of somebody else's, with nothing but runtime/cloche.h.
 * keep CASE: silent and 0 when all is as it should be. Run by tests/e2e/library.bats. */
#include "runtime/cloche.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS  5

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct cloche_error err;
static int null_fd;

static void must(int rc, const struct cloche_error *e)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s; %s\n", e->code, e->message, e->hint);
    exit(1);
}

static struct cloche_command command_of(const char *const *args)
{
    struct cloche_command c = CLOCHE_OPTIONS(cloche_command);
    c.args = args;
    c.streams[0] = c.streams[1] = c.streams[2] = null_fd;
    return c;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static struct cloche *open_handle(unsigned deadline_ms)
{
    struct cloche_options o = CLOCHE_OPTIONS(cloche_options);
    struct cloche *c;
    o.deadline_ms = deadline_ms;
    must(cloche_open(&o, &c, &err), &err);
    return c;
}

/** A number that the keeper's JSON has. */
static long number_of(struct cloche *c, const char *id, const char *name)
{
    char *json, key[64];
    must(cloche_info(c, id, &json, &err), &err);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(json, key);
    CHECK(at != NULL);
    long n = strtol(at + strlen(key), NULL, 10);
    free(json);
    return n;
}

/* --- threads: one handle, every verb, sandboxes of their own and one that all share --------------
 */

struct thread {
    struct cloche *c;
    int number;
};

static const char *const true_args[] = {"true", NULL},
                         *const seven_args[] = {"sh", "-c", "exit 7", NULL},
                         *const sleep_args[] = {"sleep", "1000", NULL};

static void *use(void *argument)
{
    const struct thread *t = argument;
    struct cloche_error e;
    struct cloche_result result;
    struct cloche_command seven = command_of(seven_args);
    char id[32], *json;
    snprintf(id, sizeof id, "own%d", t->number);
    for (int i = 0; i < ROUNDS; i++) {
        must(cloche_create(t->c, id, NULL, &e), &e);
        must(cloche_exec(t->c, id, &seven, &result, &e), &e);
        CHECK(result.exit_code == 7 && strcmp(result.verdict, "runtime_error") == 0);
        must(cloche_exec(t->c, "shared", &seven, &result, &e), &e);
        CHECK(result.exit_code == 7);
        must(cloche_info(t->c, "shared", &json, &e), &e);
        free(json);
        must(cloche_list(t->c, &json, &e), &e);
        CHECK(strstr(json, "\"shared\"") != NULL && strstr(json, id) != NULL);
        free(json);
        CHECK(cloche_create(t->c, "shared", NULL, &e) < 0 && strcmp(e.code, "sandbox.exists") == 0);
        CHECK(cloche_info(t->c, "nobody", &json, &e) < 0 && strcmp(e.code, "sandbox.unknown") == 0);
        uint64_t number;
        must(cloche_begin_exec(t->c, "shared", &seven, &number, &e), &e);
        must(cloche_restart(t->c, id, 0, &e), &e);
        must(cloche_destroy(t->c, id, 0, &e), &e);
    }
    return NULL;
}

/** Events are taken by a thread of their own, while the others begin more. */
static void *take(void *argument)
{
    const struct thread *t = argument;
    struct cloche_error e;
    struct cloche_event *event;
    for (int done = 0; done < THREADS * ROUNDS;) {
        struct pollfd p = {.fd = cloche_event_fd(t->c), .events = POLLIN};
        CHECK(poll(&p, 1, 60000) == 1);
        int rc;
        while ((rc = cloche_next_event(t->c, &event, &e)) == 1) {
            CHECK(event->kind == CLOCHE_EVENT_DONE && event->number > 0);
            CHECK(event->error.code[0] == '\0' && event->result.exit_code == 7);
            CHECK(strcmp(event->id, "shared") == 0);
            cloche_event_free(event);
            done++;
        }
        must(rc, &e);
    }
    return NULL;
}

static void test_threads(void)
{
    struct cloche *c = open_handle(60000);
    struct thread all[THREADS + 1];
    pthread_t threads[THREADS + 1];
    must(cloche_create(c, "shared", NULL, &err), &err);
    for (int i = 0; i <= THREADS; i++) {
        all[i] = (struct thread){.c = c, .number = i};
        CHECK(pthread_create(&threads[i], NULL, i < THREADS ? use : take, &all[i]) == 0);
    }
    for (int i = 0; i <= THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    must(cloche_destroy(c, "shared", 0, &err), &err);
    cloche_close(c);
}

/* --- one id, many makers -------------------------------------------------------------------------
 */

static int won;

static void *make_same(void *argument)
{
    const struct thread *t = argument;
    struct cloche_error e;
    if (cloche_create(t->c, "same", NULL, &e) == 0)
        __atomic_add_fetch(&won, 1, __ATOMIC_SEQ_CST);
    else
        CHECK(strcmp(e.code, "sandbox.exists") == 0);
    return NULL;
}

static void test_one_winner(void)
{
    struct thread t = {.c = open_handle(60000)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, make_same, &t) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(won == 1);
    must(cloche_destroy(t.c, "same", 0, &err), &err);
    cloche_close(t.c);
}

static void expect_none(struct cloche *c)
{
    char *json;
    must(cloche_list(c, &json, &err), &err);
    CHECK(strcmp(json, "[]") == 0);
    free(json);
}

/* --- deadlines -----------------------------------------------------------------------------------
 */

/** @rc of a call with 200 ms that began at @begun: too late, and neither early nor for ever. */
static void late(int rc, double begun)
{
    double took = now_ms() - begun;
    CHECK(rc < 0);
    if (strcmp(err.code, "call.deadline") != 0)
        must(-1, &err);
    CHECK(took >= 190 && took < 40000);
}

static void test_deadline(void)
{
    struct cloche *c = open_handle(200), *patient = open_handle(0);
    struct cloche_command sleeps = command_of(sleep_args), t = command_of(true_args);
    struct cloche_result result;
    char *json;
    must(cloche_create(patient, "slow", NULL, &err), &err);
    double begun = now_ms();
    late(cloche_exec(c, "slow", &sleeps, &result, &err), begun);
    /* its command is killed, as the client has gone: not busy any more */
    for (begun = now_ms(); number_of(patient, "slow", "commands") > 0;)
        CHECK(now_ms() - begun < 20000);

    pid_t keeper = (pid_t)number_of(patient, "slow", "keeper_pid");
    CHECK(kill(keeper, SIGSTOP) == 0);
    begun = now_ms();
    late(cloche_info(c, "slow", &json, &err), begun);
    begun = now_ms();
    late(cloche_exec(c, "slow", &t, &result, &err), begun);
    begun = now_ms();
    late(cloche_restart(c, "slow", 1, &err), begun);
    CHECK(kill(keeper, SIGCONT) == 0);
    /* the restart goes on by itself */
    for (begun = now_ms(); number_of(patient, "slow", "restarts") < 1;)
        CHECK(now_ms() - begun < 20000);
    must(cloche_exec(patient, "slow", &t, &result, &err), &err);
    CHECK(result.exit_code == 0);
    must(cloche_destroy(patient, "slow", 0, &err), &err);

    /* a child that is never ready: the creation is given up, and undone */
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);
    what.config_json = "{\"ociVersion\":\"1.1.0\",\"cloche\":{\"children\":[{\"id\":\"never\","
                       "\"kind\":\"command\",\"args\":[\"sleep\",\"1000\"],\"ready\":\"line\"}]}}";
    begun = now_ms();
    late(cloche_create(c, "never", &what, &err), begun);
    expect_none(patient);
    /* so early that its keeper may not be there to be told */
    struct cloche *hasty = open_handle(1);
    CHECK(cloche_create(hasty, "hasty", &what, &err) < 0);
    CHECK(strcmp(err.code, "call.deadline") == 0);
    expect_none(patient);
    cloche_close(hasty);
    cloche_close(c);
    cloche_close(patient);
}

/* --- events --------------------------------------------------------------------------------------
 */

static struct cloche_event *next(struct cloche *c)
{
    struct cloche_event *event;
    for (;;) {
        int rc = cloche_next_event(c, &event, &err);
        must(rc, &err);
        if (rc == 1)
            return event;
        struct pollfd p = {.fd = cloche_event_fd(c), .events = POLLIN};
        CHECK(poll(&p, 1, 60000) == 1);
    }
}

static void expect_done(struct cloche *c, uint64_t number, const char *code, int exit_code,
                        int signal)
{
    struct cloche_event *e = next(c);
    if (e->kind != CLOCHE_EVENT_DONE || strcmp(e->error.code, code) != 0) {
        fprintf(stderr, "event %d: %s: %s\n", (int)e->kind, e->error.code, e->error.message);
        exit(1);
    }
    CHECK(e->number == number);
    CHECK(e->result.exit_code == exit_code && e->result.signal == signal);
    cloche_event_free(e);
}

static void test_operations(void)
{
    struct cloche *c = open_handle(0);
    struct cloche_event *event;
    struct cloche_command seven = command_of(seven_args), sleeps = command_of(sleep_args);
    const char *const none[] = {"/does/not/exist", NULL};
    struct cloche_command missing = command_of(none);
    struct cloche_sandbox bad = CLOCHE_OPTIONS(cloche_sandbox);
    uint64_t number;
    CHECK(cloche_next_event(c, &event, &err) == 0);
    CHECK(cloche_next_event(NULL, &event, &err) < 0 && strcmp(err.code, "usage.handle") == 0);
    CHECK(cloche_event_fd(NULL) == -1);
    must(cloche_begin_create(c, "a", NULL, &number, &err), &err);
    expect_done(c, number, "", 0, 0);
    CHECK(cloche_begin_create(c, "a", NULL, &number, &err) < 0);
    CHECK(strcmp(err.code, "sandbox.exists") == 0);
    must(cloche_begin_exec(c, "a", &seven, &number, &err), &err);
    expect_done(c, number, "", 7, 0);
    must(cloche_begin_exec(c, "a", &missing, &number, &err), &err);
    expect_done(c, number, "sandbox.not_found", 0, 0);
    must(cloche_begin_exec(c, "a", &sleeps, &number, &err), &err);
    must(cloche_cancel(c, number, &err), &err);
    expect_done(c, number, "", -1, SIGKILL);
    CHECK(cloche_cancel(c, number, &err) < 0 && strcmp(err.code, "call.unknown") == 0);
    must(cloche_begin_restart(c, "a", 0, &number, &err), &err);
    expect_done(c, number, "", 0, 0);
    CHECK(number_of(c, "a", "restarts") == 1);

    CHECK(kill((pid_t)number_of(c, "a", "keeper_pid"), SIGKILL) == 0);
    must(cloche_begin_restart(c, "a", 0, &number, &err), &err);
    expect_done(c, number, "", 0, 0);
    CHECK(number_of(c, "a", "restarts") == 2);
    CHECK(kill((pid_t)number_of(c, "a", "keeper_pid"), SIGKILL) == 0);
    must(cloche_begin_destroy(c, "a", 0, &number, &err), &err);
    expect_done(c, number, "", 0, 0);

    /* as is one that was stopped, and one that is destroyed without a keeper */
    must(cloche_create(c, "a", NULL, &err), &err);
    CHECK(system("cloche stop a >/dev/null") == 0);
    must(cloche_begin_exec(c, "a", &seven, &number, &err) < 0 ? 0 : -1, &err);
    CHECK(strcmp(err.code, "sandbox.stopped") == 0);
    must(cloche_begin_restart(c, "a", 0, &number, &err), &err);
    expect_done(c, number, "", 0, 0);
    CHECK(system("cloche stop a >/dev/null") == 0);
    must(cloche_begin_destroy(c, "a", 0, &number, &err), &err);
    expect_done(c, number, "", 0, 0);

    bad.config_json = "{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"/does/not/exist\"}}";
    must(cloche_begin_create(c, "b", &bad, &number, &err), &err);
    event = next(c);
    CHECK(event->kind == CLOCHE_EVENT_DONE && event->number == number);
    CHECK(event->error.code[0] != '\0');
    cloche_event_free(event);
    char *json;
    must(cloche_list(c, &json, &err), &err);
    CHECK(strcmp(json, "[]") == 0);
    free(json);
    cloche_close(c);
}

/** The next event of the followed sandbox has this in its JSON. */
static void expect_json(struct cloche *c, const char *id, const char *text)
{
    struct cloche_event *e = next(c);
    CHECK(e->kind == CLOCHE_EVENT_JSON && strcmp(e->id, id) == 0);
    if (strstr(e->json, text) == NULL) {
        fprintf(stderr, "%s is not in %s\n", text, e->json);
        exit(1);
    }
    cloche_event_free(e);
}

static void test_follow(void)
{
    struct cloche *c = open_handle(0), *other = open_handle(0);
    struct cloche_command t = command_of(true_args);
    struct cloche_event *e;
    must(cloche_create(other, "a", NULL, &err), &err);
    must(cloche_create(other, "b", NULL, &err), &err);
    CHECK(cloche_follow(c, "none", &err) < 0 && strcmp(err.code, "sandbox.unknown") == 0);
    must(cloche_follow(c, "a", &err), &err);
    must(cloche_follow(c, "b", &err), &err);
    CHECK(cloche_follow(c, "b", &err) < 0 && strcmp(err.code, "call.followed") == 0);
    must(cloche_exec(other, "a", &t, NULL, &err), &err);
    expect_json(c, "a", "\"exec.start\"");
    expect_json(c, "a", "\"exec.stop\"");
    must(cloche_unfollow(c, "a", &err), &err);
    must(cloche_exec(other, "a", &t, NULL, &err), &err);
    must(cloche_destroy(other, "b", 0, &err), &err);
    do { /* as many words as the keeper has for it, then the end */
        e = next(c);
        CHECK(strcmp(e->id, "b") == 0);
        int kind = (int)e->kind;
        cloche_event_free(e);
        if (kind == CLOCHE_EVENT_GONE)
            break;
    } while (1);
    CHECK(cloche_next_event(c, &e, &err) == 0);
    must(cloche_destroy(other, "a", 0, &err), &err);
    cloche_close(other);
    cloche_close(c);
}

/** Many events at a time take memory as their text does. */
static void test_flood(void)
{
    enum { EVENTS = 60000 };
    struct cloche *c = open_handle(0);
    struct cloche_event *e;
    struct rusage before, after;
    char path[4096];
    long count = 0;
    must(cloche_create(c, "a", NULL, &err), &err);
    must(cloche_follow(c, "a", &err), &err);
    snprintf(path, sizeof path, "%s/sandboxes/a/events.jsonl", getenv("CLOCHE_ROOT"));
    FILE *f = fopen(path, "ae");
    CHECK(f != NULL);
    for (int i = 0; i < EVENTS; i++)
        fprintf(f, "{\"event\":\"made.up\",\"number\":%d}\n", i);
    CHECK(fclose(f) == 0);
    getrusage(RUSAGE_SELF, &before);
    while (count < EVENTS) {
        e = next(c);
        CHECK(e->kind == CLOCHE_EVENT_JSON);
        count += strstr(e->json, "made.up") != NULL;
        cloche_event_free(e);
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 160L * 1024);
    must(cloche_destroy(c, "a", 0, &err), &err);
    cloche_close(c);
}

/* --- batches, files, limits ----------------------------------------------------------------------
 */

static void test_batch(void)
{
    enum { COUNT = 12 };
    char names[COUNT][16];
    const char *ids[COUNT];
    struct cloche_error *errors = calloc(COUNT, sizeof *errors);
    struct cloche_result results[COUNT];
    struct cloche *c = open_handle(60000);
    struct cloche_command seven = command_of(seven_args);
    CHECK(errors != NULL);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], i == 5 ? "not an id" : "s%d", i);
        ids[i] = names[i];
    }
    CHECK(cloche_batch_create(c, ids, COUNT, NULL, errors) == 1);
    for (int i = 0; i < COUNT; i++)
        CHECK(strcmp(errors[i].code, i == 5 ? "sandbox.bad_id" : "") == 0);
    must(cloche_destroy(c, "s7", 0, &err), &err);
    CHECK(cloche_batch_exec(c, ids, COUNT, &seven, results, errors) == 2);
    for (int i = 0; i < COUNT; i++) {
        if (i != 5 && i != 7)
            CHECK(errors[i].code[0] == '\0' && results[i].exit_code == 7);
    }
    CHECK(strcmp(errors[7].code, "sandbox.unknown") == 0);
    CHECK(cloche_batch_restart(NULL, ids, COUNT, 0, errors) == 2);
    CHECK(number_of(c, "s0", "restarts") == 1 && number_of(c, "s11", "restarts") == 1);
    CHECK(cloche_batch_stop(c, ids, COUNT, 0, errors) == 2);
    CHECK(cloche_exec(c, "s1", &seven, NULL, &err) < 0 && strcmp(err.code, "sandbox.stopped") == 0);
    CHECK(cloche_batch_restart(c, ids, COUNT, 0, errors) == 2);
    char *samples;
    must(cloche_stats(c, "s1", &samples, &err), &err); /* the first sample */
    free(samples);
    must(cloche_samples(c, "s1", 0, &samples, &err), &err);
    CHECK(strstr(samples, "\"samples\":[[") != NULL);
    free(samples);
    must(cloche_samples(c, "s1", UINT64_MAX, &samples, &err), &err);
    CHECK(strstr(samples, "\"samples\":[]") != NULL);
    free(samples);
    if (getuid() == 0) { /* an ordinary user's control group may not be his to freeze */
        CHECK(cloche_batch_pause(c, ids, COUNT, NULL) == 2);
        CHECK(cloche_exec(c, "s1", &seven, NULL, &err) < 0);
        CHECK(strcmp(err.code, "sandbox.paused") == 0);
        CHECK(cloche_batch_resume(c, ids, COUNT, NULL) == 2);
    }
    CHECK(cloche_batch_destroy(c, ids, 0, 0, errors) == 0);
    CHECK(cloche_batch_destroy(c, ids, COUNT, 0, errors) == 2);
    CHECK(cloche_batch_destroy(c, ids, COUNT, 1, errors) == COUNT);
    free(errors);
    cloche_close(c);
}

static void test_files(void)
{
    struct cloche *c = open_handle(60000);
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);
    const char *const args[] = {"sh", "-c", "echo said; exec sleep 1000", NULL};
    char buf[16] = "", *json;
    int fd;
    what.args = args;
    must(cloche_create(c, "f", &what, &err), &err);
    must(cloche_open_file(c, "f", "/tmp/x", 1, &fd, &err), &err);
    CHECK(write(fd, "kept", 4) == 4);
    close(fd);
    must(cloche_open_file(c, "f", "/tmp/x", 0, &fd, &err), &err);
    CHECK(read(fd, buf, sizeof buf) == 4 && memcmp(buf, "kept", 4) == 0);
    close(fd);
    CHECK(cloche_open_file(c, "f", "/none", 0, &fd, &err) < 0);
    CHECK(strcmp(err.code, "sandbox.file") == 0);
    CHECK(cloche_open_log(c, "f", "../spec", &fd, &err) < 0 && strcmp(err.code, "logs.child") == 0);
    must(cloche_open_log(c, "f", "main", &fd, &err), &err);
    for (double begun = now_ms(); pread(fd, buf, 5, 0) < 5;)
        CHECK(now_ms() - begun < 20000);
    CHECK(memcmp(buf, "said\n", 5) == 0);
    close(fd);
    must(cloche_top(c, "f", &json, &err), &err);
    CHECK(strstr(json, "\"sleep\"") != NULL || strstr(json, "\"sh\"") != NULL);
    free(json);
    must(cloche_stats(c, "f", &json, &err), &err);
    CHECK(strstr(json, "\"usage\"") != NULL);
    free(json);
    if (getuid() == 0) {
        struct cloche_limits limits = CLOCHE_OPTIONS(cloche_limits);
        limits.processes = 77;
        must(cloche_update(c, "f", &limits, &err), &err);
        must(cloche_info(c, "f", &json, &err), &err);
        CHECK(strstr(json, "\"processes\":77") != NULL);
        free(json);
    }
    must(cloche_destroy(c, "f", 0, &err), &err);
    cloche_close(c);
}

/* --- what a command takes of the limits is free again when its end is told -----------------------
 */

static void test_limit(void)
{
    struct cloche *c = open_handle(60000);
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);
    const struct cloche_command command = command_of(true_args);
    struct cloche_result result;
    /* the guard of one command and its program; init is not counted */
    what.config_json = "{\"linux\": {\"resources\": {\"pids\": {\"limit\": 2}}}}";
    must(cloche_create(c, "l", &what, &err), &err);
    for (int i = 0; i < 300; i++) {
        must(cloche_exec(c, "l", &command, &result, &err), &err);
        CHECK(strcmp(result.verdict, "ok") == 0);
    }
    must(cloche_destroy(c, "l", 0, &err), &err);
    cloche_close(c);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {{"threads", test_threads},   {"one-winner", test_one_winner},
                 {"deadline", test_deadline}, {"operations", test_operations},
                 {"follow", test_follow},     {"batch", test_batch},
                 {"files", test_files},       {"limit", test_limit},
                 {"flood", test_flood}};
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        cases[i].run();
        return 0;
    }
    fputs("usage: keep CASE\n", stderr);
    return 2;
}
