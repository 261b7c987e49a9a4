/* The x32 numbers (native + 2^30): another name for every call that a filter has. Must be killed,
 * or be unknown to the kernel. */
#include "tests/attacks/attack.h"

int main(void)
{
#if defined(__x86_64__)
    long result;

    note("entering by the x32 table");
    result = syscall(0x40000000L | SYS_getpid);
    if (result >= 0 || errno != ENOSYS)
        breach("x32 getpid says %ld, %s", result, strerror(errno));
    result = syscall(0x40000000L | SYS_keyctl, 0, -3, 0);
    if (result >= 0 || errno != ENOSYS)
        breach("x32 keyctl says %ld, %s", result, strerror(errno));
    return verdict();
#else
    skip("not an x86-64 machine");
#endif
}
