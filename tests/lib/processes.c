#include "tests/lib/guard.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
    struct process process;
    bool below;
};

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
    return true;
}

static struct entry *processes_read(size_t *ret_count)
{
    struct entry *list = NULL;
    size_t count = 0, room = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        perror("guard: /proc");
        exit(125);
    }
    for (struct dirent *d; (d = readdir(proc)) != NULL;) {
        if (d->d_name[0] < '1' || d->d_name[0] > '9')
            continue;
        if (count == room) {
            room = room * 2 + 256;
            list = realloc(list, room * sizeof *list);
            if (list == NULL)
                abort();
        }
        if (process_read(&list[count].process, d->d_name))
            list[count++].below = false;
    }
    closedir(proc);
    *ret_count = count;
    return list;
}

static struct entry *find(struct entry *list, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].process.pid == pid)
            return &list[i];
    return NULL;
}

struct process *processes_below(pid_t guard, pid_t except, size_t *ret_count)
{
    size_t count, kept = 0;
    struct entry *list = processes_read(&count);

    /* Children may stand before their parents in the list. */
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < count; i++) {
            if (list[i].below)
                continue;
            pid_t parent = list[i].process.parent;
            struct entry *above = parent == guard ? NULL : find(list, count, parent);
            list[i].below = parent == guard || (above != NULL && above->below);
            changed |= list[i].below;
        }
    }
    for (struct entry *e = find(list, count, except); e != NULL;
         e = find(list, count, e->process.parent))
        e->below = false;

    struct process *ret = calloc(count + 1, sizeof *ret);
    if (ret == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        if (list[i].below)
            ret[kept++] = list[i].process;
    free(list);
    *ret_count = kept;
    return ret;
}

pid_t processes_guard(void)
{
    const char *value = getenv(GUARD_VARIABLE);
    return value == NULL ? 0 : (pid_t)strtol(value, NULL, 10);
}
