/* Runs a command and makes one system call of its launch fail, by role and occurrence.
 *
 *   inject list FILE COMMAND [ARG...]                        writes "ROLE SYSCALL COUNT" lines
 *   inject ROLE SYSCALL N ERRNO FILE COMMAND [ARG...]        writes its pid, and "met" or "missed"
 *
 * Roles: `parent` is the command itself, its threads included, up to the last message that lets the
 * program go; `init` its first child, up to where that makes the program; `program` the first child
 * of that, up to its exec. With INJECT_DOORSTEP set the first child is the `doorstep`
 * (isolation/namespaces.c), and init is what that one makes, else the second child. strace(1)
 * counts for each process anew and cannot tell them apart, and so would only ever reach the first
 * of them. The call is not made; it returns the errno. Exits as the command does, 128+N for a
 * signal. */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 1024
#define TASKS 256

enum role { PARENT, DOORSTEP, INIT, PROGRAM, OTHER, ROLES, UNKNOWN };
static const char *const role_names[ROLES] = {"parent", "doorstep", "init", "program", "other"};

struct task {
    pid_t pid;
    enum role role;
    bool stopped; /* before its role is known */
    bool failing; /* in the call that fails */
};

static struct task tasks[TASKS];
static unsigned counts[ROLES][CALLS], scope[ROLES][CALLS];
static bool seen_role[ROLES], met;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(99);
}

static struct task *task_of(pid_t pid)
{
    struct task *spare = NULL;
    for (size_t i = 0; i < TASKS; i++) {
        if (tasks[i].pid == pid)
            return &tasks[i];
        if (tasks[i].pid == 0 && spare == NULL)
            spare = &tasks[i];
    }
    if (spare == NULL)
        die("too many processes");
    *spare = (struct task){.pid = pid, .role = UNKNOWN};
    return spare;
}

static enum role role_of_child(enum role parent)
{
    enum role first = getenv("INJECT_DOORSTEP") != NULL ? DOORSTEP : INIT;
    if (parent == PARENT && seen_role[DOORSTEP])
        first = INIT;
    enum role child = parent == PARENT     ? first
                      : parent == DOORSTEP ? INIT
                      : parent == INIT     ? PROGRAM
                                           : OTHER;
    if (child != OTHER && seen_role[child])
        child = OTHER;
    seen_role[child] = true;
    return child;
}

/** A thread of a process is that process. */
static bool is_thread(pid_t child)
{
    char path[64];
    int group = 0;
    snprintf(path, sizeof path, "/proc/%d/status", child);
    FILE *f = fopen(path, "re");
    for (char line[256]; f != NULL && fgets(line, sizeof line, f) != NULL;)
        sscanf(line, "Tgid: %d", &group);
    if (f != NULL)
        fclose(f);
    return group != 0 && group != child;
}

/* A task that is gone meanwhile says ESRCH, and its end arrives by itself. */
static void go_on(pid_t pid, int sig)
{
    ptrace(PTRACE_SYSCALL, pid, 0, (long)sig);
}

struct wanted {
    enum role role;
    int call;
    unsigned n;
    int error;
};

static void on_call(struct task *t, const struct wanted *w)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof info, &info) < 0)
        return;
    struct user_regs_struct regs;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->failing && w != NULL) {
        t->failing = false;
        if (ptrace(PTRACE_GETREGS, t->pid, 0, &regs) == 0) {
            regs.rax = (unsigned long long)-w->error;
            ptrace(PTRACE_SETREGS, t->pid, 0, &regs);
        }
        return;
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr >= CALLS)
        return;
    int nr = (int)info.entry.nr;
    counts[t->role][nr]++;
    /* what comes after these may find the program running already */
    bool last = t->role == PARENT ? nr == SYS_sendmsg || nr == SYS_sendto
                : t->role == INIT ? nr == SYS_clone || nr == SYS_clone3 || nr == SYS_vfork ||
                                        nr == SYS_pivot_root || nr == SYS_umount2 ||
                                        nr == SYS_chdir || nr == SYS_stat || nr == SYS_newfstatat
                                  : true;
    if (last)
        memcpy(scope[t->role], counts[t->role], sizeof scope[t->role]);
    if (w != NULL && t->role == w->role && nr == w->call && counts[t->role][nr] == w->n &&
        ptrace(PTRACE_GETREGS, t->pid, 0, &regs) == 0) {
        regs.orig_rax = (unsigned long long)-1;
        met = t->failing = ptrace(PTRACE_SETREGS, t->pid, 0, &regs) == 0;
    }
}

static void on_stop(pid_t pid, int status, const struct wanted *w)
{
    struct task *t = task_of(pid);
    int sig = WSTOPSIG(status), event = status >> 16;
    unsigned long child;
    if (sig == (SIGTRAP | 0x80)) {
        on_call(t, w);
        go_on(pid, 0);
        return;
    }
    if (event == PTRACE_EVENT_EXEC && t->role == PROGRAM) { /* its launch is over */
        t->pid = 0;
        ptrace(PTRACE_DETACH, pid, 0, 0);
        return;
    }
    if (event != 0 && ptrace(PTRACE_GETEVENTMSG, pid, 0, &child) == 0 &&
        event != PTRACE_EVENT_EXEC) {
        struct task *c = task_of((pid_t)child);
        c->role = is_thread(c->pid) ? t->role : role_of_child(t->role);
        if (c->stopped)
            go_on(c->pid, 0);
        c->stopped = false;
        go_on(pid, 0);
        return;
    }
    if (t->role == UNKNOWN) { /* the parent's event has not come yet */
        t->stopped = true;
        return;
    }
    bool first = sig == SIGSTOP && event == 0 && t->role != PARENT;
    go_on(pid, event != 0 || first || sig == SIGTRAP ? 0 : sig);
}

static int trace(char **command, const struct wanted *w, pid_t *ret_pid)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP) != 0)
            die("traceme");
        execv(command[0], command);
        die(command[0]);
    }
    *ret_pid = pid;
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, pid, 0,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) < 0)
        die("ptrace");
    task_of(pid)->role = PARENT;
    seen_role[PARENT] = true;
    go_on(pid, 0);

    int result = 99;
    for (pid_t p; (p = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status)) {
            on_stop(p, status, w);
            continue;
        }
        task_of(p)->pid = 0;
        if (p == pid)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return result;
}

static void write_list(FILE *out)
{
    for (int role = PARENT; role <= PROGRAM; role++) {
        const unsigned *of = scope[role];
        for (int nr = 0; nr < CALLS; nr++) {
            if (of[nr] == 0)
                continue;
            char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
            if (name != NULL)
                fprintf(out, "%s %s %u\n", role_names[role], name, of[nr]);
            else /* newer than libseccomp */
                fprintf(out, "%s %d %u\n", role_names[role], nr, of[nr]);
            free(name);
        }
    }
}

int main(int argc, char **argv)
{
    pid_t pid;
    if (argc >= 4 && strcmp(argv[1], "list") == 0) {
        FILE *out = fopen(argv[2], "we");
        if (out == NULL)
            die(argv[2]);
        int result = trace(argv + 3, NULL, &pid);
        write_list(out);
        return fclose(out) == 0 ? result : 99;
    }
    if (argc < 7) {
        fputs("usage: inject list FILE COMMAND... | inject ROLE SYSCALL N ERRNO FILE COMMAND...\n",
              stderr);
        return 99;
    }
    struct wanted w = {.role = ROLES,
                       .call = argv[2][0] >= '0' && argv[2][0] <= '9'
                                   ? (int)strtol(argv[2], NULL, 10)
                                   : seccomp_syscall_resolve_name(argv[2]),
                       .n = (unsigned)strtoul(argv[3], NULL, 10),
                       .error = (int)strtol(argv[4], NULL, 10)};
    for (int role = PARENT; role <= PROGRAM; role++) {
        if (strcmp(argv[1], role_names[role]) == 0)
            w.role = (enum role)role;
    }
    FILE *out = fopen(argv[5], "we");
    if (out == NULL || w.role == ROLES || w.call < 0 || w.call >= CALLS || w.n == 0 || w.error <= 0)
        die("bad argument");
    int result = trace(argv + 6, &w, &pid);
    fprintf(out, "%d %s\n", (int)pid, met ? "met" : "missed");
    return fclose(out) == 0 ? result : 99;
}
