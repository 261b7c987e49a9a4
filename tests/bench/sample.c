/* A submission of some 200 lines, for the bench. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cmp_0(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_0(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_0);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 1)
            s += sqrt((double)(v[i] * v[j] + 0));
    }
    return s / (n + 0);
}
static int cmp_1(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_1(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_1);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 2)
            s += sqrt((double)(v[i] * v[j] + 1));
    }
    return s / (n + 1);
}
static int cmp_2(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_2(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_2);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 3)
            s += sqrt((double)(v[i] * v[j] + 2));
    }
    return s / (n + 2);
}
static int cmp_3(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_3(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_3);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 4)
            s += sqrt((double)(v[i] * v[j] + 3));
    }
    return s / (n + 3);
}
static int cmp_4(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_4(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_4);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 5)
            s += sqrt((double)(v[i] * v[j] + 4));
    }
    return s / (n + 4);
}
static int cmp_5(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_5(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_5);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 6)
            s += sqrt((double)(v[i] * v[j] + 5));
    }
    return s / (n + 5);
}
static int cmp_6(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_6(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_6);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 7)
            s += sqrt((double)(v[i] * v[j] + 6));
    }
    return s / (n + 6);
}
static int cmp_7(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_7(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_7);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 8)
            s += sqrt((double)(v[i] * v[j] + 7));
    }
    return s / (n + 7);
}
static int cmp_8(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_8(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_8);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 9)
            s += sqrt((double)(v[i] * v[j] + 8));
    }
    return s / (n + 8);
}
static int cmp_9(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_9(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_9);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 10)
            s += sqrt((double)(v[i] * v[j] + 9));
    }
    return s / (n + 9);
}
static int cmp_10(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_10(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_10);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 11)
            s += sqrt((double)(v[i] * v[j] + 10));
    }
    return s / (n + 10);
}
static int cmp_11(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    return a < b ? -1 : a > b;
}
static double work_11(int *v, int n)
{
    double s = 0;
    qsort(v, n, sizeof *v, cmp_11);
    for (int i = 0; i < n; i++) {
        for (int j = i; j < n; j += 12)
            s += sqrt((double)(v[i] * v[j] + 11));
    }
    return s / (n + 11);
}
int main(void)
{
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    int *v = malloc(sizeof *v * (n + 1));
    for (int i = 0; i < n; i++)
        scanf("%d", &v[i]);
    printf("%.3f\n", work_0(v, n));
    printf("%.3f\n", work_1(v, n));
    printf("%.3f\n", work_2(v, n));
    printf("%.3f\n", work_3(v, n));
    printf("%.3f\n", work_4(v, n));
    printf("%.3f\n", work_5(v, n));
    printf("%.3f\n", work_6(v, n));
    printf("%.3f\n", work_7(v, n));
    printf("%.3f\n", work_8(v, n));
    printf("%.3f\n", work_9(v, n));
    printf("%.3f\n", work_10(v, n));
    printf("%.3f\n", work_11(v, n));
    free(v);
    return 0;
}
