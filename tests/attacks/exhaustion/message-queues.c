/* POSIX message queues of the largest size, by name and full; argv[1] MiB must not be had. */
#include "tests/attacks/exhaustion/bomb.h"

#include <mqueue.h>

int main(int argc, char **argv)
{
    static char message[8192];
    long allowed = number(argc, argv, 1, 16), queues = 0, messages = 0;

    only_inside();
    while (queues < 100000) {
        struct mq_attr size = {.mq_maxmsg = 10, .mq_msgsize = sizeof(message)};
        char name[32];

        snprintf(name, sizeof(name), "/bomb-%ld", queues);
        mqd_t q = mq_open(name, O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &size);

        if (q == (mqd_t)-1)
            break;
        queues++;
        while (mq_send(q, message, sizeof(message), 0) == 0)
            messages++;
        mq_close(q);
    }
    return judge("MiB in message queues", messages * (long)sizeof(message) >> 20, allowed);
}
