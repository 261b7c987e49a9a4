#include "tests/lib/guard.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRACE_S 3

/* Paths relative to root and run that outlive a run by design. */
static const char *const files_that_stay[] = {
    "^cache/",
    "^audit/",
    "^templates/([0-9a-f]{16}/|asked$)",
    "\\.lock$",
};

struct lines {
    char **line;
    size_t count, room;
};

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "guard: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void __attribute__((format(printf, 2, 3))) add(struct lines *list, const char *format, ...)
{
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->line = realloc(list->line, list->room * sizeof *list->line);
        if (list->line == NULL)
            abort();
    }
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&list->line[list->count++], format, arguments) < 0)
        abort();
    va_end(arguments);
}

static void clear(struct lines *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->line[i]);
    free(list->line);
    *list = (struct lines){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* @path's lines without their newlines; none when there is no such file. */
static struct lines read_lines(const char *path)
{
    struct lines list = {0};
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return list;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, f) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        add(&list, "%s", line);
    }
    free(line);
    fclose(f);
    return list;
}

static void list_processes(struct lines *to)
{
    pid_t guard = processes_guard();
    if (guard == 0)
        return;
    size_t count;
    struct process *list = processes_below(guard, getpid(), &count);
    for (size_t i = 0; i < count; i++)
        add(to, "process %d %s (started %llu)", (int)list[i].pid, list[i].name, list[i].start);
    free(list);
}

static void list_mounts(struct lines *to, const char *only_below)
{
    struct lines mounts = read_lines("/proc/self/mountinfo");
    for (size_t i = 0; i < mounts.count; i++) {
        char id[32], root[PATH_MAX], point[PATH_MAX];
        const char *type = strstr(mounts.line[i], " - ");
        if (sscanf(mounts.line[i], "%31s %*s %*s %4095s %4095s", id, root, point) != 3 ||
            type == NULL)
            continue;
        type += 3;
        if (only_below == NULL || strncmp(point, only_below, strlen(only_below)) == 0)
            add(to, "mount %s of %.*s %s on %s", id, (int)strcspn(type, " "), type, root, point);
    }
    clear(&mounts);
}

static void list_links(struct lines *to)
{
    /* Not /sys/class/net: it shows the namespace in which sysfs was mounted. */
    struct lines links = read_lines("/proc/self/net/dev");
    for (size_t i = 2; i < links.count; i++) {
        const char *name = links.line[i] + strspn(links.line[i], " ");
        add(to, "link %.*s", (int)strcspn(name, ":"), name);
    }
    clear(&links);
}

static void list_ipc(struct lines *to)
{
    static const char *const kinds[] = {"shm", "sem", "msg"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char path[64], key[32], id[32];
        snprintf(path, sizeof path, "/proc/sysvipc/%s", kinds[k]);
        struct lines objects = read_lines(path);
        for (size_t i = 1; i < objects.count; i++)
            if (sscanf(objects.line[i], "%31s %31s", key, id) == 2)
                add(to, "ipc %s %s (key %s)", kinds[k], id, key);
        clear(&objects);
    }
}

/* A group of one of @pids; not one that an earlier process of the same number left behind. */
static bool is_ours(const char *path, const char *group, const struct lines *pids,
                    const struct timespec *since)
{
    char *end;
    struct stat st;
    if (strncmp(group, "run-", 4) != 0 || stat(path, &st) < 0 ||
        st.st_ctim.tv_sec < since->tv_sec ||
        (st.st_ctim.tv_sec == since->tv_sec && st.st_ctim.tv_nsec < since->tv_nsec))
        return false;
    unsigned long pid = strtoul(group + 4, &end, 10);
    if (*end != '-')
        return false;
    for (size_t i = 0; i < pids->count; i++)
        if (strtoul(pids->line[i], NULL, 10) == pid)
            return true;
    return false;
}

static void list_cgroups(struct lines *to, const char *path, bool in_slice,
                         const struct lines *pids, const struct timespec *since)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    for (struct dirent *d; (d = readdir(directory)) != NULL;) {
        char below[PATH_MAX];
        if (d->d_type != DT_DIR || d->d_name[0] == '.' ||
            snprintf(below, sizeof below, "%s/%s", path, d->d_name) >= (int)sizeof below)
            continue;
        if (in_slice && is_ours(below, d->d_name, pids, since))
            add(to, "cgroup %s", below);
        else if (!in_slice)
            list_cgroups(to, below, strcmp(d->d_name, "cloche.slice") == 0, pids, since);
    }
    closedir(directory);
}

static bool may_stay(const char *path)
{
    for (size_t i = 0; i < sizeof files_that_stay / sizeof *files_that_stay; i++) {
        regex_t pattern;
        if (regcomp(&pattern, files_that_stay[i], REG_EXTENDED | REG_NOSUB) != 0)
            abort();
        bool match = regexec(&pattern, path, 0, NULL, 0) == 0;
        regfree(&pattern);
        if (match)
            return true;
    }
    return false;
}

/* Directories count in tmp only: the tree of root and run is made on first use and stays. */
static void list_files(struct lines *to, const char *path, size_t top, bool directories)
{
    DIR *directory = opendir(path);
    if (directory == NULL)
        return;
    for (struct dirent *d; (d = readdir(directory)) != NULL;) {
        char below[PATH_MAX];
        struct stat st;
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            snprintf(below, sizeof below, "%s/%s", path, d->d_name) >= (int)sizeof below ||
            lstat(below, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            list_files(to, below, top, directories);
        if (S_ISDIR(st.st_mode) ? directories : !may_stay(below + top + 1))
            add(to, "file %s", below);
    }
    closedir(directory);
}

static struct lines list_all(const char *directory)
{
    struct lines list = {0};
    char path[PATH_MAX];
    bool private = getenv("CLOCHE_TEST_PRIVATE") != NULL;
    list_processes(&list);
    list_mounts(&list, private ? NULL : directory);
    if (private) {
        list_links(&list);
        list_ipc(&list);
    }

    snprintf(path, sizeof path, "%s/pids", directory);
    struct lines pids = read_lines(path);
    struct stat begun;
    snprintf(path, sizeof path, "%s/bin/cloche", directory);
    if (pids.count > 0 && stat(path, &begun) == 0)
        list_cgroups(&list, "/sys/fs/cgroup", false, &pids, &begun.st_ctim);
    clear(&pids);

    static const char *const trees[] = {"root", "run", "tmp"};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, trees[i]);
        list_files(&list, path, strlen(path), strcmp(trees[i], "tmp") == 0);
    }
    if (list.count > 0)
        qsort(list.line, list.count, sizeof *list.line, compare);
    return list;
}

static FILE *create(const char *directory, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "we");
    if (f == NULL)
        die(path);
    return f;
}

int leaks_begin(const char *directory)
{
    static const char *const directories[] = {"root", "run", "tmp", "work", "bin"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, directories[i]);
        if (mkdir(path, i < 2 ? 0700 : 0755) < 0)
            die(path);
    }
    fclose(create(directory, "pids"));

    /* exec keeps the pid: the name of the run's control group is known, however the test started
     * it. */
    FILE *script = create(directory, "bin/cloche");
    const char *cloche = getenv("CLOCHE");
    fprintf(script, "#!/bin/sh\necho $$ >>'%s/pids'\nexec '%s' \"$@\"\n", directory,
            cloche == NULL ? "cloche" : cloche);
    if (fchmod(fileno(script), 0755) < 0 || fclose(script) != 0)
        die("bin/cloche");

    FILE *before = create(directory, "before");
    struct lines list = list_all(directory);
    for (size_t i = 0; i < list.count; i++)
        fprintf(before, "%s\n", list.line[i]);
    clear(&list);
    if (fclose(before) != 0)
        die("before");
    return 0;
}

static size_t print_left(const struct lines *before, const struct lines *now, FILE *to)
{
    size_t left = 0;
    for (size_t i = 0; i < now->count; i++) {
        if (before->count > 0 && bsearch(&now->line[i], before->line, before->count,
                                         sizeof *before->line, compare) != NULL)
            continue;
        if (to != NULL)
            fprintf(to, "left over: %s\n", now->line[i]);
        left++;
    }
    return left;
}

int leaks_end(const char *directory)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/before", directory);
    if (access(path, R_OK) < 0)
        die(path);
    struct lines before = read_lines(path);
    const char *scale = getenv("CLOCHE_TEST_SCALE"), *grace = getenv("CLOCHE_TEST_GRACE");
    double end_s = guard_now_s() + (grace == NULL ? GRACE_S : strtod(grace, NULL)) *
                                       (scale == NULL ? 1 : strtod(scale, NULL));
    for (;;) {
        struct lines now = list_all(directory);
        size_t left = print_left(&before, &now, NULL);
        bool over = guard_now_s() >= end_s;
        if (left > 0 && over)
            print_left(&before, &now, stderr);
        clear(&now);
        if (left == 0 || over) {
            clear(&before);
            return left == 0 ? 0 : 1;
        }
        guard_pause();
    }
}
