#include <unistd.h>
#include <sys/syscall.h>
int main(void)
{
    syscall(SYS_init_module, 0, 0, "");
    return 0;
}
