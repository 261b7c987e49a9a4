#include "tests/lib/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_S 5
#define LOOK_MS 20

static pid_t command_pid;

double guard_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void guard_pause(void)
{
    poll(NULL, 0, LOOK_MS);
}

static void on_signal(int sig)
{
    if (command_pid > 0)
        kill(command_pid, sig);
}

/* Reaps until no child is left (true) or the time is over. */
static bool reap_all(double grace_s)
{
    for (double end_s = guard_now_s() + grace_s;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return true;
        if (pid == 0) {
            if (guard_now_s() >= end_s)
                return false;
            guard_pause();
        }
    }
}

static void list(pid_t guard, FILE *to)
{
    size_t count;
    struct process *below = processes_below(guard, getpid(), &count);
    for (size_t i = 0; i < count; i++)
        fprintf(to, "%d %s\n", (int)below[i].pid, below[i].name);
    free(below);
}

static void kill_all(void)
{
    size_t count;
    struct process *below = processes_below(getpid(), getpid(), &count);
    for (size_t i = 0; i < count; i++)
        kill(below[i].pid, SIGKILL);
    free(below);
}

static int run(char **argv, double grace_s)
{
    char self[16];
    snprintf(self, sizeof self, "%d", (int)getpid());
    if (setenv(GUARD_VARIABLE, self, 1) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) < 0) {
        perror("guard: cannot become a subreaper");
        return 125;
    }
    command_pid = fork();
    if (command_pid < 0) {
        perror("guard: fork");
        return 125;
    }
    if (command_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], argv);
        fprintf(stderr, "guard: cannot execute \"%s\": %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    struct sigaction forward = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &forward, NULL);
    sigaction(SIGINT, &forward, NULL);
    sigaction(SIGHUP, &forward, NULL);

    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, 0)) != command_pid;)
        if (pid < 0 && errno != EINTR)
            break;
    command_pid = -1;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (reap_all(grace_s))
        return code;

    fprintf(stderr, "guard: \"%s\" left processes behind:\n", argv[0]);
    list(getpid(), stderr);
    do
        kill_all();
    while (!reap_all(0.1));
    return code == 0 ? 1 : code;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0 && processes_guard() > 0) {
        list(processes_guard(), stdout);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "begin") == 0)
        return leaks_begin(argv[2]);
    if (argc == 3 && strcmp(argv[1], "end") == 0)
        return leaks_end(argv[2]);

    int i = 1;
    double grace_s = GRACE_S;
    if (i + 1 < argc && strcmp(argv[i], "-t") == 0) {
        grace_s = strtod(argv[i + 1], NULL);
        i += 2;
    }
    if (i + 1 < argc && strcmp(argv[i], "--") == 0)
        return run(argv + i + 1, grace_s);
    fprintf(
        stderr,
        "usage: guard [-t SECONDS] -- COMMAND [ARG...] | guard list | guard begin|end DIRECTORY\n"
        "(list: below a guard only)\n");
    return 2;
}
