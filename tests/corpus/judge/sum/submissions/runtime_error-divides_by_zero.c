#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    volatile int z = 0;
    printf("%d\n", 7 / z);
    return 0;
}
