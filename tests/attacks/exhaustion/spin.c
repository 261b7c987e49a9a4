/* Burns CPU in argv[1] processes; their children, too, when argv[2] is "turns": each lives only a
 * moment, so that a sum over living processes never sees it. */
#include "tests/attacks/exhaustion/bomb.h"

#include <time.h>

static void burn(double seconds)
{
    struct timespec now;

    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    while ((double)now.tv_sec + (double)now.tv_nsec / 1e9 < seconds);
}

int main(int argc, char **argv)
{
    long processes = number(argc, argv, 1, 1);

    only_inside();
    for (long i = 1; i < processes; i++)
        if (fork() == 0)
            break;
    for (;;) {
        if (argc > 2 && strcmp(argv[2], "turns") == 0) {
            pid_t pid = fork();

            if (pid == 0) {
                burn(0.02);
                _exit(0);
            }
            waitpid(pid, NULL, 0);
        } else {
            burn(1e9);
        }
    }
}
