/* Signals to everybody. PID 1 must not fall to any of them, and none may leave the sandbox: the
 * runner's bystander, a process of the same user, must still live afterwards. */
#include "tests/attacks/attack.h"

int main(void)
{
    for (int sig = 1; sig < 65; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            signal(sig, SIG_IGN);

    for (pid_t pid = 2; pid < 70000; pid++)
        if (pid != getpid() && kill(pid, SIGKILL) == 0)
            breach("killed process %d", pid);
    for (int sig = 1; sig < 65; sig++)
        kill(1, sig);
    for (int sig = 1; sig < 65; sig++)
        if (sig != SIGSTOP)
            kill(-1, sig); /* all but oneself and PID 1 */
    if (kill(1, 0) < 0 && errno == ESRCH)
        breach("PID 1 is gone and I am not: %s", strerror(errno));
    return verdict();
}
