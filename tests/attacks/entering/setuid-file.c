/* A file with the set-user-id and set-group-id bits, brought in on a volume and owned by whoever
 * runs the tests: running it must give nobody's rights. argv[1] is that file, a copy of this one.
 */
#include "tests/attacks/attack.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "inner") == 0) {
        if (getuid() != geteuid() || getgid() != getegid())
            breach("set-id bits gave uid %u, gid %u", geteuid(), getegid());
        return verdict();
    }
    if (argc < 2)
        skip("no file given");
    execl(argv[1], argv[1], "inner", (char *)NULL);
    if (errno == EACCES || errno == EPERM)
        return verdict(); /* a nosuid, noexec volume is as good an answer */
    skip("cannot run %s: %s", argv[1], strerror(errno));
}
