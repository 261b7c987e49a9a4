/* CPU time of a process tree that no control group counts: each process's own clock, and what it
 * has reaped. */
#include "isolation/sandbox_impl.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* more than that are not looked at; a tree so large has a limit of processes */
#define TREE_MAX 4096

struct walk {
    pid_t pids[TREE_MAX];
    size_t count, next;
};

/* The clock of another process (clock_getcpuclockid(3), which musl denies for others). */
static int64_t own_usec(pid_t pid)
{
    struct timespec t;
    clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2);
    if (clock_gettime(clock, &t) < 0)
        return 0; /* gone: its parent has its time, or will */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* cutime and cstime of /proc/PID/stat, the 14th and 15th field behind the name. */
static int64_t reaped_usec(int dir)
{
    char text[1024];
    if (io_read_file_at(dir, "stat", text, sizeof text) < 0)
        return 0;
    const char *at = strrchr(text, ')');
    for (int i = 0; at != NULL && i < 14; i++)
        at = (at = strchr(at + 1, ' ')) == NULL ? NULL : at;
    char *end;
    if (at == NULL)
        return 0;
    long long user = strtoll(at, &end, 10), system = strtoll(end, NULL, 10);
    return (user + system) * (1000000 / sysconf(_SC_CLK_TCK));
}

/* The children of each of its threads. */
static int add_children(struct walk *w, int dir)
{
    int fd = openat(dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
    if (tasks == NULL)
        return -1;
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        char name[NAME_MAX + 16], *text = NULL;
        if (e->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/children", e->d_name);
        _cleanup_close_ int list = openat(dirfd(tasks), name, O_RDONLY | O_CLOEXEC);
        if (list < 0 && errno == ENOENT && w->next == 1)
            return -1; /* init's one thread is there: this kernel has no such file */
        ssize_t n = list < 0 ? -1 : io_read_to_end(list, 1 << 20, &text);
        char *at = n > 0 ? text : NULL, *end;
        for (long pid; at != NULL && w->count < TREE_MAX && (pid = strtol(at, &end, 10)) > 0;
             at = end)
            w->pids[w->count++] = (pid_t)pid;
        free(text);
    }
    return 0;
}

int64_t tree_cpu_usec(pid_t init)
{
    _cleanup_free_ struct walk *w = malloc(sizeof *w);
    if (w == NULL)
        return -1;
    w->pids[0] = init;
    w->count = 1;
    int64_t sum = 0;
    /* a process before its children: one that ends meanwhile is missed once, never counted twice */
    for (w->next = 0; w->next < w->count;) {
        char path[32];
        pid_t pid = w->pids[w->next++];
        snprintf(path, sizeof path, "/proc/%d", (int)pid);
        _cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir >= 0)
            sum += own_usec(pid) + reaped_usec(dir);
        if ((dir < 0 || add_children(w, dir) < 0) && pid == init)
            return -1;
    }
    return sum;
}
