/* A keeper that nobody can reach any more: its socket was deleted underneath it. It holds the lock
 * of the state directory, and by that it is found. */
#include "runtime/keeper/keeper.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/** Who holds the flock(2) of that inode: a line of proc_locks(5). 0: nobody that can be seen. */
static pid_t lock_holder(const struct stat *st)
{
    char line[256];
    _cleanup_fclose_ FILE *locks = fopen("/proc/locks", "re");
    while (locks != NULL && fgets(line, sizeof line, locks) != NULL) {
        int pid;
        unsigned major, minor;
        unsigned long long inode;
        if (sscanf(line, "%*u: FLOCK ADVISORY WRITE %d %x:%x:%llu", &pid, &major, &minor, &inode) ==
                4 &&
            inode == st->st_ino && makedev(major, minor) == st->st_dev)
            return (pid_t)pid;
    }
    return 0;
}

static bool is_keeper(pid_t pid)
{
    char path[48], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    _cleanup_fclose_ FILE *comm = fopen(path, "re");
    return comm != NULL && fgets(name, sizeof name, comm) != NULL &&
           strcmp(name, "cloche-keeper\n") == 0;
}

bool holder_kill(int state_fd)
{
    struct stat st;
    pid_t pid = fstat(state_fd, &st) < 0 ? 0 : lock_holder(&st);
    _cleanup_close_ int pidfd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;
    /* asked again now that the number cannot be another's */
    return pidfd >= 0 && lock_holder(&st) == pid && is_keeper(pid) &&
           sys_pidfd_send_signal(pidfd, SIGKILL) == 0;
}
