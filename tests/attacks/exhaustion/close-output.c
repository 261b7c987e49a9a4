/* Closes all of its descriptors and goes on: the end of its output is not its end. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    only_inside();
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    for (;;)
        pause();
}
