/* Orphans by the thousand, one after the other: PID 1 must reap them, or the process limit is met
 * although hardly anything runs. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long wanted = number(argc, argv, 1, 500);

    only_inside();
    for (long i = 0; i < wanted; i++) {
        pid_t pid = -1;

        for (int tries = 0; pid < 0 && tries < 2000; tries++) {
            pid = fork();
            if (pid < 0)
                usleep(1000);
        }
        if (pid < 0) {
            breach("PID 1 does not reap: no fork after %ld orphans", i);
            return verdict();
        }
        if (pid == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    return verdict();
}
