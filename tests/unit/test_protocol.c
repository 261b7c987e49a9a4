#include "isolation/spawn.h"
#include "runtime/protocol.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static struct frame frame;

static void pair(int *ends)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

Test(protocol, fields_and_fds_arrive)
{
    int ends[2], fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    pair(ends);
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "op", "exec");
    fields_add(&f, "arg", "a=b");
    fields_add(&f, "arg", "");
    fields_add(&f, "argument", "no");
    fields_add_int(&f, "n", -5);
    cr_assert_eq(frame_send(ends[0], FRAME_REQUEST, 7, &f, &fd, 1, 0), 0);
    cr_assert_eq(frame_receive(ends[1], &frame, 0), 1);
    cr_expect_eq(frame.head.serial, 7);
    cr_expect_eq(frame.fd_count, 1);
    cr_expect_str_eq(frame_get(&frame, "op"), "exec");
    const char *first = frame_next(&frame, "arg", NULL), *second = frame_next(&frame, "arg", first);
    cr_expect_str_eq(first, "a=b");
    cr_expect_str_eq(second, "");
    cr_expect_null(frame_next(&frame, "arg", second));
    cr_expect_null(frame_get(&frame, "ar"));
    cr_expect_eq(frame_get_int(&frame, "n", -10, 10, 0), -5);
    cr_expect_eq(frame_get_int(&frame, "n", 0, 10, 3), 3);
    cr_expect_eq(frame_get_int(&frame, "op", 0, 10, 4), 4);
    frame_close_fds(&frame);
    close(ends[0]);
    cr_expect_eq(frame_receive(ends[1], &frame, 0), 0);
}

Test(protocol, a_frame_of_calls_has_no_fields)
{
    int ends[2];
    pair(ends);
    cr_assert_eq(frame_send_body(ends[0], FRAME_CALLS, 1, "op=create", 9, NULL, 0, 0), 0);
    cr_assert_eq(frame_receive(ends[1], &frame, 0), 1);
    cr_expect_null(frame_get(&frame, "op"));
    cr_expect_eq(frame_get_int(&frame, "op", 0, 9, 4), 4);
}

Test(protocol, an_error_arrives)
{
    int ends[2];
    pair(ends);
    struct error err = ERROR_INIT, got = ERROR_INIT;
    error_set(&err, "sandbox.unknown", 0, "there is no \"%s\"", "x");
    error_hint(&err, "look");
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add_error(&f, &err);
    cr_assert_eq(frame_send(ends[0], FRAME_ERROR, 1, &f, NULL, 0, 0), 0);
    cr_assert_eq(frame_receive(ends[1], &frame, 0), 1);
    cr_assert_eq(frame_error(&frame, &got), -1);
    cr_expect_str_eq(got.code, "sandbox.unknown");
    cr_expect_str_eq(got.message, "there is no \"x\"");
    cr_expect_str_eq(got.hint, "look");

    /* a second error leaves the first one what it was */
    struct error other = ERROR_INIT;
    error_set(&err, "sandbox.busy", 0, "busy");
    _cleanup_fields_ struct fields more = FIELDS_INIT;
    fields_add_error(&more, &err);
    cr_assert_eq(frame_send(ends[0], FRAME_ERROR, 1, &more, NULL, 0, 0), 0);
    cr_assert_eq(frame_receive(ends[1], &frame, 0), 1);
    cr_assert_eq(frame_error(&frame, &other), -1);
    cr_expect_str_eq(other.code, "sandbox.busy");
    cr_expect_str_eq(got.code, "sandbox.unknown");
}

Test(protocol, an_empty_packet_leaves_no_fd)
{
    int ends[2], lowest = dup(0);
    pair(ends);
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int) * 2)];
    } space = {0};
    struct msghdr msg = {.msg_control = space.buf, .msg_controllen = sizeof space.buf};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof ends);
    memcpy(CMSG_DATA(c), ends, sizeof ends);
    close(lowest);
    cr_assert_eq(sendmsg(ends[0], &msg, 0), 0);
    cr_expect_eq(frame_receive(ends[1], &frame, 0), 0);
    int now = dup(0);
    cr_expect_eq(now, lowest);
    close(now);
    cr_assert_eq(sendmsg(ends[0], &msg, 0), 0);
    struct message m;
    int fd;
    cr_expect_eq(message_receive(ends[1], &m, &fd, 0), 0);
    cr_expect_eq(fd, -1);
    now = dup(0);
    cr_expect_eq(now, lowest);
    close(now);
}

Test(protocol, what_is_no_frame_is_refused)
{
    struct frame_head good = {
        .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .type = FRAME_OK, .size = 4};
    struct {
        struct frame_head head;
        char body[8];
    } f;
    struct {
        const char *what;
        struct frame_head head;
        const char *body;
        size_t size;
    } bad[] = {
        {"short head", good, "a=b", sizeof good - 1},
        {"no body", good, "a=b", sizeof good},
        {"longer than said", good, "a=b", sizeof good + 5},
        {"shorter than said", good, "a=b", sizeof good + 3},
        {"no NUL", good, "a=bc", sizeof good + 4},
        {"another magic", good, "a=b", sizeof good + 4},
        {"another version", good, "a=b", sizeof good + 4},
        {"type 0", good, "a=b", sizeof good + 4},
        {"type 7", good, "a=b", sizeof good + 4},
        {"a size that wraps", good, "a=b", sizeof good + 4},
    };
    bad[5].head.magic ^= 1;
    bad[6].head.version++;
    bad[7].head.type = 0;
    bad[8].head.type = 7;
    bad[9].head.size = UINT32_MAX;
    int ends[2];
    pair(ends);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&f, 0x55, sizeof f);
        f.head = bad[i].head;
        memcpy(f.body, bad[i].body, strlen(bad[i].body) + (bad[i].body[3] == '\0'));
        cr_assert_eq(send(ends[0], &f, bad[i].size, 0), (ssize_t)bad[i].size);
        cr_expect_eq(frame_receive(ends[1], &frame, 0), -1, "%s", bad[i].what);
        cr_expect_eq(frame.fd_count, 0);
    }
    f.head = good;
    memcpy(f.body, "a=b", 4);
    cr_assert_eq(send(ends[0], &f, sizeof good + 4, 0), (ssize_t)sizeof good + 4);
    cr_expect_eq(frame_receive(ends[1], &frame, 0), 1);
}

Test(protocol, what_does_not_fit_is_said_before_it_is_sent)
{
    static char large[PROTOCOL_MAX_BODY];
    memset(large, 'x', sizeof large - 1);
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    fields_add(&f, "arg", large);
    cr_assert(f.too_large);
    cr_assert_eq(frame_send(-1, FRAME_REQUEST, 1, &f, NULL, 0, 0), -1);
    cr_assert_eq(errno, E2BIG);
}

/* --- the file in which a command goes to init --- */

static char file[256];

static size_t command(uint32_t args, uint32_t env, const char *strings, size_t bytes)
{
    struct spawn_command head = {
        .magic = SPAWN_MAGIC, .bytes = (uint32_t)bytes, .arg_count = args, .env_count = env};
    memset(file, 0x55, sizeof file);
    memcpy(file, &head, sizeof head);
    memcpy(file + sizeof head, strings, bytes);
    return sizeof head + bytes;
}

Test(protocol, a_command_file)
{
    static char *pointers[SPAWN_MAX_STRINGS + 2];
    struct spawn_parsed p;
    size_t size = command(2, 1, "/\0ls\0-l\0A=B", 12);
    cr_assert(spawn_parse(file, size, pointers, &p));
    cr_expect_str_eq(p.cwd, "/");
    cr_expect_str_eq(p.argv[0], "ls");
    cr_expect_str_eq(p.argv[1], "-l");
    cr_expect_null(p.argv[2]);
    cr_expect_str_eq(p.env[0], "A=B");
    cr_expect_null(p.env[1]);

    cr_expect_not(spawn_parse(file, size - 1, pointers, &p), "shorter than said");
    cr_expect_not(spawn_parse(file, 3, pointers, &p), "no head");
    static const struct {
        uint32_t args, env;
        const char *what;
    } bad[] = {{0, 1, "no argument"},
               {3, 1, "more strings than there are"},
               {1, 1, "fewer strings than there are"},
               {UINT32_MAX, 1, "counts that wrap"},
               {1, UINT32_MAX, "counts that wrap"},
               {SPAWN_MAX_STRINGS, 1, "too many"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size = command(bad[i].args, bad[i].env, "/\0ls\0-l\0A=B", 12);
        cr_expect_not(spawn_parse(file, size, pointers, &p), "%s", bad[i].what);
    }
    size = command(2, 1, "/\0ls\0-l\0A=BC", 12);
    cr_expect_not(spawn_parse(file, size, pointers, &p), "the last string has no end");
    size = command(1, 0, "/\0", 3);
    cr_expect_not(spawn_parse(file, size, pointers, &p), "an empty program");
}
