/* Modules from a program of somebody else's, with nothing but runtime/cloche.h. modules DIR: DIR
 * has the sources; silent and 0 when all is as it should be. Run by tests/e2e/library.bats. */
#include "runtime/cloche.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 5000
#define LARGE (3u << 20)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s (%s %s)\n", __FILE__, __LINE__, #condition,         \
                    err.code, err.message);                                                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct cloche_error err;
static const char *const id = "library";

static void create(const char *dir, const char *config)
{
    char source[4096];
    struct cloche_module echo = CLOCHE_OPTIONS(cloche_module);
    const struct cloche_module *modules[] = {&echo, NULL};
    struct cloche_sandbox what = CLOCHE_OPTIONS(cloche_sandbox);
    snprintf(source, sizeof source, "%s/echo.c", dir);
    echo.name = "echo";
    echo.source = source;
    echo.probation_ms = 100;
    what.modules = modules;
    what.config_json = config;
    CHECK(cloche_create(NULL, id, &what, &err) == 0);
    echo.source = "/nowhere/echo.c";
    CHECK(cloche_create(NULL, "other", &what, &err) < 0 && strcmp(err.code, "compile.source") == 0);
    echo.name = "../x";
    CHECK(cloche_create(NULL, "other", &what, &err) < 0 &&
          strcmp(err.code, "module.bad_name") == 0);
}

static void one_call(void)
{
    void *reply = NULL;
    size_t size = 0;
    int status = -1;
    CHECK(cloche_call(NULL, id, "echo", "hello", 5, &reply, &size, &status, &err) == 0);
    CHECK(size == 5 && memcmp(reply, "hello", 6) == 0 && status == 0);
    free(reply);
    CHECK(cloche_call(NULL, id, "echo", "x", 1, NULL, NULL, NULL, &err) == 0);
    CHECK(cloche_call(NULL, id, "nothing", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "module.unknown") == 0);
    CHECK(cloche_call(NULL, "nowhere", "echo", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "sandbox.unknown") == 0);
}

/* Every number comes back once, with its own bytes; large ones between the small. */
static void many_calls(void)
{
    static char seen[CALLS];
    struct cloche_calls *calls;
    struct cloche_reply r;
    char *large = malloc(LARGE);
    int open = 0, got = 0;
    CHECK(large != NULL);
    memset(large, 'L', LARGE);
    memset(seen, 0, sizeof seen);
    CHECK(cloche_calls_open(NULL, id, "echo", 0, &calls, &err) == 0);
    CHECK(cloche_calls_fd(calls) >= 0);
    for (int i = 0; got < CALLS;) {
        while (i < CALLS && open < 256) {
            char text[32];
            int n = snprintf(text, sizeof text, "request %d", i);
            bool is_large = i % 1000 == 500;
            CHECK(cloche_calls_put(calls, (uint64_t)i, is_large ? large : text,
                                   is_large ? LARGE : (size_t)n, &err) == 0);
            i++;
            open++;
        }
        CHECK(cloche_calls_send(calls, &err) == 0);
        CHECK(cloche_calls_next(calls, 1, &r, &err) == 1);
        do {
            char text[32];
            int n = snprintf(text, sizeof text, "request %d", (int)r.number);
            CHECK(r.error.code[0] == '\0' && r.number < CALLS && seen[r.number]++ == 0);
            CHECK(r.number % 1000 == 500
                      ? r.size == LARGE && memcmp(r.data, large, LARGE) == 0
                      : r.size == (size_t)n && memcmp(r.data, text, r.size) == 0);
            open--;
            got++;
        } while (cloche_calls_next(calls, 0, &r, &err) == 1);
    }
    cloche_calls_close(calls);
    free(large);
}

static void reload(const char *dir)
{
    struct cloche_reload_options o = CLOCHE_OPTIONS(cloche_reload_options);
    char source[4096];
    char *json = NULL;
    CHECK(cloche_reload(NULL, id, "echo", NULL, &json, &err) == 0);
    CHECK(strstr(json, "UNCHANGED") != NULL);
    free(json);
    snprintf(source, sizeof source, "%s/second.c", dir);
    o.source = source;
    CHECK(cloche_reload(NULL, id, "echo", &o, &json, &err) == 0);
    CHECK(strstr(json, "\"version\":2") != NULL);
    free(json);
    /* at once: who asks is not told of a history that is still to be written */
    CHECK(cloche_history(NULL, id, "echo", &json, &err) == 0 && strstr(json, "ACTIVATED") != NULL);
    free(json);
    CHECK(cloche_call(NULL, id, "echo", "x", 1, NULL, NULL, NULL, &err) == 0);
    CHECK(cloche_confirm(NULL, id, "echo", &err) == 0);
    snprintf(source, sizeof source, "%s/broken.c", dir);
    CHECK(cloche_reload(NULL, id, "echo", &o, NULL, &err) < 0);
    CHECK(strcmp(err.code, "build.compile") == 0);
    CHECK(cloche_rollback(NULL, id, "echo", 1, NULL, &json, &err) == 0);
    CHECK(strstr(json, "\"active\":1") != NULL);
    free(json);
    CHECK(cloche_rollback(NULL, id, "echo", 9, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "store.unknown_version") == 0);
}

/* A module that never answers; the deadline of the handle ends the wait. */
static void deadline(const char *dir)
{
    struct cloche_reload_options r = CLOCHE_OPTIONS(cloche_reload_options);
    struct cloche_options o = CLOCHE_OPTIONS(cloche_options);
    char source[4096];
    struct cloche *c;
    snprintf(source, sizeof source, "%s/never.c", dir);
    r.source = source;
    CHECK(cloche_reload(NULL, id, "never", &r, NULL, &err) == 0);
    o.deadline_ms = 200;
    CHECK(cloche_open(&o, &c, &err) == 0);
    CHECK(cloche_call(c, id, "never", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "call.deadline") == 0);
    CHECK(cloche_call(c, id, "echo", "x", 1, NULL, NULL, NULL, &err) == 0);
    cloche_close(c);
}

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void echo_by(struct cloche *c, const char *what, int number)
{
    struct cloche_error mine;
    char text[64];
    void *reply = NULL;
    size_t size = 0;
    size_t n = (size_t)snprintf(text, sizeof text, "%s %d", what, number);
    CHECK(cloche_call(c, id, "echo", text, n, &reply, &size, NULL, &mine) == 0);
    CHECK(size == n && memcmp(reply, text, n) == 0);
    free(reply);
}

static struct cloche *shared_handle;

static void *calling(void *name)
{
    for (int i = 0; i < 500; i++)
        echo_by(shared_handle, name, i);
    return NULL;
}

/* The connection of a handle's call is there for the next one: of a thread, after a fork, and of a
 * sandbox that has come back under its name a new one. */
static void kept_connections(const char *dir, const char *config)
{
    static char names[4][8] = {"one", "two", "three", "four"};
    pthread_t threads[4];
    struct cloche *c;
    int status, before = open_files();
    CHECK(cloche_open(NULL, &c, &err) == 0);
    echo_by(c, "first", 1);
    echo_by(c, "first", 2);
    int kept = open_files();
    for (int i = 0; i < 10; i++)
        echo_by(c, "again", i);
    CHECK(open_files() == kept);
    pid_t pid = fork();
    CHECK(pid >= 0);
    for (int i = 0; i < 200; i++)
        echo_by(c, pid == 0 ? "child" : "parent", i);
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    shared_handle = c;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, calling, names[i]) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(cloche_call(c, id, "nothing", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "module.unknown") == 0);
    CHECK(cloche_destroy(NULL, id, 1, &err) == 0);
    CHECK(cloche_call(c, id, "echo", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "sandbox.unknown") == 0);
    create(dir, config);
    echo_by(c, "new", 1);
    cloche_close(c);
    CHECK(open_files() == before);
}

static void alarmed(int sig)
{
    (void)sig;
}

/* What is polled stays the same, whichever way the replies come; signals do not prolong a
 * deadline; and what a kept connection finds is told. */
static void waiting(const char *dir)
{
    struct cloche_reload_options r = CLOCHE_OPTIONS(cloche_reload_options);
    struct cloche_options o = CLOCHE_OPTIONS(cloche_options);
    const struct sigaction interrupt = {.sa_handler = alarmed};
    const struct itimerval often = {{.tv_usec = 50000}, {.tv_usec = 50000}}, never = {{0}, {0}};
    struct cloche_calls *calls;
    struct cloche_reply reply;
    struct cloche *c;
    char source[4096];
    int rc;
    snprintf(source, sizeof source, "%s/slow.c", dir);
    r.source = source;
    CHECK(cloche_reload(NULL, id, "slow", &r, NULL, &err) == 0);

    CHECK(cloche_calls_open(NULL, id, "slow", 0, &calls, &err) == 0);
    CHECK(cloche_calls_put(calls, 1, "1", 2, &err) == 0 && cloche_calls_send(calls, &err) == 0);
    CHECK(cloche_calls_next(calls, 1, &reply, &err) == 1);
    CHECK(cloche_calls_put(calls, 2, "200", 4, &err) == 0 && cloche_calls_send(calls, &err) == 0);
    struct pollfd fd = {.fd = cloche_calls_fd(calls), .events = POLLIN};
    for (int i = 3; i < 20; i++) {
        while ((rc = cloche_calls_next(calls, 0, &reply, &err)) == 0)
            CHECK(poll(&fd, 1, 20000) == 1);
        CHECK(rc == 1 && reply.number == (uint64_t)i - 1 && cloche_calls_fd(calls) == fd.fd);
        CHECK(cloche_calls_put(calls, (uint64_t)i, "1", 2, &err) == 0);
        CHECK(cloche_calls_send(calls, &err) == 0);
    }
    cloche_calls_close(calls);

    o.deadline_ms = 1000;
    CHECK(cloche_open(&o, &c, &err) == 0);
    CHECK(sigaction(SIGALRM, &interrupt, NULL) == 0);
    for (int warm = 0; warm < 3; warm++) { /* by the socket, the mailbox, and asked for it */
        for (int i = 0; i < warm; i++)
            CHECK(cloche_call(c, id, "slow", "1", 2, NULL, NULL, NULL, &err) == 0);
        CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
        CHECK(cloche_call(c, id, "slow", "2500", 5, NULL, NULL, NULL, &err) < 0);
        CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
        CHECK(strcmp(err.code, "call.deadline") == 0);
        CHECK(cloche_call(NULL, id, "slow", "0", 2, NULL, NULL, NULL, &err) == 0); /* it is over */
    }
    cloche_close(c);

    CHECK(cloche_open(NULL, &c, &err) == 0);
    CHECK(cloche_call(c, id, "echo", "x", 1, NULL, NULL, NULL, &err) == 0);
    CHECK(cloche_stop(NULL, id, 0, &err) == 0);
    CHECK(cloche_call(c, id, "echo", "x", 1, NULL, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "sandbox.stopped") == 0);
    CHECK(cloche_restart(NULL, id, 0, &err) == 0);
    CHECK(cloche_call(c, id, "echo", "x", 1, NULL, NULL, NULL, &err) == 0);
    cloche_close(c);
}

static void stored(const char *dir)
{
    char path[4096];
    char *json = NULL;
    CHECK(cloche_versions(NULL, id, "echo", &json, &err) == 0);
    CHECK(strstr(json, "\"version\":2") != NULL && strstr(json, "\"active\":1") != NULL);
    free(json);
    CHECK(cloche_history(NULL, id, NULL, &json, &err) == 0 && strstr(json, "REFUSED") != NULL);
    free(json);
    CHECK(cloche_versions(NULL, id, "nothing", &json, &err) < 0);
    CHECK(strcmp(err.code, "module.unknown") == 0);
    CHECK(cloche_pin(NULL, id, "echo", 2, 1, &err) == 0);
    CHECK(cloche_pin(NULL, id, "echo", 2, 0, &err) == 0);
    CHECK(cloche_pin(NULL, id, "echo", 7, 1, &err) < 0);
    CHECK(strcmp(err.code, "store.unknown_version") == 0);
    snprintf(path, sizeof path, "%s/echo.tar", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && cloche_export(NULL, id, "echo", fd, &err) == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(cloche_import(NULL, id, "echo", fd, &json, &err) == 0);
    CHECK(strstr(json, "\"known\":true") != NULL);
    free(json);
    CHECK(ftruncate(fd, 2000) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK(cloche_import(NULL, id, "echo", fd, NULL, &err) < 0);
    CHECK(strcmp(err.code, "archive.invalid") == 0);
    close(fd);
}

/* Both or none. */
static void together(const char *dir)
{
    struct cloche_module echo = CLOCHE_OPTIONS(cloche_module), never = echo;
    const struct cloche_module *const both[] = {&echo, &never, NULL}, *const none[] = {NULL};
    char source[4096];
    char *json = NULL;
    echo.name = "echo";
    never.name = "never";
    echo.source = source;
    snprintf(source, sizeof source, "%s/second.c", dir);
    CHECK(cloche_reload_all(NULL, id, both, NULL, &json, &err) < 0);
    CHECK(strcmp(err.code, "reload.no_source") == 0);
    never.source = source + strlen(dir); /* not there */
    CHECK(cloche_reload_all(NULL, id, both, NULL, &json, &err) < 0);
    CHECK(strcmp(err.code, "usage.source") == 0);
    never.name = "again";
    never.source = "again.c";
    CHECK(chdir(dir) == 0 && cloche_reload_all(NULL, id, both, NULL, &json, &err) == 0);
    CHECK(json[0] == '[' && strstr(json, "\"echo\"") != NULL && strstr(json, "\"again\"") != NULL);
    free(json);
    CHECK(cloche_call(NULL, id, "again", "x", 1, NULL, NULL, NULL, &err) == 0);
    snprintf(source, sizeof source, "%s/broken.c", dir);
    CHECK(cloche_reload_all(NULL, id, both, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "build.compile") == 0);
    CHECK(cloche_reload_all(NULL, id, none, NULL, NULL, &err) < 0);
    CHECK(strcmp(err.code, "usage.module") == 0);
}

static void watch(const char *dir)
{
    struct cloche_watch_options o = CLOCHE_OPTIONS(cloche_watch_options);
    char path[4096];
    char *json = NULL;
    CHECK(cloche_watch(NULL, id, "echo", NULL, &err) == 0);
    CHECK(cloche_info(NULL, id, &json, &err) == 0 && strstr(json, "\"watch\"") != NULL);
    free(json);
    snprintf(path, sizeof path, "%s/second.c", dir);
    o.path = path;
    o.debounce_ms = 5;
    CHECK(cloche_watch(NULL, id, "echo", &o, &err) < 0 && strcmp(err.code, "watch.exists") == 0);
    CHECK(cloche_unwatch(NULL, id, "echo", &err) == 0);
    CHECK(cloche_unwatch(NULL, id, "echo", &err) < 0 && strcmp(err.code, "watch.none") == 0);
    CHECK(cloche_watch(NULL, id, "echo", &o, &err) == 0);
    CHECK(cloche_unwatch(NULL, id, "echo", &err) == 0);
    o.path = "/nowhere/second.c";
    CHECK(cloche_watch(NULL, id, "echo", &o, &err) < 0);
    CHECK(strcmp(err.code, "watch.unreadable") == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    create(argv[1], argc > 2 ? argv[2] : NULL);
    one_call();
    many_calls();
    reload(argv[1]);
    deadline(argv[1]);
    stored(argv[1]);
    together(argv[1]);
    watch(argv[1]);
    many_calls();
    waiting(argv[1]);
    kept_connections(argv[1], argc > 2 ? argv[2] : NULL);
    CHECK(cloche_destroy(NULL, id, 1, &err) == 0);
    return 0;
}
