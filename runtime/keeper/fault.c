#include "runtime/keeper/fault.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(int step, pid_t keeper)
{
    static const char *file;
    static int known;
    char here[16], wanted[16] = "";
    if (!known) {
        file = getenv("CLOCHE_KEEPER_FAULT");
        known = 1;
    }
    if (file == NULL)
        return;
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || read(fd, wanted, sizeof wanted - 1) <= 0)
        return;
    snprintf(here, sizeof here, "%d", step);
    if (strcmp(here, wanted) == 0)
        kill(keeper != 0 ? keeper : getpid(), SIGKILL);
}
