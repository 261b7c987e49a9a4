#define A(x) x x x x x x x x x x
#define B(x) A(A(x))
#define C(x) B(B(x))
#define D(x) C(C(x))
int a[] = {D(D(1,))};
int main(void) { return 0; }
