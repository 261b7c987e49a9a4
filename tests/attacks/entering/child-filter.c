/* The filter must hold in everything that comes from the program: a fork, a vfork, a thread, a
 * program that was exec'd, one that was exec'd from a memfd. keyctl stands for what is denied. */
#include "tests/attacks/attack.h"

#include <pthread.h>

static bool reached(void)
{
    return syscall(SYS_keyctl, 0, -3, 0, 0, 0) >= 0 || (errno != EPERM && errno != ENOSYS);
}

static void *thread(void *unused)
{
    (void)unused;
    if (reached())
        breach("in a thread");
    return NULL;
}

static bool ends_well(pid_t pid)
{
    int status = -1;

    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    pthread_t t;
    pid_t pid;

    if (argc > 1)
        return reached();
    if (reached())
        breach("in the program itself");
    if (pthread_create(&t, NULL, thread, NULL) == 0)
        pthread_join(t, NULL);
    else
        note("no thread: %s", strerror(errno));

    pid = fork();
    if (pid == 0)
        _exit(reached());
    if (pid > 0 && !ends_well(pid))
        breach("in a forked child");

    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", argv[0], "exec", (char *)NULL);
        _exit(0);
    }
    if (pid > 0 && !ends_well(pid))
        breach("after an exec");

    pid = fork();
    if (pid == 0) {
        int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        int fd = (int)syscall(SYS_memfd_create, "x", 0U);
        char buffer[65536];
        ssize_t n;

        while (self >= 0 && fd >= 0 && (n = read(self, buffer, sizeof(buffer))) > 0)
            if (write(fd, buffer, (size_t)n) != n)
                _exit(0);
        syscall(SYS_execveat, fd, "", (char *[]){argv[0], argv[0], NULL}, (char *[]){NULL},
                AT_EMPTY_PATH);
        _exit(0);
    }
    if (pid > 0 && !ends_well(pid))
        breach("after an exec from a memfd");
    return verdict();
}
