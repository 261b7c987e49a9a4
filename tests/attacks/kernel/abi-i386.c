/* The other door into an x86-64 kernel: int 0x80 takes i386 numbers, which a filter for native
 * numbers reads wrongly (20 is getpid there and writev here). Must be killed. */
#include "tests/attacks/attack.h"

int main(void)
{
#if defined(__x86_64__)
    int result;

    note("entering by int 0x80");
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    if (result == -ENOSYS)
        return verdict();
    breach("getpid by int 0x80 says %d", result);
    return verdict();
#else
    skip("not an x86-64 machine");
#endif
}
