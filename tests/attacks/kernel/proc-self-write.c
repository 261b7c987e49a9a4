/* Files of one's own /proc directory that change what the kernel does with this process: id maps,
 * OOM score, security attributes. */
#include "tests/attacks/attack.h"

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = write(fd, text, strlen(text));
    close(fd);
    return n > 0;
}

int main(void)
{
    if (access("/proc/self/stat", F_OK) != 0)
        skip("no /proc here");
    if (put("/proc/self/uid_map", "0 0 1\n") || put("/proc/self/gid_map", "0 0 1\n"))
        breach("id map written");
    if (put("/proc/self/setgroups", "allow\n"))
        breach("setgroups allowed");
    if (put("/proc/self/oom_score_adj", "-1000\n"))
        breach("exempt from the OOM killer");
    if (put("/proc/self/timens_offsets", "monotonic 1000 0\n"))
        breach("clock offsets written");
    if (put("/proc/sysrq-trigger", "h\n"))
        breach("sysrq");
    if (put("/proc/sys/kernel/core_pattern", "|/attacks/names/started\n"))
        breach("core_pattern written");
    if (put("/proc/sys/kernel/modprobe", "/attacks/names/started\n"))
        breach("modprobe written");
    if (put("/proc/sys/vm/overcommit_memory", "1\n"))
        breach("overcommit_memory written");
    if (put("/proc/sys/kernel/hostname", "x\n"))
        breach("host name written");
    return verdict();
}
