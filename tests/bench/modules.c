/* The client of tests/bench/run-modules: what it is told to on standard input, a line of JSON each.
 *
 *   modules SANDBOX             operations on its module "state", by libcloche
 *   modules --http PORT         a server on 127.0.0.1 that answers GET / with the name of its
 * version
 *
 *   reload FILE, rollback, confirm      {"ms", "result"}
 *   ask                                 one request: {"us", "version", "right"}
 *   floor FILE                          fork, dlopen in the child, a byte through a pipe: {"us"}
 *   load                                one request after the other; says "loaded" after some,
 *                                       ends a while after another version has answered
 */
#include "runtime/cloche.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BEFORE_US   40000
#define AFTER_US    150000
#define DEADLINE_US 10000000
#define THINK_US    50 /* between two requests: leaves both processors some room */

static const char *sandbox;
static struct cloche_calls *calls;
static struct cloche_error error;
static int port, connection = -1;
static char version[64]; /* that answered last */
static bool right;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "modules: %s: %s\n", what, error.message);
    exit(1);
}

/* --- one request; false: no answer ---------------------------------------------------------------
 */

static bool ask_module(void)
{
    static uint64_t number;
    struct cloche_reply r;
    if (calls == NULL && cloche_calls_open(NULL, sandbox, "state", 0, &calls, &error) < 0)
        fail("calls");
    if (cloche_calls_put(calls, ++number, "x", 1, &error) < 0 ||
        cloche_calls_send(calls, &error) < 0 || cloche_calls_next(calls, 1, &r, &error) < 0)
        fail("call");
    snprintf(version, sizeof version, "%u", r.version);
    right = r.error.code[0] == '\0' && r.status == 0 && r.number == number && r.size == 5 &&
            memcmp(r.data, "right", 5) == 0;
    return right;
}

static bool hang_up(void)
{
    close(connection);
    connection = -1;
    return false;
}

/** On the connection that is there; the server says when it wants it closed. */
static bool ask_server(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char answer[2048], *body = NULL;
    size_t got = 0, size = 0;
    if (connection < 0) {
        connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (connect(connection, (const struct sockaddr *)&to, sizeof to) < 0)
            return hang_up();
    }
    if (send(connection, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return hang_up();
    while (body == NULL || got < (size_t)(body - answer) + size) {
        ssize_t n = recv(connection, answer + got, sizeof answer - 1 - got, 0);
        if (n <= 0)
            return hang_up();
        got += (size_t)n;
        answer[got] = '\0';
        char *end = strstr(answer, "\r\n\r\n");
        const char *length = strcasestr(answer, "\r\ncontent-length:");
        if (body == NULL && end != NULL && length != NULL) {
            body = end + 4;
            size = strtoul(length + 17, NULL, 10);
        }
        if (got == sizeof answer - 1)
            return hang_up();
    }
    right = strncmp(answer, "HTTP/1.1 200", 12) == 0;
    snprintf(version, sizeof version, "%s", body);
    if (strcasestr(answer, "\r\nconnection: close") != NULL)
        hang_up();
    return right;
}

static bool ask(void)
{
    return port != 0 ? ask_server() : ask_module();
}

/* --- a reload seen by somebody who asks all the time --------------------------------------------
 */

static void load(void)
{
    char first[sizeof version];
    double began, worst_before = 0, worst = 0, new_at = 0, t;
    long requests = 0, lost = 0;
    bool loaded = false;
    ask();
    snprintf(first, sizeof first, "%s", version);
    for (began = now_us(); (t = now_us()) < began + DEADLINE_US; requests++) {
        if (!loaded && t > began + BEFORE_US) {
            loaded = true;
            worst_before = worst;
            worst = 0;
            puts("\"loaded\"");
            t = now_us();
        }
        lost += !ask();
        double after = now_us();
        worst = after - t > worst ? after - t : worst;
        if (new_at <= 0 && strcmp(version, first) != 0)
            new_at = after;
        if (new_at > 0 && after > new_at + AFTER_US)
            break;
        nanosleep(&(struct timespec){0, THINK_US * 1000}, NULL);
    }
    printf(
        "{\"new_at_us\":%.1f,\"before_us\":%.1f,\"worst_us\":%.1f,\"requests\":%ld,\"lost\":%ld}\n",
        new_at, worst_before, worst, requests, lost);
}

static void bare(const char *file)
{
    int ends[2];
    char byte;
    double began = now_us();
    if (pipe(ends) < 0)
        fail("pipe");
    pid_t pid = fork();
    if (pid == 0)
        _exit(dlopen(file, RTLD_NOW | RTLD_LOCAL) == NULL || write(ends[1], "r", 1) != 1);
    close(ends[1]);
    bool ready = read(ends[0], &byte, 1) == 1;
    double took = now_us() - began;
    close(ends[0]);
    waitpid(pid, NULL, 0);
    if (!ready)
        fail("dlopen");
    printf("{\"us\":%.1f}\n", took);
}

static void operate(const char *what, const char *file)
{
    struct cloche_reload_options o = CLOCHE_OPTIONS(cloche_reload_options);
    char *json = NULL;
    int rc;
    double began = now_us();
    o.source = file;
    if (strcmp(what, "reload") == 0)
        rc = cloche_reload(NULL, sandbox, "state", &o, &json, &error);
    else if (strcmp(what, "rollback") == 0)
        rc = cloche_rollback(NULL, sandbox, "state", 0, NULL, &json, &error);
    else /* not before it has answered a request and is quite there */
        do
            rc = cloche_confirm(NULL, sandbox, "state", &error);
        while (rc < 0 && strcmp(error.code, "reload.early") == 0);
    if (rc < 0)
        fail(what);
    printf("{\"ms\":%.4f,\"result\":%s}\n", (now_us() - began) / 1000,
           json != NULL ? json : "null");
    free(json);
}

int main(int argc, char **argv)
{
    char line[4096];
    if (argc == 3 && strcmp(argv[1], "--http") == 0)
        port = atoi(argv[2]);
    else if (argc == 2)
        sandbox = argv[1];
    else
        return 2;
    setlinebuf(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *file = strchr(line, ' ');
        if (file != NULL)
            *file++ = '\0';
        if (strcmp(line, "load") == 0) {
            load();
        } else if (strcmp(line, "floor") == 0 && file != NULL) {
            bare(file);
        } else if (strcmp(line, "ask") == 0) {
            double began = now_us();
            ask();
            printf("{\"us\":%.1f,\"version\":\"%s\",\"right\":%s}\n", now_us() - began, version,
                   right ? "true" : "false");
        } else {
            operate(line, file);
        }
    }
    return 0;
}
