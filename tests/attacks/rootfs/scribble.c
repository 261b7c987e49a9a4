/* Runs in a rootfs whose /dev, /proc, /sys, /etc and so on are symlinks to a directory of the host
 * (CVE-2026-41579, CVE-2026-47766): writes a file into each of them. The runner compares that
 * directory, which must stay as it was. */
#include "tests/attacks/attack.h"

int main(int argc, char **argv)
{
    static const char *const places[] = {"/dev",     "/proc", "/sys",     "/etc", "/tmp",
                                         "/dev/shm", "/run",  "/dev/pts", "/var", "/usr"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/scribble", places[i]);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

        if (fd >= 0)
            close(fd);
    }
    for (int i = 1; i < argc; i++) {
        if (access(argv[i], F_OK) == 0)
            breach("a file of the host is reachable as %s", argv[i]);
        if (writable(argv[i]))
            breach("%s can be written", argv[i]);
    }
    return verdict();
}
