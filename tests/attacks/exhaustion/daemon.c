/* A double fork with sessions of its own: after the program's end the daemons would live on,
 * holding its output open, and eat CPU. The runner's wall bound and its look at what is left judge.
 * With "stay" the program does not end either, and it is the runtime that the runner kills. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    int ready[2];
    char byte;

    only_inside();
    if (pipe(ready) < 0)
        return STATUS_BREACH;
    for (int i = 0; i < 8; i++) {
        if (fork() != 0)
            continue;
        setsid();
        for (int sig = 1; sig < 65; sig++)
            signal(sig, SIG_IGN);
        if (fork() != 0)
            _exit(0);
        setsid();
        close(ready[0]);
        close(ready[1]); /* the last of them to come up ends the wait below */
        for (;;)
            if (i % 2)
                getppid();
            else
                pause();
    }
    close(ready[1]);
    while (read(ready[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    if (argc > 1 && strcmp(argv[1], "stay") == 0) {
        if (write(1, "ready\n", 6) < 0)
            return STATUS_BREACH;
        for (;;)
            pause();
    }
    return verdict();
}
