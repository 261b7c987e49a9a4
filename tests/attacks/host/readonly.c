/* CVE-2022-0492, CVE-2023-25809: one writable file under /sys, /proc/sys or a cgroup file system is
 * enough to reach the host. Every file there is opened for writing, in every directory one is made.
 */
#include "tests/attacks/attack.h"

static long seen;

static void walk(const char *path, int depth)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char child[PATH_MAX];

    if (d == NULL)
        return;
    snprintf(child, sizeof(child), "%s/cloche-attack", path);
    if (mkdir(child, 0755) == 0)
        breach("made %s", child);
    while ((e = readdir(d)) != NULL && seen < 200000) {
        int n = snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
        struct stat st;

        if (n < 0 || (size_t)n >= sizeof(child) || strcmp(e->d_name, ".") == 0 ||
            strcmp(e->d_name, "..") == 0 || lstat(child, &st) < 0)
            continue;
        seen++;
        if (S_ISDIR(st.st_mode) && depth < 12)
            walk(child, depth + 1);
        else if (S_ISREG(st.st_mode) && writable(child))
            breach("%s can be written", child);
    }
    closedir(d);
}

int main(void)
{
    static const char *const trees[] = {"/sys",      "/proc/sys",  "/proc/bus",   "/proc/fs",
                                        "/proc/irq", "/proc/acpi", "/proc/driver"};

    for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++)
        walk(trees[i], 0);
    if (writable("/proc/sysrq-trigger") || writable("/proc/mtrr") || writable("/proc/kcore"))
        breach("a control file of /proc can be written");
    return verdict();
}
