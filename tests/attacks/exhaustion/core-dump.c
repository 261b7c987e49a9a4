/* Dies by SIGABRT, with a core limit raised as far as it goes and much memory: no core file may
 * appear anywhere on the host, and no time be spent on one. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    struct rlimit limit;
    size_t size = 64 << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    only_inside();
    if (p != MAP_FAILED)
        memset(p, 1, size);
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        if (limit.rlim_max > 1) /* 1 is what keeps a core_pattern pipe from being run, too */
            breach("the core limit is %llu", (unsigned long long)limit.rlim_max);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_CORE, &limit);
    }
    if (attack_breached)
        return verdict();
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    abort();
}
