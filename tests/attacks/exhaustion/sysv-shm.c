/* System V shared memory outlives its process: fill it, detach, exit. argv[1] MiB must not be had;
 * what there was must be gone with the sandbox. */
#include "tests/attacks/exhaustion/bomb.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 1024), held = 0;
    const size_t size = 16 << 20;

    only_inside();
    while (held <= allowed) {
        int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
        void *p = id < 0 ? MAP_FAILED : shmat(id, NULL, 0);

        if (p == MAP_FAILED)
            break;
        memset(p, 1, size);
        shmdt(p);
        held += 16;
    }
    return judge("MiB of System V shared memory", held, allowed);
}
