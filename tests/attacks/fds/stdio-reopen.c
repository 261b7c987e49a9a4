/* The standard streams are files of the caller, opened for reading or for writing. /proc/self/fd/N
 * is a way to open the same file again, for more than that. argv: files beside them. Pipes and
 * terminals are left out: both ends are the program's to use. */
#include "tests/attacks/attack.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

static long landlock_version(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0UL, 1U);
}

int main(int argc, char **argv)
{
    static const char *const forms[] = {"/proc/self/fd/%d", "/dev/fd/%d",
                                        "/proc/thread-self/fd/%d"};
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR};
    struct stat st;
    char path[64];
    bool old_kernel = false;

    for (int fd = 0; fd < 3; fd++) {
        int had = fcntl(fd, F_GETFL) & O_ACCMODE;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++)
            for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
                snprintf(path, sizeof(path), "%s/%d", forms[f], fd);
                if (modes[m] != had && open(path, modes[m] | O_CLOEXEC) >= 0)
                    breach("fd %d, opened with mode %d, opened again with %d as %s", fd, had,
                           modes[m], path);
            }
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        /* A sandbox of an ordinary user is the file's owner. Its mode is any owner's to change, and
         * truncation by name is kept from him by Landlock alone, since its third version. */
        if (had == O_RDONLY && st.st_uid == getuid() && landlock_version() < 3)
            old_kernel = true;
        else if (had == O_RDONLY && truncate(path, 0) == 0)
            breach("changed the file behind fd %d", fd);
        snprintf(path, sizeof(path), "/proc/self/fd/%d/..", fd);
        if (access(path, F_OK) == 0)
            breach("there is a way up from fd %d", fd);
    }
    for (int i = 1; i < argc; i++)
        if (access(argv[i], F_OK) == 0)
            breach("a file of the host is reachable as %s", argv[i]);
    if (old_kernel)
        skip("this kernel's Landlock does not know truncation");
    return verdict();
}
