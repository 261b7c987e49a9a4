#include "runtime/orphan.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/** Whether the process holds the state directory of @id, and that is deleted: proc(5) says so. */
static bool has_lost_its_state(pid_t pid, const char *id)
{
    char path[64], link[PATH_MAX], end[160];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    size_t n = (size_t)snprintf(end, sizeof end, "/sandboxes/%.64s (deleted)", id);
    _cleanup_closedir_ DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        ssize_t size = readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1);
        if (size < (ssize_t)n)
            continue;
        link[size] = '\0';
        /* the door's directory has the same end, and is there */
        if (strcmp(link + size - n, end) == 0)
            return true;
    }
    return false;
}

enum orphan orphan_end(int socket, const char *id)
{
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.uid != geteuid() ||
        who.pid <= 1 || who.pid == getpid())
        return ORPHAN_NOBODY;
    _cleanup_close_ int keeper = sys_pidfd_open(who.pid, 0);
    if (keeper < 0)
        return ORPHAN_NOBODY;
    if (!has_lost_its_state(who.pid, id))
        return ORPHAN_LIVES;
    if (sys_pidfd_send_signal(keeper, SIGKILL) < 0)
        return ORPHAN_NOBODY;
    poll(&(struct pollfd){.fd = keeper, .events = POLLIN}, 1, 2000);
    return ORPHAN_ENDED;
}
