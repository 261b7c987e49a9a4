#include "tests/stress/held.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *of(pid_t pid, const char *name)
{
    char path[80];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return fopen(path, "re");
}

static int add(struct held_by *h, pid_t pid)
{
    char path[64], link[256], line[512];
    FILE *f = of(pid, "status");
    long kb = 0;
    if (f == NULL)
        return -1;
    while (fgets(line, sizeof line, f) != NULL)
        sscanf(line, "VmRSS: %ld", &kb);
    fclose(f);
    h->processes++;
    h->resident_kb += kb;
    if ((f = of(pid, "maps")) != NULL) {
        while (fgets(line, sizeof line, f) != NULL)
            h->mappings++;
        fclose(f);
    }
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        h->files += n > 0;
        h->memfds += n > 7 && memcmp(link, "/memfd:", 7) == 0;
    }
    if (d != NULL)
        closedir(d);
    return 0;
}

static void add_below(struct held_by *h, pid_t parent)
{
    char name[48];
    pid_t pid;
    snprintf(name, sizeof name, "task/%d/children", parent);
    FILE *f = of(parent, name);
    while (f != NULL && fscanf(f, "%d", &pid) == 1) {
        if (add(h, pid) == 0)
            add_below(h, pid);
    }
    if (f != NULL)
        fclose(f);
}

static struct held *disk;

static int add_file(const char *path, const struct stat *s, int type, struct FTW *at)
{
    long kb = s->st_blocks / 2;
    if (type == FTW_NS)
        return 0;
    if (strncmp(path + at->base, "sandbox.db", 10) == 0) {
        disk->database_kb += kb;
        return 0;
    }
    disk->disk_files++;
    disk->disk_kb += kb;
    return 0;
}

int held_look(struct held *ret, pid_t keeper, const char *directory)
{
    memset(ret, 0, sizeof *ret);
    if (add(&ret->keeper, keeper) < 0)
        return -1;
    add_below(&ret->inside, keeper);
    disk = ret;
    return nftw(directory, add_file, 16, FTW_PHYS);
}
