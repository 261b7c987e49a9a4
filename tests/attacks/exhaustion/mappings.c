/* As many mappings as the kernel gives (vm.max_map_count), in as many processes as there may be:
 * page tables and structures of the kernel, which count as memory, too. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    pid_t pid = 1;

    only_inside();
    for (int i = 0; i < 16 && pid > 0; i++)
        pid = fork();
    for (int i = 0; i < 100000; i++) {
        int protection = i % 2 ? PROT_READ : PROT_READ | PROT_WRITE; /* keeps neighbours apart */

        if (mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
    }
    if (pid == 0)
        _exit(0);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return verdict();
}
