/* Personalities that switch defences off: no address randomisation, executable data, a mappable
 * page zero. The kernel reads 32 bits of the argument. */
#include "tests/attacks/attack.h"

#include <sys/personality.h>

int main(void)
{
    static const unsigned long wanted[] = {ADDR_NO_RANDOMIZE,  READ_IMPLIES_EXEC, MMAP_PAGE_ZERO,
                                           ADDR_COMPAT_LAYOUT, ADDR_LIMIT_3GB,    STICKY_TIMEOUTS};

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (syscall(SYS_personality, wanted[i]) >= 0)
            breach("personality %#lx", wanted[i]);
        if (syscall(SYS_personality, wanted[i] | 1UL << 32) >= 0)
            breach("personality %#lx with a high bit", wanted[i]);
    }
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        NULL)
        breach("page zero is mapped");
    return verdict();
}
