/* The program of the fault injection: leaves a mark that it ran, then says what its sandbox is, in
 * words that two runs share. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void lines_of(const char *path, const char *const *prefixes)
{
    FILE *f = fopen(path, "re");
    char line[4096];
    if (f == NULL) {
        printf("no %s\n", path);
        return;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        bool print = prefixes == NULL;
        for (size_t i = 0; prefixes != NULL && prefixes[i] != NULL; i++)
            print = print || strncmp(line, prefixes[i], strlen(prefixes[i])) == 0;
        if (print)
            fputs(line, stdout);
    }
    fclose(f);
}

/* ids and device numbers differ from run to run, and so do the owners of a tmpfs */
static void mounts(void)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096], root[1024], point[1024], options[256], type[64];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *dash = strstr(line, " - ");
        if (dash != NULL &&
            sscanf(line, "%*s %*s %*s %1023s %1023s %255s", root, point, options) == 3 &&
            sscanf(dash, " - %63s", type) == 1)
            printf("mount %s %s %s %s\n", root, point, options, type);
    }
    if (f != NULL)
        fclose(f);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        int fd = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            perror(argv[1]);
            return 3;
        }
        close(fd);
    }
    static const char *const status[] = {
        "Umask:", "Uid:",        "Gid:",    "Groups:",  "Sig", "ShdPnd:",
        "Cap",    "NoNewPrivs:", "Seccomp", "Threads:", NULL};
    struct utsname names;
    char cwd[4096];
    lines_of("/proc/self/status", status);
    lines_of("/proc/self/limits", NULL);
    lines_of("/proc/self/cgroup", NULL);
    mounts();
    if (uname(&names) == 0)
        printf("names %s %s\n", names.nodename, names.domainname);
    printf("pid %d parent %d session %d group %d cwd %s\n", (int)getpid(), (int)getppid(),
           (int)getsid(0), (int)getpgrp(), getcwd(cwd, sizeof cwd) != NULL ? cwd : "none");
    static const char *const kinds[] = {"user", "pid", "mnt", "ipc", "uts", "net", "cgroup"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char path[64], link[128];
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        /* argv[2] has those of the outside */
        printf("%s %s\n", kinds[i],
               argc > 2 && n > 0 && strstr(argv[2], link) == NULL ? "own" : "shared");
    }
    DIR *fds = opendir("/proc/self/fd");
    for (struct dirent *d; fds != NULL && (d = readdir(fds)) != NULL;)
        if (d->d_name[0] != '.' && atoi(d->d_name) != dirfd(fds))
            printf("fd %s\n", d->d_name);
    if (fds != NULL)
        closedir(fds);
    /* what the mounts do not show: a file of the host by another way */
    printf("mem %s\n", open("/proc/kcore", O_RDONLY | O_CLOEXEC) < 0 ? "closed" : "open");
    return 0;
}
