#include "runtime/keeper/post.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static bool on_look(void *context)
{
    struct post *p = context;
    if (p->deaf)
        return false;
    if (!mailbox_full(&p->box) && !(p->eager && mailbox_spin(&p->box))) {
        mailbox_rest(&p->box);
        if (!mailbox_full(&p->box))
            return false;
        mailbox_rise(&p->box);
    }
    p->take(p->context);
    return true;
}

static void on_bell(void *context, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    post_look(context);
}

int post_open(struct post *p, struct loop *l, const char *name, size_t size, size_t at,
              void (*take)(void *context), void *context, struct post_fds *ret, struct error *err)
{
    _cleanup_close_ int memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    _cleanup_close_ int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ends[2] = {-1, -1};
    struct loop_source *source = NULL;
    void *shared = MAP_FAILED;
    if (memory >= 0 && event >= 0 && ftruncate(memory, (off_t)size) == 0 &&
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (shared != MAP_FAILED && pipe2(ends, O_CLOEXEC) == 0 &&
        fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
        source = loop_watch(l, event, EPOLLIN | EPOLLET, on_bell, p);
    if (source == NULL) {
        error_set(err, "keeper.memory", errno, "cannot make \"%s\"", name);
        cleanup_close(&ends[0]);
        cleanup_close(&ends[1]);
        if (shared != MAP_FAILED)
            munmap(shared, size);
        return -1;
    }
    p->loop = l;
    p->look = (struct loop_look){.call = on_look, .context = p};
    p->source = source;
    p->take = take;
    p->context = context;
    p->shared = shared;
    p->size = size;
    *ret = (struct post_fds){.memory = TAKE_FD(memory), .bell = ends[0], .ring = event};
    p->eventfd = TAKE_FD(event);
    struct mailbox_shared *m = (void *)((char *)shared + at);
    mailbox_open(&p->box, &m->down, &m->up, ends[1], -1);
    post_look(p);
    return 0;
}

void post_look(struct post *p)
{
    if (p->box.in == NULL || p->deaf)
        return;
    mailbox_rise(&p->box);
    loop_look(p->loop, &p->look);
}

void post_end(struct post *p)
{
    if (p->box.in == NULL)
        return;
    loop_unlook(p->loop, &p->look);
    loop_unwatch(p->loop, p->source);
    close(p->eventfd);
    close(p->box.ring);
    p->box.in = p->box.out = NULL;
}

void post_close(struct post *p)
{
    post_end(p);
    if (p->shared != NULL)
        munmap(p->shared, p->size);
    p->shared = NULL;
}
