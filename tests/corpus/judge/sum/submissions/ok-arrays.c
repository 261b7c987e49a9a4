#include <stdio.h>
static int v[100000];
int main(void)
{
    int n = 0;
    long s = 0;
    scanf("%d", &n);
    for (int i = 0; i < n; i++) {
        scanf("%d", v + i);
        s += v[i];
    }
    int m = v[0];
    for (int i = 1; i < n; i++)
        m = v[i] > m ? v[i] : m;
    n ? printf("%ld %d", s, m) : printf("0 none");
    return 0;
}
