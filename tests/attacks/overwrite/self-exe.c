/* CVE-2019-5736 in its simplest form: write to the file that this process runs, by every name
 * that /proc has for it. In a sandbox that file is ours or the runtime's; neither may change. */
#include "tests/attacks/attack.h"

int main(void)
{
    static const char *const names[] = {"/proc/self/exe", "/proc/thread-self/exe",
                                        "/proc/self/root/proc/self/exe"};
    char again[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (writable(names[i]))
            breach("%s opened for writing", names[i]);
        if (truncate(names[i], 0) == 0)
            breach("%s truncated", names[i]);
        if (chmod(names[i], 0777) == 0)
            breach("mode of %s changed", names[i]);

        int fd = open(names[i], O_PATH | O_CLOEXEC);

        if (fd < 0)
            continue;
        snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
        if (writable(again))
            breach("%s reopened for writing", names[i]);
        close(fd);
    }
    return verdict();
}
