#include <string.h>
#include <sys/mman.h>
int main(void)
{
    for (int i = 0;; i++) {
        char *p = mmap(NULL, 1 << 22, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p != MAP_FAILED)
            memset(p, 1, 1 << 22);
    }
    return 0;
}
