#include "isolation/crowd.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "isolation/sandbox.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pid_t sandbox_pid_of(int pidfd)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    const char *pid =
        io_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 ? NULL : strstr(text, "\nPid:\t");
    long n = pid != NULL ? strtol(pid + 6, NULL, 10) : 0;
    return n > 0 ? (pid_t)n : 0;
}

struct task {
    pid_t pid, parent, top; /* top: the guard above it; 0: not looked for yet */
    uint64_t threads, pages;
};

struct tasks {
    struct arena *arena;
    struct task *list;
    size_t count;
};

/** proc(5): parent, threads and pages are fields 4, 20 and 24 of stat; the name before them may
 * hold anything. */
static void add_task(void *context, pid_t pid)
{
    struct tasks *all = context;
    char path[64], text[1024];
    int parent;
    unsigned long long threads, pages;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *close =
        io_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 ? NULL : strrchr(text, ')');
    if (close == NULL || sscanf(close + 1,
                                " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                                "%*d %llu %*d %*u %*u %llu",
                                &parent, &threads, &pages) != 3)
        return;
    all->list = arena_grow(all->arena, all->list, all->count, sizeof *all->list);
    all->list[all->count++] =
        (struct task){.pid = pid, .parent = parent, .threads = threads, .pages = pages};
}

static int compare(const void *a, const void *b)
{
    const struct task *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct task *find(const struct tasks *all, pid_t pid)
{
    const struct task key = {.pid = pid};
    return all->count == 0 ? NULL : bsearch(&key, all->list, all->count, sizeof key, compare);
}

/** Every task is passed once: the way up is marked with what was found. */
static pid_t top_of(const struct tasks *all, struct task *t, pid_t init)
{
    pid_t top = -1;
    size_t steps = 0;
    for (struct task *at = t; at != NULL && steps++ <= all->count; at = find(all, at->parent)) {
        top = at->top != 0 ? at->top : at->parent == init ? at->pid : -1;
        if (top != -1 || at->top != 0)
            break;
    }
    for (struct task *at = t; at != NULL && at->top == 0; at = find(all, at->parent))
        at->top = top;
    return top;
}

void crowd_count(const struct cgroup *g, pid_t init, struct crowd_part *parts, size_t count)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct tasks all = {.arena = a};
    if (cgroup_each_process(g, add_task, &all) < 0 || all.count == 0)
        return;
    qsort(all.list, all.count, sizeof *all.list, compare);
    for (size_t i = 0; i < all.count; i++) {
        pid_t top = top_of(&all, &all.list[i], init);
        for (size_t p = 0; p < count; p++) {
            if (parts[p].guard != top)
                continue;
            parts[p].tasks += all.list[i].threads;
            parts[p].pages += all.list[i].pages;
        }
    }
}
