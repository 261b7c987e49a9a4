__asm__(".section .rodata\n.rept 2000000000\n.quad 1\n.endr\n.text");
int main(void) { return 0; }
