#include <stdio.h>

int main(void)
{
    double n, low = 0, high;
    scanf("%lf", &n);
    high = n; /* wrong below one */
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        if (middle * middle < n)
            low = middle;
        else
            high = middle;
    }
    printf("%.9f\n", low);
    return 0;
}
