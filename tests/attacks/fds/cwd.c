/* Run with a working directory of /proc/self/fd/N: if it leads to a directory of the host, the
 * marker file that only the host has (argv[1], absolute) can be reached from there by "..". */
#include "tests/attacks/attack.h"

int main(int argc, char **argv)
{
    char path[PATH_MAX], cwd[PATH_MAX];

    if (argc < 2)
        skip("no marker given");
    if (syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0 && cwd[0] != '/')
        breach("the working directory is outside: %s", cwd);
    for (int up = 0; up < 24; up++) {
        size_t at = 0;

        for (int i = 0; i < up; i++)
            at += (size_t)snprintf(path + at, sizeof(path) - at, "../");
        snprintf(path + at, sizeof(path) - at, "%s", argv[1] + 1);
        if (access(path, F_OK) == 0) {
            breach("a file of the host is reachable as %s", path);
            break;
        }
    }
    if (access(argv[1], F_OK) == 0)
        breach("a file of the host is reachable as %s", argv[1]);
    return verdict();
}
