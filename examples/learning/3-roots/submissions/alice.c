#include <stdio.h>

int main(void)
{
    double n, x;
    if (scanf("%lf", &n) != 1)
        return 1;
    x = n > 1 ? n : 1;
    for (int i = 0; i < 200; i++)
        x = (x + n / x) / 2;
    printf("%.9f\n", x);
    return 0;
}
