__asm__(".macro m\nm\nm\n.endm\nm");
int main(void) { return 0; }
