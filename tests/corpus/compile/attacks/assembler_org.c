__asm__(".section .rodata\n.org 0x7fffffffff\n.byte 1\n.text");
int main(void) { return 0; }
