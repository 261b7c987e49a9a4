char a[1ul << 46];
int main(void) { return a[1]; }
