/*
 * Owns every process that a test suite starts.
 *
 *   guard [-t SECONDS] -- COMMAND [ARG...]   runs it; fails when a process outlives it
 *   guard --list                             the processes below the guard that runs this
 *
 * Theory of operation. The guard is a child subreaper, so whatever a test double-forks, loses or
 * kills the parent of stays below it, whoever else uses the machine. When the command has ended,
 * what is still there after the grace time is named, killed, and makes the guard's status 1 (if the
 * command's was 0).
 *
 * --list prints "PID START NAME" of every descendant of $CLOCHE_TEST_GUARD, but neither the asking
 * process nor its ancestors; PID and START (field 22 of /proc/PID/stat) together never name two
 * processes. Zombies count: an unreaped child is a leftover of its parent.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GUARD_VARIABLE "CLOCHE_TEST_GUARD"
#define GRACE_S        5
#define PROCESSES_MAX  65536

struct process {
    pid_t pid, parent;
    unsigned long long start;
    char name[32];
    bool below; /* the guard */
};

static pid_t command_pid;

/* False when the process has ended meanwhile. */
static bool process_read(struct process *ret, const char *pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';

    /* The name may hold spaces and parentheses: it ends at the last one. */
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (open == NULL || close == NULL || close < open)
        return false;
    *close = '\0';
    ret->pid = (pid_t)strtol(line, NULL, 10);
    snprintf(ret->name, sizeof ret->name, "%.30s", open + 1);
    int parent;
    if (sscanf(close + 1,
               " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &parent, &ret->start) != 2)
        return false;
    ret->parent = parent;
    ret->below = false;
    return true;
}

static size_t processes_read(struct process *ret, size_t max)
{
    size_t count = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(proc)) != NULL && count < max;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            process_read(&ret[count], entry->d_name))
            count++;
    closedir(proc);
    return count;
}

/* Marks the descendants of @guard; children may stand before their parents in the list. */
static void processes_mark(struct process *list, size_t count, pid_t guard)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < count; i++) {
            if (list[i].below)
                continue;
            bool below = list[i].parent == guard;
            for (size_t j = 0; j < count && !below; j++)
                below = list[j].below && list[j].pid == list[i].parent;
            changed |= list[i].below = below;
        }
    }
}

static struct process *process_find(struct process *list, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].pid == pid)
            return &list[i];
    return NULL;
}

/* Prints the descendants of @guard that are no ancestors of @except; returns how many. */
static size_t list_below(pid_t guard, pid_t except, FILE *to)
{
    static struct process list[PROCESSES_MAX];
    size_t count = processes_read(list, PROCESSES_MAX), printed = 0;
    processes_mark(list, count, guard);
    for (struct process *p = process_find(list, count, except); p != NULL;
         p = process_find(list, count, p->parent))
        p->below = false;
    for (size_t i = 0; i < count; i++)
        if (list[i].below) {
            fprintf(to, "%d %llu %s\n", (int)list[i].pid, list[i].start, list[i].name);
            printed++;
        }
    return printed;
}

static void kill_below(pid_t guard)
{
    static struct process list[PROCESSES_MAX];
    size_t count = processes_read(list, PROCESSES_MAX);
    processes_mark(list, count, guard);
    for (size_t i = 0; i < count; i++)
        if (list[i].below)
            kill(list[i].pid, SIGKILL);
}

static void on_signal(int sig)
{
    if (command_pid > 0)
        kill(command_pid, sig);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reaps until no child is left (true) or the time is over. */
static bool reap_all(double grace_s)
{
    for (double end = now_s() + grace_s;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return true;
        if (pid == 0) {
            if (now_s() >= end)
                return false;
            poll(NULL, 0, 20);
        }
    }
}

static int guard(char **argv, double grace_s)
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

    fprintf(stderr, "guard: \"%s\" left processes behind (pid, start, name):\n", argv[0]);
    list_below(getpid(), getpid(), stderr);
    do
        kill_below(getpid());
    while (!reap_all(0.1));
    return code == 0 ? 1 : code;
}

int main(int argc, char **argv)
{
    double grace_s = GRACE_S;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        const char *value = getenv(GUARD_VARIABLE);
        if (value == NULL) {
            fprintf(stderr, "guard: no " GUARD_VARIABLE ": not below a guard\n");
            return 2;
        }
        list_below((pid_t)strtol(value, NULL, 10), getpid(), stdout);
        return 0;
    }
    int i = 1;
    if (i + 1 < argc && strcmp(argv[i], "-t") == 0) {
        grace_s = strtod(argv[i + 1], NULL);
        i += 2;
    }
    if (i + 1 < argc && strcmp(argv[i], "--") == 0)
        return guard(argv + i + 1, grace_s);
    fprintf(stderr, "usage: guard [-t SECONDS] -- COMMAND [ARG...] | guard --list\n");
    return 2;
}
