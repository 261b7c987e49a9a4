/* ptrace in each of its forms against PID 1. The filter has to stop the first call, and the verdict
 * has to name it: what is printed here comes too late. */
#include "tests/attacks/attack.h"

#include <sys/ptrace.h>

int main(void)
{
    if (ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0)
        breach("PTRACE_SEIZE of PID 1");
    if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0)
        breach("PTRACE_ATTACH to PID 1");
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
        breach("PTRACE_TRACEME");
    return verdict();
}
