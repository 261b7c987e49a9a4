/* Output of the program on its way out: counted, limited, copied or kept; and the terminal's two
 * directions. */
#include "isolation/sandbox_impl.h"

#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define CHUNK_FILE 65536
#define CHUNK_POLL PIPE_BUF

static uint32_t tag_of(const struct sandbox *s, const struct pump *p, bool destination)
{
    return WATCH_PUMP + 2 * (uint32_t)(p - s->pumps) + (destination ? 1 : 0);
}

static void unwatch(const struct sandbox *s, int fd)
{
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void finish(struct sandbox *s, struct pump *p)
{
    if (p->done)
        return;
    p->done = true;
    unwatch(s, p->from);
    if (p->waiting)
        unwatch(s, p->to);
    if (p->own_to) {
        close(p->to);
        p->own_to = false;
    }
    if (!p->terminal_input && p->from != s->terminal) {
        close(p->from); /* a program that goes on writing gets its SIGPIPE */
        p->from = -1;
    }
}

/** A terminal that nobody reads any more: its program gets SIGHUP. */
static void hang_up(struct sandbox *s, struct pump *output)
{
    for (size_t i = 0; i < s->pump_count; i++) { /* which has its other number */
        if (s->pumps[i].terminal_input)
            finish(s, &s->pumps[i]);
    }
    close(output->from);
    output->from = s->terminal = -1;
}

void pump_drop(struct sandbox *s)
{
    for (size_t i = 0; i < s->pump_count; i++)
        finish(s, &s->pumps[i]);
}

size_t terminal_end_mark(int terminal, char mark[2])
{
    struct termios t;
    if (tcgetattr(terminal, &t) < 0)
        return 0;
    bool lines = (t.c_lflag & ICANON) != 0;
    if (!lines && (t.c_lflag & ECHO) != 0)
        return 0;
    mark[0] = mark[1] = lines && t.c_cc[VEOF] != 0 ? (char)t.c_cc[VEOF] : 4;
    return lines ? 2 : 1;
}

static bool is_over(const struct sandbox *s)
{
    for (size_t i = 0; i < s->pump_count; i++)
        if (s->pumps[i].terminal_input)
            return s->pumps[i].done;
    return false;
}

static void receive(struct sandbox *s, struct pump *p);

static void keep(struct pump *p, const char *data, size_t size)
{
    size_t want = p->used + size;
    if (want > p->max)
        want = p->max;
    if (want > p->room) {
        size_t room = p->room == 0 ? 4096 : p->room;
        while (room < want)
            room *= 2;
        char *grown = realloc(p->buf, room);
        if (grown == NULL)
            return;
        p->buf = grown;
        p->room = room;
    }
    memcpy(p->buf + p->used, data, want - p->used);
    p->used = want;
}

/** How many of @n new bytes are within the output limit; past it the tree is ended. */
static size_t within_limit(struct sandbox *s, struct pump *p, size_t n)
{
    uint64_t before = 0, limit = s->spec->output_bytes;
    for (size_t i = 0; i < s->pump_count; i++)
        before += s->pumps[i].counted ? s->pumps[i].bytes : 0;
    p->bytes += n;
    if (!p->terminal_input)
        watch_program_seen(s);
    if (!p->counted || limit == LIMIT_NONE || before + n <= limit)
        return n;
    sandbox_kill(s, VERDICT_OUTPUT_LIMIT, "wrote more than the output limit");
    return before >= limit ? 0 : (size_t)(limit - before);
}

static void send_pending(struct sandbox *s, struct pump *p)
{
    while (p->sent < p->used) {
        ssize_t n = write(p->to, p->buf + p->sent, p->used - p->sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            p->failed = errno == EPIPE || p->terminal_input ? 0 : errno;
            finish(s, p);
            if (p->from == s->terminal)
                hang_up(s, p);
            return;
        }
        if (n > 0)
            p->sent += (size_t)n;
        if (p->pollable)
            break;
    }
    if (p->sent == p->used) {
        p->sent = p->used = 0;
        if (p->waiting) {
            unwatch(s, p->to);
            p->waiting = false;
            if (p->ending)
                finish(s, p);
            else if (p->from_file)
                receive(s, p);
            else if (watch_add(s, p->from, EPOLLIN, tag_of(s, p, false)) < 0)
                finish(s, p);
        }
    } else if (!p->waiting) {
        p->waiting = true;
        unwatch(s, p->from);
        if (watch_add(s, p->to, EPOLLOUT, tag_of(s, p, true)) < 0)
            finish(s, p);
    }
}

static void receive(struct sandbox *s, struct pump *p)
{
    char chunk[CHUNK_POLL];
    char *into = p->capture ? chunk : p->buf;
    ssize_t n = read(p->from, into, p->capture ? sizeof chunk : p->room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0 && p->terminal_input && !p->ending) {
        p->ending = true;
        n = (ssize_t)terminal_end_mark(s->terminal, p->buf);
    }
    if (n <= 0) { /* a terminal without a program left says EIO */
        finish(s, p);
        return;
    }
    char mark[2];
    size_t marks = p->from == s->terminal && is_over(s) ? terminal_end_mark(s->terminal, mark) : 0;
    if (marks > 0 && write(s->terminal, mark, marks) < 0)
        errno = 0; /* it has no room, or no program any more */
    size_t kept = within_limit(s, p, (size_t)n);
    if (p->capture) {
        keep(p, chunk, kept);
        return;
    }
    p->used = kept;
    p->sent = 0;
    if (kept == 0)
        return;
    if (!p->pollable) {
        send_pending(s, p);
        return;
    }
    p->waiting = true;
    unwatch(s, p->from);
    if (watch_add(s, p->to, EPOLLOUT, tag_of(s, p, true)) < 0) {
        /* cannot be waited for (/dev/null): written at once */
        p->pollable = p->waiting = false;
        if (watch_add(s, p->from, EPOLLIN, tag_of(s, p, false)) < 0)
            finish(s, p);
        else
            send_pending(s, p);
    }
}

/** Room in a pipe is room for PIPE_BUF bytes; in a terminal it may be one, and a write of more
 * would wait for who does not read, while the limits wait for us. */
static void never_wait(struct pump *p)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p->to);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0) { /* another user's, as after su: one's controlling terminal all may open */
        unsigned ours, theirs;
        own = open("/dev/tty", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own < 0)
            return;
        if (ioctl(own, TIOCGDEV, &ours) < 0 || ioctl(p->to, TIOCGDEV, &theirs) < 0 ||
            ours != theirs) {
            close(own);
            return;
        }
    }
    p->to = own;
    p->own_to = true;
}

int pump_open(struct sandbox *s, struct pump *p, struct error *err)
{
    struct stat st;
    p->pollable =
        p->to >= 0 && fstat(p->to, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
    if (p->pollable && !p->own_to && isatty(p->to))
        never_wait(p);
    if (!p->capture) {
        p->room = p->pollable ? CHUNK_POLL : CHUNK_FILE;
        p->buf = malloc(p->room);
        if (p->buf == NULL)
            return error_set(err, "sandbox.memory", ENOMEM, "cannot make an output buffer");
    }
    if (watch_add(s, p->from, EPOLLIN, tag_of(s, p, false)) == 0)
        return 0;
    if (errno == EPERM && p->terminal_input) { /* a file: only the terminal can be waited for */
        p->from_file = true;
        receive(s, p);
        return 0;
    }
    return error_set(err, "sandbox.streams", errno, "cannot watch a stream of the program");
}

void pump_event(struct sandbox *s, uint32_t tag)
{
    size_t index = (tag - WATCH_PUMP) / 2;
    if (index >= s->pump_count || s->pumps[index].done)
        return;
    struct pump *p = &s->pumps[index];
    if ((tag - WATCH_PUMP) % 2 == 1)
        send_pending(s, p);
    else
        receive(s, p);
}

void pump_close(struct pump *p)
{
    if (p->from >= 0 && !p->terminal_input)
        close(p->from);
    if (p->own_to)
        close(p->to);
    free(p->buf);
    p->buf = NULL;
    p->from = -1;
    p->own_to = false;
}
