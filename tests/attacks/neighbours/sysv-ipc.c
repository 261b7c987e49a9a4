/* System V shared memory, semaphores and message queues, found by their key and by their number. */
#include "tests/attacks/neighbours/neighbour.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum { KEY = 0x47474747 };

int main(int argc, char **argv)
{
    if (leaving(argc, argv)) {
        bool left = shmget(KEY, 4096, IPC_CREAT | 0666) >= 0;

        left = semget(KEY, 1, IPC_CREAT | 0666) >= 0 || left;
        left = msgget(KEY, IPC_CREAT | 0666) >= 0 || left;
        return hold(left ? NULL : "shmget, semget, msgget");
    }
    if (shmget(KEY, 0, 0) >= 0)
        breach("found shared memory");
    if (semget(KEY, 0, 0) >= 0)
        breach("found semaphores");
    if (msgget(KEY, 0) >= 0)
        breach("found a message queue");
    for (int id = 0; id < 64; id++) {
        struct shmid_ds shm;
        struct msqid_ds queue;

        if (shmctl(id, SHM_STAT, &shm) >= 0)
            breach("found shared memory %d", id);
        if (msgctl(id, MSG_STAT, &queue) >= 0)
            breach("found message queue %d", id);
    }
    return verdict();
}
