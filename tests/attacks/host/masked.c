/* What moby masks (daemon/pkg/oci/defaults.go, 2026) tells about the host, its keys, its timers,
 * its power use: every one must be missing, unreadable or empty. */
#include "tests/attacks/attack.h"

#include <glob.h>

static void check(const char *path)
{
    struct stat st;
    char buffer[256];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        DIR *d = fdopendir(fd);
        struct dirent *e;

        while (d != NULL && (e = readdir(d)) != NULL)
            if (e->d_name[0] != '.')
                breach("%s has an entry %s", path, e->d_name);
        if (d != NULL)
            closedir(d);
        return;
    }
    if (read(fd, buffer, sizeof(buffer)) > 0)
        breach("%s can be read", path);
    close(fd);
}

int main(void)
{
    static const char *const paths[] = {"/proc/acpi",
                                        "/proc/asound",
                                        "/proc/interrupts",
                                        "/proc/kcore",
                                        "/proc/keys",
                                        "/proc/key-users",
                                        "/proc/latency_stats",
                                        "/proc/sched_debug",
                                        "/proc/scsi",
                                        "/proc/timer_list",
                                        "/proc/timer_stats",
                                        "/proc/kpagecount",
                                        "/proc/kpageflags",
                                        "/proc/vmallocinfo",
                                        "/proc/slabinfo",
                                        "/proc/config.gz",
                                        "/sys/devices/virtual/powercap",
                                        "/sys/firmware",
                                        "/sys/kernel/debug",
                                        "/sys/kernel/security",
                                        "/sys/kernel/tracing",
                                        "/sys/fs/bpf",
                                        "/sys/fs/pstore",
                                        "/sys/class/dmi/id/product_uuid",
                                        "/sys/class/dmi/id/product_serial"};
    glob_t found;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(paths[i], "/proc/config.gz") != 0) /* moby leaves it; no secret */
            check(paths[i]);
    if (glob("/sys/devices/system/cpu/cpu*/thermal_throttle", 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            check(found.gl_pathv[i]);
    return verdict();
}
