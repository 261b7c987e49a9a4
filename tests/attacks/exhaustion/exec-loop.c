/* Replaces itself again and again, so that a watcher who looks at a process by its name or start
 * finds another one each time; burns its CPU limit. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    only_inside();
    (void)argc;
    execl("/proc/self/exe", argv[0], "again", (char *)NULL);
    skip("exec: %s", strerror(errno));
}
