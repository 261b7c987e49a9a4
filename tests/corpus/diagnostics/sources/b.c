#include <stdio.h>
struct point { int xcoord; };
static int f(int a) { return a }
int main(void)
{
    struct point p; int u;
    printf("%d %s\n", p.xcord, 5)
    undeclared();
    return "x";
}
