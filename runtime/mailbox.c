#include "runtime/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 50000
#define UNLUCKY 64

static_assert(sizeof(struct mailbox_half) == MAILBOX_HALF, "head and room are one half");

void mailbox_open(struct mailbox *m, struct mailbox_half *out, struct mailbox_half *in, int ring,
                  int bell)
{
    m->out = out;
    m->in = in;
    m->ring = ring;
    m->bell = bell;
    __atomic_store_n(&out->sent, m->sent, __ATOMIC_RELEASE);
    __atomic_store_n(&in->taken, m->taken, __ATOMIC_RELEASE);
}

/** Somebody may be asleep who saw nothing yet. */
static void tell(struct mailbox *m)
{
    const uint64_t one = 1;
    m->rang = false;
    __atomic_store_n(&m->out->sent, m->sent, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* sent, then asleep; mailbox_rest() has it reversed */
    if (__atomic_load_n(&m->out->asleep, __ATOMIC_RELAXED) == 0 ||
        __atomic_exchange_n(&m->out->asleep, 0, __ATOMIC_ACQ_REL) == 0)
        return;
    m->rang = true;
    /* of the keeper's it does not block; one that is full has rung */
    while (write(m->ring, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

void *mailbox_room(const struct mailbox *m)
{
    bool empty = m->out != NULL && __atomic_load_n(&m->out->taken, __ATOMIC_ACQUIRE) >= m->boxed;
    return empty ? m->out->data : NULL;
}

bool mailbox_put(struct mailbox *m, const void *data, size_t size)
{
    void *room = size <= MAILBOX_ROOM ? mailbox_room(m) : NULL;
    if (room == NULL)
        return false;
    if (room != data)
        memcpy(room, data, size);
    m->out->size = (uint32_t)size;
    __atomic_store_n(&m->out->processor, (uint32_t)sched_getcpu(), __ATOMIC_RELAXED);
    m->boxed = ++m->sent;
    __atomic_store_n(&m->out->number, m->boxed, __ATOMIC_RELEASE);
    tell(m);
    return true;
}

void mailbox_sent(struct mailbox *m)
{
    m->sent++;
    if (m->out != NULL)
        tell(m);
}

bool mailbox_full(const struct mailbox *m)
{
    return m->in != NULL && __atomic_load_n(&m->in->number, __ATOMIC_ACQUIRE) == m->taken + 1;
}

long mailbox_look(const struct mailbox *m, const void **ret)
{
    uint32_t size = __atomic_load_n(&m->in->size, __ATOMIC_RELAXED);
    *ret = m->in->data;
    return size <= MAILBOX_ROOM ? (long)size : -1;
}

long mailbox_take(struct mailbox *m, void *data)
{
    const void *from;
    long size = mailbox_look(m, &from);
    if (size < 0)
        return -1;
    mailbox_copy(data, from, (size_t)size);
    mailbox_taken(m);
    return size;
}

void mailbox_taken(struct mailbox *m)
{
    m->taken++;
    if (m->in != NULL)
        __atomic_store_n(&m->in->taken, m->taken, __ATOMIC_RELEASE);
}

bool mailbox_waiting(const struct mailbox *m)
{
    return m->in != NULL && __atomic_load_n(&m->in->sent, __ATOMIC_ACQUIRE) > m->taken;
}

void mailbox_rest(struct mailbox *m)
{
    m->resting = true;
    __atomic_store_n(&m->in->asleep, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

bool mailbox_spin(struct mailbox *m)
{
    if (__atomic_load_n(&m->in->processor, __ATOMIC_RELAXED) == (uint32_t)sched_getcpu())
        return false;
    if (m->unlucky > 0) {
        m->unlucky--;
        return false;
    }
    const uint64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 32; i++) {
            if (mailbox_full(m) || (m->bell >= 0 && mailbox_waiting(m)))
                return true;
#ifdef __x86_64__
            __builtin_ia32_pause();
#endif
        }
    } while (now_ns() < end);
    m->unlucky = UNLUCKY;
    return false;
}

/** 1: one ring was heard; 0: there will be none. */
static int hear(const struct mailbox *m)
{
    uint64_t one;
    ssize_t n;
    do
        n = read(m->bell, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    return n > 0 ? 1 : (int)n;
}

void mailbox_rise(struct mailbox *m)
{
    if (m->resting && __atomic_exchange_n(&m->in->asleep, 0, __ATOMIC_ACQ_REL) == 0 && m->bell >= 0)
        hear(m);
    m->resting = false;
}

int mailbox_wait(struct mailbox *m, int timeout_ms)
{
    struct pollfd p = {.fd = m->bell, .events = POLLIN};
    if (!m->resting && timeout_ms != 0 && m->patient && mailbox_spin(m))
        return 1;
    if (!m->resting)
        mailbox_rest(m);
    if (mailbox_waiting(m)) {
        mailbox_rise(m);
        return 1;
    }
    int rc = timeout_ms >= 0 ? poll(&p, 1, timeout_ms) : 1;
    if (rc <= 0) {
        errno = rc == 0 ? EAGAIN : errno;
        return -1;
    }
    m->resting = false;
    return hear(m);
}
