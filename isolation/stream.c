/* The program's standard streams and its terminal: what it gets as 0, 1 and 2, and where the bytes
 * go from there. */
#include "isolation/sandbox_impl.h"

#include "base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int sealed_input(const struct stream *stream, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || io_write_all(fd, stream->data, stream->size) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
        io_seal(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_set(err, "sandbox.streams", errno, "cannot prepare the input");
    return TAKE_FD(fd);
}

int pump_add(struct sandbox *s, int from, int to, struct error *err)
{
    if (s->pump_count == PUMP_MAX)
        return error_set(err, "sandbox.streams", 0, "too many streams");
    s->pumps[s->pump_count] = (struct pump){.from = from, .to = to};
    return (int)s->pump_count++;
}

/** Make what the program gets as stream @number. Returns the fd (to close after the clone when
 * *ret_own). */
static int open_stream(struct sandbox *s, const struct stream *stream, int number, bool *ret_own,
                       struct error *err)
{
    *ret_own = true;
    static const char *const names[] = {"input", "output", "error"};
    if (stream->kind == STREAM_FD) {
        *ret_own = false;
        struct stat st;
        if (fcntl(stream->fd, F_GETFD) < 0) {
            error_set(err, "sandbox.streams", errno, "standard %s is closed", names[number]);
            return error_hint(err, number == 0 ? "redirect it: </dev/null"
                                               : "redirect it to a file or /dev/null");
        }
        if (fstat(stream->fd, &st) == 0 && S_ISDIR(st.st_mode)) { /* ".." would lead on from it */
            error_set(err, "sandbox.streams", EISDIR, "standard %s is a directory of the host",
                      names[number]);
            return error_hint(err, "mount it instead: -v DIRECTORY:/PATH:ro");
        }
        return stream->fd;
    }
    if (stream->kind == STREAM_NULL) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        return fd < 0 ? error_set(err, "sandbox.streams", errno, "cannot open /dev/null") : fd;
    }
    if (stream->kind == STREAM_MEMORY)
        return sealed_input(stream, err);
    if (stream->kind == STREAM_OUTPUT) {
        int fd = fcntl(s->plan.stdio[1], F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? error_set(err, "sandbox.streams", errno, "cannot share the output") : fd;
    }

    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set(err, "sandbox.streams", errno, "cannot make a pipe");
    int index = pump_add(s, ends[0], stream->kind == STREAM_COPY ? stream->fd : -1, err);
    if (index < 0) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    struct pump *p = &s->pumps[index];
    p->counted = true;
    p->capture = stream->kind == STREAM_CAPTURE;
    p->max = stream->max_bytes;
    if (number == 1)
        s->stdout_pump = p;
    else
        s->stderr_pump = p;
    return ends[1];
}

int streams_open(struct sandbox *s, const struct sandbox_options *o, bool *own, struct error *err)
{
    struct plan *p = &s->plan;
    const struct stream *streams[3] = {&o->input, &o->output, &o->error};
    for (int i = 0; i < 3; i++) {
        own[i] = false;
        p->stdio[i] = -1;
        if (s->spec->terminal)
            continue;
        p->stdio[i] = open_stream(s, streams[i], i, &own[i], err);
        if (p->stdio[i] < 0)
            return -1;
    }
    p->pass_fds = o->pass_fds;
    p->pass_fd_count = o->pass_fd_count;
    p->arguments = o->arguments;
    p->arguments_bytes = o->arguments_bytes;
    return 0;
}

void streams_close(struct plan *p, const bool *own)
{
    for (int i = 0; i < 3; i++) {
        if (own[i] && p->stdio[i] >= 0)
            close(p->stdio[i]);
        p->stdio[i] = -1;
    }
}

/** The two directions of the program's terminal: the caller's terminal (raw while we run) or plain
 * streams. Each has a number of its own: epoll waits for one to be read and another to be written,
 * be they the same terminal. */
static int make_raw(int fd, const struct termios *from)
{
    struct termios raw = *from;
    cfmakeraw(&raw);
    return tcsetattr(fd, TCSADRAIN, &raw);
}

int terminal_open(struct sandbox *s, const struct sandbox_options *o, struct error *err)
{
    int in = o->terminal_fd >= 0 ? o->terminal_fd : o->input.kind == STREAM_FD ? o->input.fd : -1;
    int out = o->output.kind == STREAM_CAPTURE ? -1 : o->output.fd;
    fcntl(s->terminal, F_SETFL, O_NONBLOCK);
    int output = pump_add(s, s->terminal, out, err);
    if (output < 0)
        return -1;
    s->stdout_pump = &s->pumps[output];
    s->stdout_pump->counted = true;
    s->stdout_pump->capture = out < 0;
    s->stdout_pump->max = o->output.max_bytes;
    if (in >= 0) {
        _cleanup_close_ int inner = fcntl(s->terminal, F_DUPFD_CLOEXEC, 3);
        if (inner < 0)
            return error_set(err, "sandbox.streams", errno, "cannot share the terminal");
        int input = pump_add(s, in, inner, err);
        if (input < 0)
            return -1;
        s->pumps[input].own_to = true;
        s->pumps[input].terminal_input = true;
        TAKE_FD(inner);
    }
    const struct spec *spec = s->spec;
    struct winsize size = {.ws_row = spec->console_rows, .ws_col = spec->console_columns};
    if (spec->console_rows != 0 && spec->console_columns != 0)
        ioctl(s->terminal, TIOCSWINSZ, &size);
    if (o->terminal_fd < 0)
        return 0;
    if (tcgetattr(o->terminal_fd, &s->terminal_saved) < 0)
        return error_set(err, "sandbox.terminal", errno, "the caller's terminal cannot be read");
    if (make_raw(o->terminal_fd, &s->terminal_saved) < 0)
        return error_set(err, "sandbox.terminal", errno, "the caller's terminal cannot be set up");
    s->terminal_fd = o->terminal_fd;
    sandbox_resize(s);
    return 0;
}

void terminal_suspend(struct sandbox *s, bool on)
{
    if (s->terminal_fd < 0)
        return;
    if (on)
        tcsetattr(s->terminal_fd, TCSADRAIN, &s->terminal_saved);
    else if (tcgetpgrp(s->terminal_fd) == getpgrp()) /* in the background it is somebody else's */
        make_raw(s->terminal_fd, &s->terminal_saved);
}

void sandbox_resize(struct sandbox *s)
{
    struct winsize size;
    if (s->terminal_fd >= 0 && s->terminal >= 0 && ioctl(s->terminal_fd, TIOCGWINSZ, &size) == 0)
        ioctl(s->terminal, TIOCSWINSZ, &size);
}

/** Programs open their streams again by name (/dev/stderr): a pipe of ours belongs to the program.
 * Where that may not be, it is written through its descriptor only. */
void streams_give(const struct sandbox *s, const bool *own)
{
    const struct idmap *m = &s->plan.idmap;
    const uint32_t inside = s->spec->uid;
    for (int i = 1; i < 3; i++) {
        struct stat st;
        if (!own[i] || fstat(s->plan.stdio[i], &st) < 0 || !S_ISFIFO(st.st_mode))
            continue;
        for (size_t k = 0; k < m->uid_count; k++) {
            const struct spec_id_map *range = &m->uid[k];
            if (inside >= range->container_id && inside - range->container_id < range->size &&
                fchown(s->plan.stdio[i], range->host_id + (inside - range->container_id),
                       (gid_t)-1) < 0)
                return;
        }
    }
}
