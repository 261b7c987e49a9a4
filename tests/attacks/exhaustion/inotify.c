/* inotify instances and watches are counted by user; in a sandbox's own user namespace the pool is
 * bounded by the parent's. Takes all it gets; ends well. More than argv[1] instances is a breach.
 */
#include "tests/attacks/exhaustion/bomb.h"

#include <sys/inotify.h>

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 512), count = 0, watches = 0;

    only_inside();
    while (count < 100000) {
        int fd = inotify_init1(IN_CLOEXEC);

        if (fd < 0)
            break;
        count++;
        if (inotify_add_watch(fd, "/", IN_ALL_EVENTS) >= 0)
            watches++;
    }
    if (count > allowed)
        note("%ld watches", watches);
    return judge("inotify instances", count, allowed);
}
