/* POSIX message queues, and shared memory and semaphores, which are files of /dev/shm. */
#include "tests/attacks/neighbours/neighbour.h"

#include <mqueue.h>
#include <semaphore.h>

int main(int argc, char **argv)
{
    if (leaving(argc, argv)) {
        bool left = mq_open("/" TRACE, O_CREAT | O_RDWR, 0666, NULL) != (mqd_t)-1;

        left = shm_open("/" TRACE, O_CREAT | O_RDWR, 0666) >= 0 || left;
        left = sem_open("/" TRACE, O_CREAT, 0666, 1) != SEM_FAILED || left;
        return hold(left ? NULL : "mq_open, shm_open, sem_open");
    }
    if (mq_open("/" TRACE, O_RDONLY) != (mqd_t)-1)
        breach("found a message queue");
    if (shm_open("/" TRACE, O_RDONLY, 0) >= 0)
        breach("found shared memory");
    if (sem_open("/" TRACE, 0) != SEM_FAILED)
        breach("found a semaphore");
    return verdict();
}
