#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    for (;;) {
        char *p = malloc(1 << 20);
        if (p != NULL)
            memset(p, 1, 1 << 20);
    }
    return 0;
}
