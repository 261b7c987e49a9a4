/* CVE-2021-30465, the victim: has a tmpfs mounted below a directory that another sandbox flips to a
 * symlink out. Wherever it landed, it must not be on the host: argv[1] is the marker directory that
 * the symlink names, as the host knows it. */
#include "tests/attacks/attack.h"

int main(int argc, char **argv)
{
    if (argc > 1 && access(argv[1], F_OK) == 0)
        breach("a directory of the host is reachable as %s", argv[1]);
    return verdict();
}
