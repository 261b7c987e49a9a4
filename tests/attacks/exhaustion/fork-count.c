/* Counts how many processes can live at once; more than argv[1] is a breach. Ends well, so that the
 * verdict of a program that met the process limit and coped is seen, too. */
#include "tests/attacks/exhaustion/bomb.h"

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 64), count = 1; /* this one */

    only_inside();
    while (count < 4096) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid == 0)
            for (;;)
                pause();
        count++;
    }
    kill(-1, SIGKILL);
    return judge("processes", count, allowed);
}
