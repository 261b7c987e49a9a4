/* Talking to keepers. Making and ending them: client_sandboxes.c */
#include "runtime/client_private.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

int client_check_id(const char *id, struct error *err)
{
    if (id != NULL && spec_valid_id(id))
        return 0;
    error_set(err, "sandbox.bad_id", 0, "\"%.80s\" cannot be the id of a sandbox",
              id != NULL ? id : "");
    return error_hint(
        err, "1 to 64 letters, digits, \"_\", \".\" and \"-\", the first a letter or digit");
}

int client_open_below(int top, const char *id)
{
    return openat(top, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int client_open_sandbox(const char *id, struct error *err)
{
    if (client_check_id(id, err) < 0)
        return -1;
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    if (all < 0)
        return -1;
    int fd = client_open_below(all, id);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT)
        return error_set(err, "sandbox.state", errno, "cannot open the state of sandbox \"%s\"",
                         id);
    error_set(err, "sandbox.unknown", 0, "there is no sandbox \"%s\"", id);
    return error_hint(err, "cloche list shows those there are");
}

int client_open_state(const char *id, const char *file, struct error *err)
{
    _cleanup_close_ int dir = client_open_sandbox(id, err);
    if (dir < 0)
        return -1;
    int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0
               ? fd
               : error_set(err, "sandbox.state", errno, "sandbox \"%s\" has no \"%s\"", id, file);
}

char *client_record(struct arena *a, const char *id)
{
    char text[4096];
    _cleanup_close_ int dir = client_open_sandbox(id, NULL);
    if (dir < 0)
        return NULL;
    if (io_read_file_at(dir, "record.json", text, sizeof text) < 0)
        return errno == ENOENT ? NULL : arena_strdup(a, "");
    return arena_strdup(a, text);
}

struct frame *client_frame_new(void)
{
    struct frame *f = malloc(sizeof *f);
    if (f == NULL)
        abort();
    f->fd_count = 0;
    f->head = (struct frame_head){0};
    return f;
}

/* --- deadlines -----------------------------------------------------------------------------------
 */

static _Thread_local uint64_t deadline_ms;

void client_set_deadline(uint64_t until_ms)
{
    deadline_ms = until_ms;
}

uint64_t client_deadline(void)
{
    return deadline_ms;
}

uint64_t client_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int client_too_late(const char *id, struct error *err)
{
    error_set(err, "call.deadline", 0, "sandbox \"%s\" did not answer in time", id);
    return error_hint(err, "cloche info %s; or allow more time", id);
}

int client_limit_wait(int fd, const char *id, struct error *err)
{
    if (deadline_ms == 0)
        return 0;
    uint64_t now = client_now_ms();
    if (now >= deadline_ms)
        return client_too_late(id, err);
    uint64_t left = deadline_ms - now;
    const struct timeval t = {.tv_sec = (time_t)(left / 1000),
                              .tv_usec = (suseconds_t)(left % 1000 * 1000)};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) < 0)
        return error_set(err, "protocol.send", errno, "cannot limit the wait for \"%s\"", id);
    return 0;
}

/* --- talking ------------------------------------------------------------------------------------
 */

/** Whether a record, which the keeper wrote, says so: no text in it can hold quotes of its own. */
static bool was_stopped(int state)
{
    char text[4096];
    return io_read_file_at(state, "record.json", text, sizeof text) >= 0 &&
           strstr(text, "\"status\":\"stopped\"") != NULL;
}

static int gone(const char *id, struct error *err)
{
    _cleanup_close_ int state = client_open_sandbox(id, NULL);
    if (state >= 0 && was_stopped(state)) {
        error_set(err, "sandbox.stopped", 0, "sandbox \"%s\" is stopped", id);
        return error_hint(err, "cloche restart %s", id);
    }
    error_set(err, "keeper.gone", 0, "sandbox \"%s\" has failed: its keeper is gone", id);
    return error_hint(err, "cloche restart %s", id);
}

bool client_without_keeper(const struct error *err)
{
    return err->code != NULL &&
           (strcmp(err->code, "keeper.gone") == 0 || strcmp(err->code, "sandbox.stopped") == 0);
}

int client_connect(const char *id, struct error *err)
{
    if (client_check_id(id, err) < 0)
        return -1;
    _cleanup_close_ int runs = state_open_run_dir("sandboxes", err);
    if (runs < 0)
        return -1;
    _cleanup_close_ int dir = client_open_below(runs, id);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/control.sock", dir);
    int size = 2 * PROTOCOL_MAX_BODY;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (fd >= 0 && client_limit_wait(fd, id, err) < 0)
        return -1;
    if (dir >= 0 && fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
        return TAKE_FD(fd);
    if (errno == EAGAIN && deadline_ms != 0) /* as many as may are waiting there already */
        return client_too_late(id, err);
    _cleanup_close_ int state = client_open_sandbox(id, err);
    return state < 0 ? -1 : gone(id, err);
}

int client_send(int socket, const char *operation, const struct fields *fields, const int *fds,
                int fd_count, struct error *err)
{
    _cleanup_fields_ struct fields all = FIELDS_INIT;
    fields_add(&all, "op", operation);
    if (fields != NULL && fields->used > 0) {
        if (all.data == NULL || fields->too_large || fields->used > PROTOCOL_MAX_BODY - all.used) {
            all.too_large = true;
        } else {
            memcpy(all.data + all.used, fields->data, fields->used);
            all.used += fields->used;
        }
    }
    if (frame_send(socket, FRAME_REQUEST, 1, &all, fds, fd_count, 0) == 0)
        return 0;
    if (errno == E2BIG) {
        error_set(err, "protocol.too_large", 0, "the request is too large");
        return error_hint(err, "arguments and variables together stay below 128 KiB");
    }
    /* refused before the request came: what was said then is still to be read */
    if (errno == EPIPE || errno == ECONNRESET)
        return 0;
    if (errno == EBADF && fd_count > 0)
        return error_set(err, "usage.streams", 0, "a file that is to go along is closed");
    if (errno == EAGAIN)
        return error_set(err, "call.deadline", 0, "the keeper takes no request in time");
    return error_set(err, "protocol.send", errno, "cannot talk to the keeper");
}

int client_next(int socket, const char *id, struct frame *ret, struct error *err)
{
    if (client_limit_wait(socket, id, err) < 0)
        return -1;
    int rc = frame_receive(socket, ret, 0);
    if (rc == 0)
        return gone(id, err);
    if (rc < 0 && errno == EAGAIN)
        return client_too_late(id, err);
    if (rc < 0)
        return error_set(err, "protocol.frame", errno, "the keeper of \"%s\" sent nonsense", id);
    if (ret->head.type == FRAME_ERROR)
        return frame_error(ret, err);
    return ret->head.type == FRAME_DATA ? 1 : 0;
}

int client_call(const char *id, const char *operation, const struct fields *fields,
                struct frame *ret, struct error *err)
{
    _cleanup_close_ int fd = client_connect(id, err);
    if (fd < 0 || client_send(fd, operation, fields, NULL, 0, err) < 0)
        return -1;
    int rc;
    do {
        rc = client_next(fd, id, ret, err);
        frame_close_fds(ret);
    } while (rc > 0);
    return rc;
}

char *client_json(const char *id, const char *operation, const struct fields *fields,
                  struct error *err)
{
    _cleanup_close_ int fd = client_connect(id, err);
    _cleanup_free_ struct frame *f = client_frame_new();
    if (fd < 0 || client_send(fd, operation, fields, NULL, 0, err) < 0)
        return NULL;
    int rc;
    while ((rc = client_next(fd, id, f, err)) > 0)
        frame_close_fds(f);
    if (rc < 0)
        return NULL;
    char *text = frame_take_json(f);
    frame_close_fds(f);
    if (text == NULL)
        error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    return text;
}

int client_open_file(const char *id, const char *path, int mode, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    _cleanup_close_ int socket = client_connect(id, err), file = -1;
    fields_add(&fields, "path", path);
    fields_add_int(&fields, "write", mode >= 0);
    if (mode >= 0)
        fields_add_int(&fields, "mode", mode);
    if (socket < 0 || client_send(socket, "open", &fields, NULL, 0, err) < 0)
        return -1;
    int rc;
    while ((rc = client_next(socket, id, f, err)) > 0) {
        if (f->fd_count == 1 && file < 0) {
            file = f->fds[0];
            f->fd_count = 0;
        }
        frame_close_fds(f);
    }
    if (rc == 0 && file < 0)
        return error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent no file", id);
    struct stat st; /* the inside may be nobody's friend: reading from a pipe would not end */
    if (rc == 0 && (fstat(file, &st) < 0 || !S_ISREG(st.st_mode)))
        return error_set(err, "sandbox.file", 0, "what sandbox \"%s\" sent is no file", id);
    return rc < 0 ? -1 : TAKE_FD(file);
}
