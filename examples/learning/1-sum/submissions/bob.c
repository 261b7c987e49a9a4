#include <stdio.h>

int main(void)
{
    int a, b; /* the last test does not fit */
    scanf("%d %d", &a, &b);
    printf("%d\n", (int)((unsigned)a + (unsigned)b));
    return 0;
}
