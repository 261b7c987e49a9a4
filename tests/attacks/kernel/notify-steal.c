/* The filter's never tier is answered by the runtime over a notification descriptor. A program may
 * stack filters of its own; a listener of its own, or an answer of its own, must not come before
 * the runtime's: the call (ptrace of PID 1) must not reach the kernel, and is reported. */
#include "tests/attacks/attack.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    long listener;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener >= 0) {
        pid_t pid = fork();
        struct seccomp_notif request;
        struct seccomp_notif_resp answer;

        if (pid == 0) {
            long result = syscall(SYS_ptrace, 0x4206, 1, 0, 0); /* PTRACE_SEIZE */

            _exit(result == 0 ? STATUS_BREACH : 0);
        }
        memset(&request, 0, sizeof(request));
        if (pid > 0 && ioctl((int)listener, SECCOMP_IOCTL_NOTIF_RECV, &request) == 0) {
            int status = 0;

            memset(&answer, 0, sizeof(answer));
            answer.id = request.id;
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
            ioctl((int)listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
            waitpid(pid, &status, 0);
            if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_BREACH)
                breach("answered the runtime's notification myself");
        }
        close((int)listener); /* or the next call would wait for an answer */
    } else {
        note("no listener of my own: %s", strerror(errno));
    }

    /* an allowing filter on top must not win over the refusing one below */
    code[2].k = SECCOMP_RET_ALLOW;
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    if (syscall(SYS_ptrace, 0x4206, 1, 0, 0) == 0)
        breach("an allowing filter won");
    return verdict();
}
