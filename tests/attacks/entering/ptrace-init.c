/* ptrace in each of its forms against PID 1. Attaching ends the program, and the
 * verdict has to name the call: what is printed here comes too late. */
#include "tests/attacks/attack.h"

#include <sys/ptrace.h>

int main(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) /* programs ask this to find debuggers */
        breach("PTRACE_TRACEME");
    if (ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0)
        breach("PTRACE_SEIZE of PID 1");
    if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0)
        breach("PTRACE_ATTACH to PID 1");
    return verdict();
}
