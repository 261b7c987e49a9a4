#include "runtime/launch.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/packet.h"
#include "base/syscalls.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define KEEPER "cloche-keeper"

/** Where the keeper's program is: beside this one, else where it was installed. */
static void find_keeper(char *path, size_t size)
{
    const char *given = getenv("CLOCHE_KEEPER");
    if (given != NULL && given[0] == '/') {
        snprintf(path, size, "%s", given);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof KEEPER);
    if (n > 0) {
        path[n] = '\0';
        char *name = strrchr(path, '/') + 1;
        memcpy(name, KEEPER, sizeof KEEPER);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, size, "%s/" KEEPER, CLOCHE_BINDIR);
}

/* Twice cloned, so that the keeper is nobody's child. The keeper lets signals in again. */

struct start {
    char path[PATH_MAX];
    char *argv[3];
    int mine, theirs;
    char stacks[2][BESIDE_STACK] __attribute__((aligned(16)));
};

static int be_keeper(void *argument)
{
    const struct start *s = argument;
    if (dup2(s->theirs, 3) < 0 || sys_close_range(4, ~0U, 0) < 0 || chdir("/") < 0)
        return 1;
    execv(s->path, s->argv);
    return 127;
}

static int be_parent(void *argument)
{
    struct start *s = argument;
    return setsid() < 0 || beside_start(be_keeper, s, s->stacks[1]) < 0;
}

static int prepare(struct start *s, const char *id, struct error *err)
{
    int ends[2];
    find_keeper(s->path, sizeof s->path);
    if (access(s->path, X_OK) < 0) {
        error_set(err, "keeper.start", errno, "cannot run the keeper \"%s\"", s->path);
        return error_hint(err, "install it beside cloche, or name it in CLOCHE_KEEPER");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set(err, "keeper.start", errno, "cannot start a keeper");
    s->argv[0] = (char *)(uintptr_t)KEEPER;
    s->argv[1] = (char *)(uintptr_t)id;
    s->argv[2] = NULL;
    s->mine = ends[0];
    s->theirs = ends[1];
    if (s->theirs == 3) { /* where the keeper finds it; dup2 onto itself would not keep it open */
        s->theirs = fcntl(3, F_DUPFD_CLOEXEC, 4);
        close(3);
    }
    return 0;
}

int keeper_spawn(const char *id, struct error *err)
{
    struct start s;
    int status = 0;
    if (prepare(&s, id, err) < 0)
        return -1;
    pid_t first = beside_start(be_parent, &s, s.stacks[0]);
    while (first >= 0 && waitpid(first, &status, 0) < 0 && errno == EINTR)
        continue;
    if (first < 0)
        error_set(err, "keeper.start", errno, "cannot start a keeper");
    else if (status != 0)
        error_set(err, "keeper.start", EAGAIN, "cannot start a keeper");
    close(s.theirs);
    if (first >= 0 && status == 0)
        return s.mine;
    close(s.mine);
    return -1;
}

void keeper_announce(int socket)
{
    char number[16];
    snprintf(number, sizeof number, "%d", socket);
    setenv(KEEPER_EARLY, number, 1);
}

int keeper_tell(int socket, const char *id, const char *task, int network, struct error *err)
{
    const struct iovec part = {.iov_base = (void *)(uintptr_t)task, .iov_len = strlen(task)};
    if (packet_send(socket, &part, 1, &network, network >= 0, 0) == 0)
        return 0;
    return error_set(err, "keeper.start", 0, "the keeper of \"%s\" ended before it was ready", id);
}

void keeper_dismiss(int socket)
{
    char none;
    if (socket < 0)
        return;
    shutdown(socket, SHUT_WR);
    while (recv(socket, &none, sizeof none, 0) < 0 && errno == EINTR)
        continue;
    close(socket);
}
