#include <stdio.h>
static int counter;
static int counter(void);
#define TWICE(x) ((x) + (y))
int main(void)
{
    char *p = 5;
    printf("%d %s\n", "a", TWICE(1));
    for (int i = 0; i < 3; i++);
        puts("x")
    return prinft("\n");
}
