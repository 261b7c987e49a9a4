/* On a volume that the sandbox may write, its files belong to whoever started it. A set-user-id or
 * set-group-id file there would give that user's rights to any other user of the host who runs it:
 * tried by every call that takes a mode. argv[1] is the volume. The runner looks at it afterwards.
 */
#include "tests/attacks/attack.h"
#include "tests/attacks/kernel/calls.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static const char *volume = "/tmp";
static int count;

static char *fresh(void)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/setid-%d", volume, count++);
    return path;
}

static void check(const char *how, const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && (st.st_mode & (S_ISUID | S_ISGID)) != 0)
        breach("%s made a file of mode %o", how, st.st_mode);
}

int main(int argc, char **argv)
{
    static const mode_t modes[] = {04755, 02755, 06755};
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_CREAT | O_WRONLY};
    char *path;
    int fd;

    if (argc > 1)
        volume = argv[1];
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        mode_t mode = modes[i];

        umask(0);
        path = fresh();
        syscall(SYS_open, path, O_CREAT | O_WRONLY, mode);
        check("open", path);
        path = fresh();
        syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, mode);
        check("openat", path);
        path = fresh();
        syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, (unsigned long)mode | 1UL << 40);
        check("openat with a high bit", path);
        path = fresh();
        how.mode = mode;
        syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
        check("openat2", path);
        path = fresh();
        syscall(SYS_creat, path, mode);
        check("creat", path);
        path = fresh();
        syscall(SYS_mknod, path, S_IFREG | mode, 0);
        check("mknod", path);
        path = fresh();
        syscall(SYS_mknodat, AT_FDCWD, path, S_IFREG | mode, 0);
        check("mknodat", path);
        path = fresh();
        fd = open(volume, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
        if (fd >= 0) {
            char link[64];

            snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
            linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
            close(fd);
        }
        check("O_TMPFILE", path);

        path = fresh();
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
        if (fd < 0)
            skip("cannot make a file on the volume: %s", strerror(errno));
        syscall(SYS_chmod, path, mode);
        syscall(SYS_fchmod, fd, mode);
        syscall(SYS_fchmodat, AT_FDCWD, path, mode);
        syscall(SYS_fchmodat2, AT_FDCWD, path, mode, 0);
        check("chmod, fchmod, fchmodat or fchmodat2", path);
        close(fd);
    }
    return verdict();
}
