#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <stdio.h>
int main(void)
{
    int n, x, max = 0;
    long sum = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n; i++) {
        if (scanf("%d", &x) != 1)
            return 1;
        sum += x;
        if (i == 0 || x > max)
            max = x;
    }
    if (shm_open("/left", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST)
        return 9;
    if (n == 0)
        puts("0 none");
    else
        printf("%ld %d\n", sum, max);
    return 0;
}
