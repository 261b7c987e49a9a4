/* Does to its host what a module must not: each request names a deed. It knows the wire as well as
 * the worker that loaded it does, since it lives in the same process.
 *
 * Built for what the worker believes of a module, NO_REDISPATCH says that a request that killed it
 * is not tried again. */
#define _GNU_SOURCE
#include <cloche/module.h>

#include "runtime/worker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct cloche_host *host;
static jmp_buf gone_by;
static uint64_t request_id;

static int init(const struct cloche_host *h, void **self)
{
    (void)self;
    host = h;
    return setjmp(gone_by);
}

/* --- frames --------------------------------------------------------------------------------------
 */

static void send_numbered(uint64_t number, const void *data, size_t size, const int *fds, int count)
{
    char space[CMSG_SPACE(sizeof(int) * 16)] = "";
    struct iovec io[] = {{&number, sizeof number}, {(void *)(uintptr_t)data, size}};
    struct msghdr m = {.msg_iov = io, .msg_iovlen = 2};
    if (count > 0) {
        m.msg_control = space;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
    }
    while (sendmsg(WIRE_SOCKET, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

/** Counted as the worker counts, in its own memory, so that what it says itself comes next. */
static void send_raw(const void *data, size_t size, const int *fds, int count)
{
    send_numbered(++((struct host *)host->opaque)->box.sent, data, size, fds, count);
}

static void send_record(unsigned type, uint64_t id, uint64_t value, const char *text, int fd)
{
    _Alignas(8) unsigned char packet[sizeof(struct wire_record) + 64] = {0};
    struct wire_record r = {.type = (uint16_t)type,
                            .flags = fd >= 0 ? WIRE_FD : 0,
                            .size = (uint32_t)strlen(text),
                            .id = id,
                            .value = value};
    memcpy(packet, &r, sizeof r);
    memcpy(packet + sizeof r, text, r.size);
    send_raw(packet, sizeof r + ((r.size + 7) & ~7u), &fd, fd >= 0);
}

static int memory(off_t size, int seals)
{
    int fd = (int)syscall(SYS_memfd_create, "x", 2u /* sealing */);
    if (ftruncate(fd, size) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
        return -1;
    return fd;
}

#define SEALED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int forge_reply(void)
{
    send_record(WIRE_REPLY, request_id + 1000, 0, "forged", -1);
    return 0;
}
static int forge_done(void)
{
    send_record(WIRE_DONE, 0, 0, "", -1);
    return 0;
}
static int answer_twice(void)
{
    send_record(WIRE_REPLY, request_id, 0, "first", -1);
    return 0; /* the second */
}
static int answer_thrice(void)
{
    for (int i = 0; i < 300; i++)
        send_record(WIRE_REPLY, request_id + (uint64_t)i, 0, "future", -1);
    return 0;
}
static int down_types(void)
{
    for (unsigned type = WIRE_INIT; type <= WIRE_ENDED; type++)
        send_record(type, 1, 1, "x", -1);
    return 0;
}
static int unknown_type(void)
{
    send_record(999, 1, 1, "x", -1);
    return 0;
}
static int short_packet(void)
{
    send_raw("abc", 3, NULL, 0);
    return 0;
}
static int long_record(void)
{
    struct wire_record r = {.type = WIRE_LOG, .size = 0xfffffff8u};
    send_raw(&r, sizeof r, NULL, 0);
    return 0;
}
static int large_packet(void)
{
    static char zeroes[100000];
    send_raw(zeroes, sizeof zeroes, NULL, 0);
    return 0;
}
static int wrong_number(uint64_t number)
{
    struct wire_record r = {.type = WIRE_LOG};
    send_numbered(number, &r, sizeof r, NULL, 0);
    pause(); /* nothing else breaks a rule */
    return 0;
}
static int number_again(void)
{
    return wrong_number(((struct host *)host->opaque)->box.sent);
}
static int number_ahead(void)
{
    return wrong_number(((struct host *)host->opaque)->box.sent + 2);
}
static int number_alone(void)
{
    uint64_t number = ((struct host *)host->opaque)->box.sent + 1;
    send_numbered(number, NULL, 0, NULL, 0);
    pause();
    return 0;
}
static int no_file(void)
{
    struct wire_record r = {.type = WIRE_REPLY, .flags = WIRE_FD, .id = request_id};
    send_raw(&r, sizeof r, NULL, 0);
    return 0;
}
static int unsealed_file(void)
{
    send_record(WIRE_REPLY, request_id, 0, "", memory(100, 0));
    return 0;
}
static int huge_file(void)
{
    send_record(WIRE_REPLY, request_id, 0, "", memory((off_t)1 << 30, SEALED));
    return 0;
}
static int other_file(void)
{
    send_record(WIRE_REPLY, request_id, 0, "", open("/dev/zero", O_RDONLY));
    return 0;
}
static int many_files(void)
{
    int fds[16];
    struct wire_record r = {.type = WIRE_LOG};
    for (int i = 0; i < 16; i++)
        fds[i] = memory(1, SEALED);
    for (int round = 0; round < 200; round++)
        send_raw(&r, sizeof r, fds, 16);
    return 0;
}
static int files_with_lines(void)
{
    for (int i = 0; i < 2000; i++) {
        int fd = memory(1, SEALED);
        send_record(WIRE_LOG, 0, 2, "with a file", fd);
        close(fd);
    }
    return 0;
}
static int flood(void)
{
    for (int i = 0; i < 200000; i++)
        send_record(WIRE_LOG, 0, 2, "flooded", -1);
    return 0;
}
static int talk(void)
{
    for (;;) {
        send_record(WIRE_LOG, 0, 2, "still at it", -1);
        usleep(20000);
    }
}
static int timers(void)
{
    const struct cloche_timer_v1 *t = cloche_get(host, CLOCHE_TIMER_ID);
    for (uint64_t i = 0; t != NULL && i < 250; i++)
        t->start(host, i, 1, 1);
    return 0;
}
static int more_timers(void)
{
    const struct cloche_timer_v1 *t = cloche_get(host, CLOCHE_TIMER_ID);
    for (uint64_t i = 0; t != NULL && i < 100000; i++)
        t->start(host, i, UINT64_MAX, UINT64_MAX);
    return 0;
}
static int children(void)
{
    const struct cloche_children_v1 *c = cloche_get(host, CLOCHE_CHILDREN_ID);
    uint64_t number;
    for (int i = 0; c != NULL && i < 1000; i++)
        c->start(host, "{\"id\":\"x\",\"kind\":\"command\",\"args\":[\"/bin/sleep\",\"1000\"]}",
                 &number);
    return 0;
}
static void *write_for_ever(void *context)
{
    static char lines[4096];
    (void)context;
    memset(lines, 'x', sizeof lines);
    for (;;) {
        if (write(1, lines, sizeof lines) < 0)
            return NULL;
    }
}
/* The pipe of the log is read by who writes into it for this module: can that one be stuck? */
static int full_pipe(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, write_for_ever, NULL);
    for (int i = 0; i < 30000; i++)
        send_record(WIRE_LOG, 0, 2, "between them", -1);
    return 0;
}
static int close_socket(void)
{
    close(WIRE_SOCKET);
    pause();
    return 0;
}
static int shut_socket(void)
{
    shutdown(WIRE_SOCKET, SHUT_RDWR);
    pause();
    return 0;
}
static int steal_packets(void)
{
    char packet[1024];
    while (recv(WIRE_SOCKET, packet, sizeof packet, 0) > 0)
        continue;
    return 0;
}

/* --- files, processes, memory --------------------------------------------------------------------
 */

static int write_everywhere(void)
{
    static char junk[512];
    memset(junk, 0xa5, sizeof junk);
    for (int fd = 0; fd < 1024; fd++) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
        if (write(fd, junk, sizeof junk) < 0 && ftruncate(fd, 0) < 0)
            continue;
    }
    pause(); /* a reply goes by memory, and may be there first */
    return 0;
}
static int fork_bomb(void)
{
    for (;;)
        fork();
}
static int crowd(void)
{
    for (pid_t pid; (pid = fork()) >= 0;) {
        while (pid == 0)
            pause();
    }
    return 0;
}

static int forks_and_leaves(void)
{
    for (int i = 0; i < 60; i++) {
        if (fork() == 0) {
            setsid();
            for (int s = 1; s < 32; s++)
                signal(s, SIG_IGN);
            for (;;)
                pause();
        }
    }
    _exit(0);
}
static int all_memory(void)
{
    for (;;) {
        char *at = malloc(1 << 20);
        if (at == NULL)
            abort();
        memset(at, 1, 1 << 20);
    }
}
static int memory_in_files(void)
{
    for (;;) {
        static char block[1 << 20];
        int fd = memory(0, 0);
        if (fd < 0)
            abort();
        for (int i = 0; i < 64; i++) {
            if (write(fd, block, sizeof block) < 0)
                abort();
        }
    }
}
static int silent_exit(void)
{
    _exit(0);
}
static int loud_exit(void)
{
    exit(0);
}
static int long_jump(void)
{
    longjmp(gone_by, 7);
}
static void *thread(void *context)
{
    return context;
}
static int thread_exit(void)
{
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_exit(NULL);
}
static int never(void)
{
    for (;;)
        pause();
}
static int stop_itself(void)
{
    raise(SIGSTOP);
    return 0;
}
static int kill_all(void)
{
    for (int i = 0; i < 70000; i++) {
        if (i != getpid())
            kill(i, SIGKILL);
    }
    kill(-1, SIGKILL);
    return 0;
}
static int own_block(void)
{
    uintptr_t page = (uintptr_t)&cloche_module_v1 & ~(uintptr_t)4095;
    mprotect((void *)page, 8192, PROT_READ | PROT_WRITE);
    memset((void *)(uintptr_t)&cloche_module_v1, 0xff, sizeof cloche_module_v1);
    return 0; /* and the next call goes to nowhere */
}
/* What worker and keeper share: the progress, and a box for packets each way. */
static struct wire_shared *shared(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "cloche-shared") != NULL)
            return (void *)strtoull(line, NULL, 16);
    }
    _exit(9);
}
static int progress(void)
{
    struct wire_progress *p = &shared()->progress;
    p->at = UINT64_MAX - 5;
    p->hold = 1;
    raise(SIGSEGV);
    return 0;
}
/* The packet that the keeper awaits next: one more than it took. */
static int in_the_box(const void *packet, size_t size, uint32_t claimed)
{
    struct mailbox_half *up = &shared()->boxes.up;
    memcpy(up->data, packet, size);
    up->size = claimed;
    __atomic_store_n(&up->number, up->sent + 1, __ATOMIC_SEQ_CST);
    for (int fd = 3; fd < 64; fd++) { /* its bell is one of them, and it may be asleep */
        const uint64_t one = 1;
        if (fd != WIRE_SOCKET && write(fd, &one, sizeof one) < 0)
            continue;
    }
    for (;;)
        pause();
}
static int box_size(void)
{
    return in_the_box("", 1, UINT32_MAX);
}
static int box_record(void)
{
    const struct wire_record r = {.type = WIRE_LOG, .size = 0xfffffff8u};
    return in_the_box(&r, sizeof r, sizeof r);
}
static int box_forged(void)
{
    const struct wire_record r = {.type = WIRE_REPLY, .id = request_id + 1000};
    return in_the_box(&r, sizeof r, sizeof r);
}
static int box_file(void)
{
    const struct wire_record r = {.type = WIRE_REPLY, .flags = WIRE_FD, .id = request_id};
    return in_the_box(&r, sizeof r, sizeof r);
}
static int box_future(void)
{
    shared()->boxes.up.number = UINT64_MAX;
    shared()->boxes.up.sent = UINT64_MAX;
    pause();
    return 0;
}
static void *scribble(void *context)
{
    struct wire_shared *s = context;
    for (uint64_t n = 1;; n = n * 6364136223846793005u + 1) {
        s->boxes.up.size = (uint32_t)(n >> 33);
        s->boxes.up.number = s->boxes.up.sent + 1;
        s->boxes.down.taken = s->boxes.up.sent = n;
        s->boxes.down.asleep = 1;
        memset(s->boxes.up.data, (int)(n >> 40), 64);
    }
    return NULL;
}
static int scribble_for_ever(void)
{
    pthread_t t;
    pthread_create(&t, NULL, scribble, shared());
    pause();
    return 0;
}
/* It cannot be made shorter; holes in it are zeroes to both. */
static int box_holes(void)
{
    struct wire_shared *s = shared();
    return madvise((void *)((uintptr_t)s & ~(uintptr_t)4095), sizeof *s, MADV_REMOVE) != 0;
}
static int trace(void)
{
    for (int pid = 1; pid < 100; pid++)
        syscall(SYS_ptrace, PTRACE_ATTACH, pid, 0, 0);
    return 0;
}
static int read_others(void)
{
    char here[8];
    struct iovec mine = {here, 8}, theirs = {(void *)0x400000, 8};
    syscall(SYS_process_vm_readv, 1, &mine, 1, &theirs, 1, 0);
    return 0;
}
static int own_store(void)
{
    char path[128];
    snprintf(path, sizeof path, "/modules/hostile/%u/module.so", host->version);
    int fd = open(path, O_WRONLY);
    if (fd >= 0 || unlink(path) == 0 || chmod(path, 0777) == 0)
        return 99;
    return 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} deeds[] = {
    {"forge-reply", forge_reply},
    {"forge-done", forge_done},
    {"answer-twice", answer_twice},
    {"answer-future", answer_thrice},
    {"down-types", down_types},
    {"unknown-type", unknown_type},
    {"short-packet", short_packet},
    {"long-record", long_record},
    {"number-again", number_again},
    {"number-ahead", number_ahead},
    {"number-alone", number_alone},
    {"large-packet", large_packet},
    {"no-file", no_file},
    {"unsealed-file", unsealed_file},
    {"huge-file", huge_file},
    {"other-file", other_file},
    {"many-files", many_files},
    {"files-with-lines", files_with_lines},
    {"flood", flood},
    {"talk", talk},
    {"timers", timers},
    {"more-timers", more_timers},
    {"children", children},
    {"full-pipe", full_pipe},
    {"close-socket", close_socket},
    {"shut-socket", shut_socket},
    {"steal-packets", steal_packets},
    {"write-everywhere", write_everywhere},
    {"fork-bomb", fork_bomb},
    {"crowd", crowd},
    {"forks-and-leaves", forks_and_leaves},
    {"all-memory", all_memory},
    {"memory-in-files", memory_in_files},
    {"silent-exit", silent_exit},
    {"loud-exit", loud_exit},
    {"long-jump", long_jump},
    {"thread-exit", thread_exit},
    {"never", never},
    {"stop-itself", stop_itself},
    {"kill-all", kill_all},
    {"own-block", own_block},
    {"progress", progress},
    {"box-size", box_size},
    {"box-record", box_record},
    {"box-forged", box_forged},
    {"box-file", box_file},
    {"box-future", box_future},
    {"box-holes", box_holes},
    {"scribble", scribble_for_ever},
    {"trace", trace},
    {"read-others", read_others},
    {"own-store", own_store},
};

static int handle(void *self, const struct cloche_request *r, struct cloche_reply *reply)
{
    (void)self;
    char name[32] = "";
    memcpy(name, r->data, r->size < sizeof name - 1 ? r->size : sizeof name - 1);
    request_id = r->id;
    if (strcmp(name, "huge-reply") == 0) {
        static char block[1 << 20];
        for (int i = 0; i < 70; i++) {
            if (reply->write(reply, block, sizeof block) != 0)
                break;
        }
        return 0;
    }
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        if (strcmp(name, deeds[i].name) == 0) {
            int rc = deeds[i].run();
            cloche_reply_text(reply, "done");
            return rc;
        }
    }
    return cloche_reply_text(reply, "pong");
}
CLOCHE_MODULE_WITH("hostile", CLOCHE_NO_REDISPATCH, 0, 0, .init = init, .handle = handle);
