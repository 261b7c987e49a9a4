/* 100 000 threads, by the raw call and without a stack of their own size: threads count as
 * processes. More than argv[1] is a breach. */
#include "tests/attacks/exhaustion/bomb.h"

#include <pthread.h>

static void *idle(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

int main(int argc, char **argv)
{
    long allowed = number(argc, argv, 1, 64), count = 1;
    pthread_attr_t attributes;
    pthread_t t;

    only_inside();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    while (count < 100000 && pthread_create(&t, &attributes, idle, NULL) == 0)
        count++;
    return judge("threads", count, allowed);
}
