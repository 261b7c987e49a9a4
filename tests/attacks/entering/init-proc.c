/* CVE-2016-9962 and kin: PID 1 is a copy of the runtime. Nothing of it may be seen or changed: not
 * its memory, environment, command line (it names paths of the host), files, nor its settings. */
#include "tests/attacks/attack.h"

static void try_read(const char *name)
{
    char path[300], byte;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/1/%s", name);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return;
    n = read(fd, &byte, 1);
    if (n > 0)
        breach("%s can be read", path);
    else if (strcmp(name, "mem") == 0)
        breach("%s can be opened", path);
    close(fd);
}

int main(void)
{
    static const char *const readable[] = {"mem",   "environ",   "auxv",        "maps",
                                           "smaps", "numa_maps", "pagemap",     "syscall",
                                           "stack", "io",        "personality", "patch_state"};
    static const char *const links[] = {"exe",    "cwd",    "root",       "ns/user", "ns/mnt",
                                        "ns/net", "ns/pid", "fd/0",       "fd/1",    "fd/3",
                                        "fd/4",   "fd/5",   "map_files/x"};
    static const char *const settings[] = {
        "mem",           "oom_score_adj",  "comm",      "clear_refs", "coredump_filter",
        "timerslack_ns", "uid_map",        "gid_map",   "setgroups",  "attr/current",
        "attr/exec",     "timens_offsets", "autogroup", "sched",      "loginuid",
        "task/1/comm",   "make-it-fail"};
    char path[300], target[PATH_MAX];

    if (access("/proc/self/stat", F_OK) != 0)
        skip("no /proc here");
    for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
        try_read(readable[i]);
    int fd = open("/proc/1/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, target, sizeof(target)) : -1;

    if (n > 0 && memchr(target, '/', (size_t)n) != NULL)
        breach("/proc/1/cmdline has paths of the host");
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        snprintf(path, sizeof(path), "/proc/1/%s", links[i]);
        if (readlink(path, target, sizeof(target)) >= 0)
            breach("%s can be read", path);
        fd = open(path, O_PATH | O_CLOEXEC);

        if (fd >= 0) {
            breach("%s can be held", path);
            close(fd);
        }
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        snprintf(path, sizeof(path), "/proc/1/%s", settings[i]);
        fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd >= 0 && (i == 0 || write(fd, "1\n", 2) > 0))
            breach("%s can be written", path); /* some open for all and ask when written */
        if (fd >= 0)
            close(fd);
    }
    return verdict();
}
