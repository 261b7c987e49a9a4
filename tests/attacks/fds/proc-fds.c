/* Reaches for descriptors, roots and working directories of other processes through /proc, and for
 * its own root by every detour. argv[1] is a marker file that only the host has. */
#include "tests/attacks/attack.h"

static const char *marker = "/nonexistent";

static void try(const char *pid, const char *link)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "/proc/%s/%s/%s", pid, link, marker + 1);

    if (n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0)
        breach("a file of the host is reachable as %s", path);
}

int main(int argc, char **argv)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;
    int fd;

    if (argc > 1)
        marker = argv[1];
    if (proc == NULL)
        skip("no /proc here");
    while ((e = readdir(proc)) != NULL) {
        char path[300];

        if (strspn(e->d_name, "0123456789") != strlen(e->d_name))
            continue;
        try(e->d_name, "root");
        try(e->d_name, "cwd");
        try(e->d_name, "root/..");
        if (strtol(e->d_name, NULL, 10) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/%s/fd", e->d_name);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            breach("%s can be listed", path);
    }
    closedir(proc);

    /* whatever is mounted on "/" itself, ".." leads to */
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    int roots = 0;

    for (char line[4096]; mounts != NULL && fgets(line, sizeof(line), mounts) != NULL;) {
        char point[1024] = "";

        if (sscanf(line, "%*d %*d %*s %*s %1023s", point) == 1 && strcmp(point, "/") == 0)
            roots++;
    }
    if (mounts != NULL)
        fclose(mounts);
    if (roots > 1)
        breach("%d file systems are mounted on /", roots);
    for (char up[64] = "/.."; strlen(up) < 32; strcat(up, "/..")) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s%s", up, marker);
        if (access(path, F_OK) == 0)
            breach("a file of the host is reachable as %s", path);
    }

    fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 20 && fd >= 0; i++) {
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

        close(fd);
        fd = up;
    }
    if (fd >= 0 && faccessat(fd, marker + 1, F_OK, 0) == 0)
        breach("a file of the host is above /");
    return verdict();
}
