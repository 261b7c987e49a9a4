/* Looks through the root for directories and files that can be written and are not on a tmpfs of
 * the sandbox's own; what can be written there stays on the host. Depth and count are bounded: a
 * mount is writable as a whole or not at all. */
#include "tests/attacks/attack.h"

#include <linux/magic.h>
#include <sys/vfs.h>

static long seen;

static void walk(const char *path, int depth)
{
    DIR *d = opendir(path);
    struct dirent *e;
    struct statfs fs;
    char child[PATH_MAX];

    if (d == NULL)
        return;
    if (statfs(path, &fs) == 0 && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC ||
                                   fs.f_type == SYSFS_MAGIC || fs.f_type == DEVPTS_SUPER_MAGIC)) {
        closedir(d); /* tried by others, or its own */
        return;
    }
    snprintf(child, sizeof(child), "%s/cloche-attack", path);
    int fd = open(child, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd >= 0) {
        breach("made %s", child);
        close(fd);
        unlink(child);
    }
    while ((e = readdir(d)) != NULL && seen < 60000) {
        int n =
            snprintf(child, sizeof(child), "%s/%s", strcmp(path, "/") == 0 ? "" : path, e->d_name);
        struct stat st;

        if (n < 0 || (size_t)n >= sizeof(child) || strcmp(e->d_name, ".") == 0 ||
            strcmp(e->d_name, "..") == 0 || lstat(child, &st) < 0)
            continue;
        seen++;
        if (S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID)) != 0 && depth < 2)
            note("set-id file %s", child);
        if (S_ISDIR(st.st_mode) && depth < 3)
            walk(child, depth + 1);
        else if (S_ISREG(st.st_mode) && writable(child))
            breach("%s can be written", child);
        else if (S_ISSOCK(st.st_mode))
            breach("%s is a socket of the host", child);
    }
    closedir(d);
}

int main(void)
{
    struct statfs fs;
    DIR *d;
    struct dirent *e;

    /* the root itself may be a tmpfs of the sandbox's: go over its entries one by one */
    if (statfs("/", &fs) == 0 && fs.f_type != TMPFS_MAGIC) {
        walk("/", 0);
        return verdict();
    }
    d = opendir("/");
    while (d != NULL && (e = readdir(d)) != NULL) {
        char path[300];

        snprintf(path, sizeof(path), "/%s", e->d_name);
        if (e->d_name[0] != '.')
            walk(path, 1);
    }
    if (d != NULL)
        closedir(d);
    return verdict();
}
