/* Logs of children: a pipe each, copied into a file that is started anew when it is full; the one
 * before is kept. Bytes are copied, never looked at. */
#include "runtime/keeper/tree.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
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

int log_open(struct keeper *k, const char *path, struct error *err)
{
    int ends[2];
    struct log *l = calloc(1, sizeof *l);
    if (l == NULL || strlen(path) >= sizeof l->name || pipe2(ends, O_CLOEXEC) < 0) {
        free(l);
        return error_set(err, "keeper.log", errno, "cannot make the log of child \"%s\"", path);
    }
    *l = (struct log){.keeper = k, .from = ends[0], .to = -1};
    snprintf(l->name, sizeof l->name, "%s", path);
    for (char *p = l->name; *p != '\0'; p++)
        *p = *p == '/' ? ':' : *p; /* no id has one */
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
