/* A parent in vfork waits uninterruptibly for a child that never execs; both must die all the same,
 * also with the child stopped. */
#include "tests/attacks/exhaustion/bomb.h"

#include <sched.h>

int main(void)
{
    only_inside();
    long pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0UL, 0UL, 0UL, 0UL);

    if (pid == 0)
        for (;;)
            raise(SIGSTOP);
    if (pid < 0)
        skip("clone: %s", strerror(errno));
    return verdict();
}
