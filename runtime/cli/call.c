/* cloche call: one request to a module, or one a line of stdin. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define IN_FLIGHT 1024
#define CHUNK     65536 /* of standard input, read at once */

struct call_options {
    bool json, lines;
    uint64_t timeout_ms;
};

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct call_options *)context)->json = true;
    return 0;
}

static int set_lines(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct call_options *)context)->lines = true;
    return 0;
}

static int set_timeout(void *context, const char *text, struct error *err)
{
    return spec_parse_duration(text, &((struct call_options *)context)->timeout_ms, err);
}

static const struct cli_option options[] = {
    {0, "lines", NULL,
     "each line of standard input is a request; the replies in order, a line each", set_lines},
    {0, "timeout", "TIME", "for the module to answer (30s); then its worker is killed",
     set_timeout},
    {0, "json", NULL, "reply (reply_base64 where it is no text) and errors as JSON, a line each",
     set_json},
    {0, NULL, NULL, NULL, NULL},
};

static bool is_text(const char *data, size_t size)
{
    for (size_t i = 0, n; i < size; i += n) {
        n = io_utf8_length(data + i, size - i);
        if (n == 0)
            return false;
    }
    return true;
}

static void print_base64(const unsigned char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    putchar('"');
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned bits =
            data[i] * 65536u + (left > 1 ? data[i + 1] * 256u : 0) + (left > 2 ? data[i + 2] : 0);
        putchar(digits[bits >> 18]);
        putchar(digits[bits >> 12 & 63]);
        putchar(left > 1 ? digits[bits >> 6 & 63] : '=');
        putchar(left > 2 ? digits[bits & 63] : '=');
    }
    putchar('"');
}

static int show(const struct calls_reply *r, const struct call_options *o)
{
    if (r->failed)
        return cli_fail(&r->error, o->json, 1);
    if (o->json) {
        printf("{\"status\":%d,\"version\":%u,\"reply\":", r->status, r->version);
        if (is_text(r->data, r->size)) {
            cli_print_json_bytes(stdout, r->data, r->size);
        } else {
            fputs("null,\"reply_base64\":", stdout);
            print_base64(r->data, r->size);
        }
        puts("}");
    } else {
        if (r->size > 0)
            fwrite(r->data, 1, r->size, stdout);
        if (o->lines)
            putchar('\n');
    }
    if (r->status != 0 && !o->json)
        fprintf(stderr, "cloche: the module answered status %d\n", r->status);
    return r->status != 0;
}

static int take(struct calls *c, const struct call_options *o, bool wait, uint64_t *open,
                int *status, struct error *err)
{
    struct calls_reply r;
    int rc = calls_next(c, wait, &r, err);
    if (rc > 0) {
        *status |= show(&r, o);
        (*open)--;
    }
    return rc;
}

/** Standard input, cut into lines as they come. */
struct input {
    char *data;
    size_t start, end, room;
    bool ended;
};

static int read_more(struct input *in, struct error *err)
{
    if (in->start > 0)
        memmove(in->data, in->data + in->start, in->end - in->start);
    in->end -= in->start;
    in->start = 0;
    if (in->room - in->end < CHUNK) {
        char *larger = in->end > CALL_PAYLOAD_MAX ? NULL : realloc(in->data, 2 * in->room + CHUNK);
        if (larger == NULL)
            return error_set(err, "call.too_large", 0, "a line is too long for a request");
        in->data = larger;
        in->room = 2 * in->room + CHUNK;
    }
    ssize_t n = read(0, in->data + in->end, CHUNK);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        return error_set(err, "usage.payload", errno, "cannot read standard input");
    in->ended = n == 0;
    in->end += n > 0 ? (size_t)n : 0;
    return 0;
}

/** The next whole line; at the end of the input also a last one without its newline. */
static bool next_line(struct input *in, const char **ret, size_t *ret_size)
{
    size_t left = in->end - in->start;
    const char *line = in->data + in->start, *end = left > 0 ? memchr(line, '\n', left) : NULL;
    if (end == NULL && (!in->ended || left == 0))
        return false;
    *ret = line;
    *ret_size = end != NULL ? (size_t)(end - line) : left;
    in->start += *ret_size + (end != NULL);
    return true;
}

/** What has come is sent before more is waited for, and a reply is shown when it comes. */
static int call_lines(struct calls *c, const struct call_options *o, struct input *in,
                      struct error *err)
{
    uint64_t open = 0, id = 0;
    int status = 0;
    for (;;) {
        const char *line;
        size_t size;
        while (open < IN_FLIGHT && next_line(in, &line, &size)) {
            if (calls_put(c, ++id, line, size, err) < 0)
                return -1;
            open++;
        }
        if (calls_send(c, true, err) < 0)
            return -1;
        if (open == 0 && in->ended)
            return status;
        fflush(stdout);
        struct pollfd fds[2] = {{.fd = open > 0 ? calls_fd(c) : -1, .events = POLLIN},
                                {.fd = open < IN_FLIGHT && !in->ended ? 0 : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return error_set(err, "call.poll", errno, "cannot wait for a reply");
        if (fds[1].revents != 0 && read_more(in, err) < 0)
            return -1;
        int rc = fds[0].revents != 0;
        while (rc > 0 && open > 0)
            rc = take(c, o, false, &open, &status, err);
        if (rc < 0)
            return -1;
    }
}

/** DATA, "-" for standard input, "@FILE". */
static int read_payload(const char *text, char **ret, size_t *ret_size, struct error *err)
{
    bool in = strcmp(text, "-") == 0;
    if (!in && text[0] != '@') {
        *ret = strdup(text);
        *ret_size = strlen(text);
        return 0;
    }
    _cleanup_close_ int file = in ? -1 : open(text + 1, O_RDONLY | O_CLOEXEC);
    ssize_t n = !in && file < 0 ? -1 : io_read_to_end(in ? 0 : file, CALL_PAYLOAD_MAX, ret);
    if (n < 0 && errno == EFBIG) {
        error_set(err, "call.too_large", 0, "%s is too large for a request",
                  in ? "standard input" : text + 1);
        return error_hint(err, "at most %u MiB", CALL_PAYLOAD_MAX / 1024 / 1024);
    }
    if (n < 0)
        return error_set(err, "usage.payload", errno, "cannot read %s",
                         in ? "standard input" : text + 1);
    *ret_size = (size_t)n;
    return 0;
}

int cli_call(int argc, char **argv)
{
    if (cli_wants_help("call", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct call_options o = {0};
    struct strings operands = {0};
    struct calls c = {.fd = -1};
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_free_ char *payload = NULL;
    size_t size = 0;
    if (cli_parse_all(options, &o, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    if (operands.count < 2 || operands.count > 3) {
        error_set(&err, "usage.operands", 0, "a sandbox and a module have to be named");
        error_hint(&err, "cloche call ID MODULE [DATA | - | @FILE]");
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    if (operands.count == 3 && read_payload(operands.items[2], &payload, &size, &err) < 0)
        return cli_fail(&err, o.json, EXIT_USAGE);
    int rc = calls_open(&c, operands.items[0], operands.items[1], o.timeout_ms, &err);
    if (rc == 0 && o.lines) {
        struct input in = {0};
        rc = call_lines(&c, &o, &in, &err);
        free(in.data);
    } else if (rc == 0) {
        uint64_t open = 1;
        int status = 0;
        rc = calls_put(&c, 1, payload, size, &err);
        if (rc == 0)
            rc = calls_send(&c, true, &err);
        if (rc == 0)
            rc = take(&c, &o, true, &open, &status, &err);
        rc = rc < 0 ? -1 : status;
    }
    calls_close(&c);
    if (rc < 0)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    return rc;
}
