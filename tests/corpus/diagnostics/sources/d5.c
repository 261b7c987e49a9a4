int main(void) { asm("bogus %eax"); return 0; }
