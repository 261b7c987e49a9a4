#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    for (;;)
        if (fork() < 0)
            return 7;
    return 0;
}
