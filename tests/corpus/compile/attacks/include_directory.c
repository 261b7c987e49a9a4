#include "/usr/include"
int main(void) { return 0; }
