/* Logs of children: a pipe each, copied into a file that is started anew when it is full; the one
 * before is kept. Bytes are copied, never looked at. */
#include "runtime/keeper/tree.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define LOG_MAX_BYTES (1024 * 1024)

struct log {
    struct log *next;
    struct keeper *keeper;
    struct loop_source *source;
    int from, to;
    off_t size;
    char name[NAME_MAX - 8];
};

static int open_file(struct log *l)
{
    struct stat st;
    char file[NAME_MAX];
    snprintf(file, sizeof file, "%s.log", l->name);
    l->to = openat(l->keeper->log_fd, file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
                   0600);
    if (l->to < 0 || fstat(l->to, &st) < 0)
        return -1;
    l->size = st.st_size;
    return 0;
}

static void rotate(struct log *l)
{
    char file[NAME_MAX], before[NAME_MAX];
    snprintf(file, sizeof file, "%s.log", l->name);
    snprintf(before, sizeof before, "%s.log.1", l->name);
    renameat(l->keeper->log_fd, file, l->keeper->log_fd, before);
    close(l->to);
    if (open_file(l) < 0)
        l->to = -1;
}

static void close_log(struct log *l)
{
    struct log **at = &l->keeper->logs;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    loop_unwatch(l->keeper->loop, l->source);
    close(l->from);
    cleanup_close(&l->to);
    free(l);
}

static void on_output(void *context, int fd, uint32_t events)
{
    struct log *l = context;
    char buf[65536];
    (void)events;
    ssize_t n = read(fd, buf, sizeof buf);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_log(l);
        return;
    }
    if (l->size + n > LOG_MAX_BYTES)
        rotate(l);
    /* a full disk loses output, and stops nobody */
    if (l->to >= 0 && io_write_all(l->to, buf, (size_t)n) == 0)
        l->size += n;
}

static void name_of(const char *path, char *ret, size_t size)
{
    snprintf(ret, size, "%s", path);
    for (char *p = ret; *p != '\0'; p++)
        *p = *p == '/' ? ':' : *p; /* no id has one */
}

/** What is still in the pipes of this name: who wrote it may have ended before the loop came by. */
static void drain(struct keeper *k, const char *name)
{
    int rounds = 64; /* who still writes does not keep the keeper */
    for (struct log *l = k->logs, *next; l != NULL && rounds > 0; l = next) {
        struct pollfd p = {.fd = l->from, .events = POLLIN};
        next = l->next;
        if (strcmp(l->name, name) == 0 && poll(&p, 1, 0) == 1) {
            on_output(l, l->from, EPOLLIN);
            next = k->logs; /* that may have been its end */
            rounds--;
        }
    }
}

bool log_last_line(struct keeper *k, const char *path, char *ret, size_t size)
{
    char name[NAME_MAX - 8], file[NAME_MAX], end[256];
    struct stat st;
    name_of(path, name, sizeof name);
    drain(k, name);
    snprintf(file, sizeof file, "%s.log", name);
    _cleanup_close_ int fd = openat(k->log_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    off_t from = st.st_size > (off_t)sizeof end ? st.st_size - (off_t)sizeof end : 0;
    ssize_t n = pread(fd, end, sizeof end, from);
    while (n > 0 && (end[n - 1] == '\n' || end[n - 1] == '\r' || end[n - 1] == ' '))
        n--;
    ssize_t start = n;
    while (start > 0 && end[start - 1] != '\n')
        start--;
    size_t used = 0;
    while (start < n) { /* a terminal obeys some bytes */
        size_t length = io_printable(end + start, (size_t)(n - start));
        if (used + (length > 0 ? length : 1) >= size)
            break;
        if (length == 0)
            ret[used++] = '?';
        for (size_t i = 0; i < length; i++)
            ret[used++] = end[start + (ssize_t)i];
        start += length > 0 ? (ssize_t)length : 1;
    }
    ret[used] = '\0';
    return used > 0;
}

int log_open(struct keeper *k, const char *path, struct error *err)
{
    int ends[2];
    struct log *l = calloc(1, sizeof *l);
    if (l == NULL || strlen(path) >= sizeof l->name || pipe2(ends, O_CLOEXEC) < 0) {
        free(l);
        return error_set(err, "keeper.log", errno, "cannot make the log of child \"%s\"", path);
    }
    *l = (struct log){.keeper = k, .from = ends[0], .to = -1};
    name_of(path, l->name, sizeof l->name);
    fcntl(l->from, F_SETFL, O_NONBLOCK);
    if (open_file(l) == 0)
        l->source = loop_watch(k->loop, l->from, EPOLLIN, on_output, l);
    if (l->source == NULL) {
        error_set(err, "keeper.log", errno, "cannot make the log of child \"%s\"", path);
        close(ends[0]);
        close(ends[1]);
        cleanup_close(&l->to);
        free(l);
        return -1;
    }
    l->next = k->logs;
    k->logs = l;
    return ends[1];
}

void logs_close(struct keeper *k)
{
    while (k->logs != NULL)
        close_log(k->logs);
}
