/* Children that end and are never waited for; then the parent ends, too, and PID 1 has them all. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 64), count = 0;

    only_inside();
    for (int i = 0; i < 100000; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        if (pid < 0)
            break;
        count++;
    }
    return judge("zombies", count, allowed);
}
