/* Pseudo terminals are a pool of the whole machine (kernel.pty.max): opens as many as it can, in
 * eight processes; more than argv[1] is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 256), count = 0;
    int ends[2];

    only_inside();
    if (pipe(ends) < 0)
        skip("pipe: %s", strerror(errno));
    for (int process = 0; process < 8; process++) {
        if (fork() != 0)
            continue;
        while (open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0)
            if (write(ends[1], "", 1) != 1)
                _exit(1);
        close(ends[1]);
        for (;;)
            pause();
    }
    close(ends[1]);
    for (char one; read(ends[0], &one, 1) == 1;)
        count++;
    kill(-1, SIGKILL);
    return judge("pseudo terminals", count, allowed);
}
