/*
 * How a filter is put to work: the load, the listener. Where it comes from: seccomp_cache.c.
 */
#include "isolation/seccomp.h"

#include "base/syscalls.h"
#include "isolation/seccomp_private.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

struct seccomp_abilities seccomp_probe(void)
{
    uint32_t action = SECCOMP_RET_USER_NOTIF;
    return (struct seccomp_abilities){.notify =
                                          sys_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0};
}

void seccomp_filter_free(struct seccomp_filter *f)
{
    free(f->instructions);
    *f = (struct seccomp_filter){0};
}

int seccomp_filter_load(const struct seccomp_filter *f)
{
    if (f->instructions == NULL)
        return 0;
    struct sock_fprog program = {.len = f->count, .filter = f->instructions};
    if (!f->notifies)
        return sys_seccomp(SECCOMP_SET_MODE_FILTER, f->flags, &program);

    /* 5.19 and later: a caller that waits for an answer can only be woken by a fatal signal, so
     * that no handler restarts a call which was already reported */
    unsigned flags = f->flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
    int fd = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                         &program);
    if (fd < 0 && errno == EINVAL)
        fd = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd >= 0 || errno != EBUSY)
        return fd;

    /* Somebody around us listens already, and there can be only one: end the caller instead. The
     * memory is this process's own. */
    for (unsigned i = 0; i < f->count; i++) {
        struct sock_filter *s = &f->instructions[i];
        if (s->code == (BPF_RET | BPF_K) && s->k == SECCOMP_RET_USER_NOTIF)
            s->k = SECCOMP_RET_KILL_PROCESS;
    }
    return sys_seccomp(SECCOMP_SET_MODE_FILTER, f->flags, &program);
}

static int notification_sizes_fit(size_t request, size_t response)
{
    struct seccomp_notif_sizes sizes;

    if (sys_seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -1;
    if (sizes.seccomp_notif > request || sizes.seccomp_notif_resp > response) {
        errno = EOVERFLOW;
        return -1;
    }
    return 0;
}

int seccomp_receive_notification(int listener, const char **ret_name, int *ret_pid,
                                 uint64_t *ret_id)
{
    static char number[32];
    /* the kernel's structures may have grown since these headers */
    union {
        struct seccomp_notif n;
        char room[512];
    } request;
    struct pollfd ready = {.fd = listener, .events = POLLIN};

    if (notification_sizes_fit(sizeof request, sizeof request) < 0)
        return -1;
    int events = poll(&ready, 1, 0);
    if (events < 0)
        return -1;
    if (events == 0 || (ready.revents & POLLIN) == 0) {
        errno = events == 0 ? EAGAIN : ENOENT;
        return -1;
    }
    memset(&request, 0, sizeof request); /* the kernel wants zeroes */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
        return -1;

    *ret_pid = (int)request.n.pid;
    *ret_name = seccomp_syscall_name(request.n.data.nr);
    if (*ret_name == NULL) {
        snprintf(number, sizeof number, "syscall_%d", request.n.data.nr);
        *ret_name = number;
    }
    *ret_id = request.n.id;
    return 0;
}

int seccomp_take_notification(int listener, const char **ret_name, int *ret_pid)
{
    union {
        struct seccomp_notif_resp r;
        char room[512];
    } response;

    memset(&response, 0, sizeof response);
    uint64_t id;
    if (seccomp_receive_notification(listener, ret_name, ret_pid, &id) < 0)
        return -1;
    response.r.id = id;
    response.r.error = -EPERM;
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 ? -1 : 0;
}
