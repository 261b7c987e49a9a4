#include <stdio.h>
int main(void)
{
    int n, x, max = 0;
    long sum = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n - 1; i++) {
        if (scanf("%d", &x) != 1)
            return 1;
        sum += x;
        if (i == 0 || x > max)
            max = x;
    }
    if (n == 0)
        puts("0 none");
    else
        printf("%ld %d\n", sum, max);
    return 0;
}
