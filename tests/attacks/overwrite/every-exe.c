/* Holds every executable in sight by O_PATH, then tries to write to it: first at once, then from a
 * process that has exec'd something else, when a file that was busy no longer is. PID 1 is a copy
 * of the runtime. The runner starts this 200 times and compares the runtime's digest. */
#include "tests/attacks/attack.h"

static int collect(void)
{
    char path[300];
    DIR *proc = opendir("/proc");
    struct dirent *e;
    int held = 0;

    if (proc == NULL)
        return 0;
    while ((e = readdir(proc)) != NULL) {
        if (strspn(e->d_name, "0123456789") != strlen(e->d_name))
            continue;
        snprintf(path, sizeof(path), "/proc/%s/exe", e->d_name);
        if (writable(path))
            breach("%s opened for writing", path);

        int fd = open(path, O_PATH); /* stays open over exec */

        if (fd >= 0)
            held++;
        if (fd >= 0 && strcmp(e->d_name, "1") == 0)
            breach("/proc/1/exe can be held");
    }
    closedir(proc);
    return held;
}

int main(int argc, char **argv)
{
    char path[64];

    if (argc > 1 && strcmp(argv[1], "late") == 0) {
        for (int fd = 3; fd < 64; fd++) {
            snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
            if (writable(path))
                breach("fd %d, held over an exec, opened for writing", fd);
        }
        return verdict();
    }
    if (collect() == 0)
        note("no executable could be held");
    if (attack_breached)
        return verdict();
    execl("/proc/self/exe", argv[0], "late", (char *)NULL);
    skip("cannot exec myself: %s", strerror(errno));
}
