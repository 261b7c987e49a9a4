/* CVE-2025-31133: the rootfs has a /dev/null that is a symlink (to core_pattern, to a marker). A
 * runtime that binds it over masked files makes those writable instead. */
#include "tests/attacks/attack.h"

#include <sys/sysmacros.h>

int main(void)
{
    static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list",
                                         "/proc/interrupts", "/proc/sched_debug"};
    struct stat st;
    char byte;

    if (lstat("/dev/null", &st) == 0 && !S_ISCHR(st.st_mode))
        breach("/dev/null has mode %o", st.st_mode);
    if (stat("/dev/null", &st) == 0 && st.st_rdev != makedev(1, 3))
        breach("/dev/null is device %u:%u", major(st.st_rdev), minor(st.st_rdev));
    for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) {
        int fd = open(masked[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && read(fd, &byte, 1) > 0)
            breach("%s has contents", masked[i]);
        if (fd >= 0)
            close(fd);
    }
    if (writable("/proc/sys/kernel/core_pattern"))
        breach("core_pattern can be written");
    return verdict();
}
