/* Reserves address space without touching it, as far as it goes: must cost nothing and end well. */
#include "tests/attacks/exhaustion/bomb.h"

int main(void)
{
    size_t size = (size_t)1 << 46;
    int count = 0;

    only_inside();
    while (size >= 4096 && count < 70000) {
        if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0) == MAP_FAILED)
            size /= 2;
        else
            count++;
    }
    return verdict();
}
