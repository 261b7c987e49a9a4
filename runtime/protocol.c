#include "runtime/protocol.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/packet.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void fields_add(struct fields *f, const char *key, const char *value)
{
    size_t k = strlen(key), v = strlen(value);
    if (f->data == NULL)
        f->data = malloc(PROTOCOL_MAX_BODY);
    if (f->data == NULL || k >= PROTOCOL_MAX_BODY || v >= PROTOCOL_MAX_BODY ||
        k + v + 2 > PROTOCOL_MAX_BODY - f->used) {
        f->too_large = true;
        return;
    }
    snprintf(f->data + f->used, PROTOCOL_MAX_BODY - f->used, "%s=%s", key, value);
    f->used += k + v + 2;
}

void fields_add_int(struct fields *f, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    fields_add(f, key, text);
}

int fields_add_json(struct fields *f, const char *text)
{
    size_t size = strlen(text);
    if (size < PROTOCOL_MAX_BODY - f->used - sizeof "json=") {
        fields_add(f, "json", text);
        return -1;
    }
    _cleanup_close_ int fd = memfd_create("json", MFD_CLOEXEC);
    if (fd < 0 || io_write_all(fd, text, size) < 0) {
        f->too_large = true;
        return -1;
    }
    return TAKE_FD(fd);
}

char *frame_take_json(const struct frame *f)
{
    const char *text = frame_get(f, "json");
    char *copy = NULL;
    if (text != NULL)
        return strdup(text);
    if (f->fd_count != 1 || lseek(f->fds[0], 0, SEEK_SET) < 0 ||
        io_read_to_end(f->fds[0], JSON_MAX_BYTES, &copy) < 0)
        return NULL;
    return copy;
}

void fields_add_error(struct fields *f, const struct error *err)
{
    fields_add(f, "code", err->code != NULL ? err->code : "keeper.failed");
    fields_add(f, "message", err->message);
    fields_add(f, "hint", err->hint);
    fields_add(f, "path", err->path);
}

void fields_free(struct fields *f)
{
    free(f->data);
    f->data = NULL;
}

bool frame_check(const struct frame_head *head, const char *body, size_t size)
{
    return size >= sizeof *head && size - sizeof *head <= PROTOCOL_MAX_BODY &&
           head->magic == PROTOCOL_MAGIC && head->version == PROTOCOL_VERSION &&
           head->type >= FRAME_REQUEST && head->type <= FRAME_REPLIES &&
           head->size == size - sizeof *head &&
           (head->size == 0 || head->type >= FRAME_CALLS || body[head->size - 1] == '\0');
}

const char *frame_next(const struct frame *f, const char *key, const char *last)
{
    if (f->head.type >= FRAME_CALLS) /* no fields, and no NUL that would end them */
        return NULL;
    size_t n = strlen(key);
    const char *end = f->body + f->head.size;
    const char *at = last == NULL ? f->body : last + strlen(last) + 1;
    while (at < end) {
        size_t len = strlen(at); /* the body ends with a NUL: frame_check() */
        if (len > n && memcmp(at, key, n) == 0 && at[n] == '=')
            return at + n + 1;
        at += len + 1;
    }
    return NULL;
}

const char *frame_get(const struct frame *f, const char *key)
{
    return frame_next(f, key, NULL);
}

int64_t frame_get_int(const struct frame *f, const char *key, int64_t min, int64_t max,
                      int64_t otherwise)
{
    const char *text = frame_get(f, key);
    uint64_t n;
    if (text == NULL)
        return otherwise;
    bool negative = text[0] == '-';
    if (!io_parse_u64(text + negative, &n) || n > INT64_MAX)
        return otherwise;
    int64_t value = negative ? -(int64_t)n : (int64_t)n;
    return value < min || value > max ? otherwise : value;
}

#define CODES_MAX 256

/** The code of an error is static: one copy of each that ever came, for all threads. */
static const char *static_code(const char *text)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char *known[CODES_MAX];
    const char *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; found == NULL && i < CODES_MAX; i++) {
        if (known[i] == NULL)
            known[i] = strndup(text, 63);
        if (known[i] == NULL)
            break;
        if (strncmp(known[i], text, 63) == 0)
            found = known[i];
    }
    pthread_mutex_unlock(&lock);
    return found != NULL ? found : "keeper.failed";
}

int frame_error(const struct frame *f, struct error *err)
{
    static const char *const keys[] = {"code", "message", "hint", "path"};
    const char *values[4];
    for (int i = 0; i < 4; i++) {
        values[i] = frame_get(f, keys[i]);
        values[i] = values[i] != NULL ? values[i] : "";
    }
    error_set(err, static_code(values[0]), 0, "%s", values[1]);
    if (values[2][0] != '\0')
        error_hint(err, "%s", values[2]);
    if (values[3][0] != '\0')
        error_path(err, values[3]);
    return -1;
}

int frame_send(int socket, enum frame_type type, uint32_t serial, const struct fields *fields,
               const int *fds, int fd_count, int flags)
{
    if (fields != NULL && fields->too_large) {
        errno = E2BIG;
        return -1;
    }
    return frame_send_body(socket, type, serial, fields != NULL ? fields->data : NULL,
                           fields != NULL ? fields->used : 0, fds, fd_count, flags);
}

int frame_send_body(int socket, enum frame_type type, uint32_t serial, const void *body,
                    size_t size, const int *fds, int fd_count, int flags)
{
    if (size > PROTOCOL_MAX_BODY || fd_count > PROTOCOL_MAX_FDS) {
        errno = E2BIG;
        return -1;
    }
    struct frame_head head = {.magic = PROTOCOL_MAGIC,
                              .version = PROTOCOL_VERSION,
                              .type = (uint16_t)type,
                              .serial = serial,
                              .size = (uint32_t)size};
    const struct iovec parts[] = {{.iov_base = &head, .iov_len = sizeof head},
                                  {.iov_base = (void *)(uintptr_t)body, .iov_len = size}};
    return packet_send(socket, parts, 2, fds, (unsigned)fd_count, flags);
}

void frame_close_fds(struct frame *f)
{
    for (int i = 0; i < f->fd_count; i++) {
        if (f->fds[i] >= 0) /* else it was taken */
            close(f->fds[i]);
    }
    f->fd_count = 0;
}

int frame_receive(int socket, struct frame *ret, int flags)
{
    const struct iovec parts[] = {{.iov_base = &ret->head, .iov_len = sizeof ret->head},
                                  {.iov_base = ret->body, .iov_len = sizeof ret->body}};
    unsigned count;
    ssize_t n = packet_receive(socket, parts, 2, ret->fds, PROTOCOL_MAX_FDS, &count, flags);
    ret->fd_count = (int)count;
    if (n <= 0)
        return (int)n;
    if (frame_check(&ret->head, ret->body, (size_t)n))
        return 1;
    frame_close_fds(ret);
    errno = EPROTO;
    return -1;
}
