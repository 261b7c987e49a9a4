/* How the sandboxes of a test are started: the run, its checker, an interactive pair. */
#include "runtime/judge/engine.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

static uint64_t event_of(const struct judge *j, const struct slot *s, int what)
{
    return (uint64_t)(s - j->slots) << EVENT_BITS | (uint64_t)what;
}

int slot_watch(struct judge *j, const struct slot *s, int box, int fd, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_of(j, s, EVENT_BOX + box)};
    if (epoll_ctl(j->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_set(err, "judge.loop", errno, "cannot watch a sandbox");
    return 0;
}

static int fresh_input(const struct judge_test *t, struct stream *ret, struct error *err)
{
    if (t->input_fd < 0) {
        *ret = (struct stream){.kind = STREAM_NULL};
        return -1;
    }
    /* an opening of its own: offsets are not shared between runs, and it cannot be written */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", t->input_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *ret = (struct stream){.kind = STREAM_FD, .fd = fd};
    if (fd < 0)
        error_set(err, "judge.input", errno, "cannot open the input of test %s", t->name);
    return fd;
}

static const struct spec *test_spec(struct judge *j, struct slot *s, const struct program *p)
{
    const struct judge_test *t = &j->tests->items[s->test];
    struct spec *spec = &s->spec[0];
    *spec = *p->spec;
    if (t->arguments.count > 0) {
        spec->args = (struct strings){0};
        for (size_t i = 0; i < p->spec->args.count; i++)
            strings_add(j->arena, &spec->args, p->spec->args.items[i]);
        for (size_t i = 0; i < t->arguments.count; i++)
            strings_add(j->arena, &spec->args, t->arguments.items[i]);
    }
    limits_apply(spec, &t->limits);
    limits_apply(spec, &j->job->limits);
    /* the output is kept in memory until it is judged */
    if (spec->output_bytes > OUTPUT_MAX)
        spec->output_bytes = OUTPUT_MAX;
    return spec;
}

void slot_forget(struct slot *s)
{
    for (int i = 0; i < 2; i++)
        sandbox_slot_done(&s->kept[i]);
    s->owner = s->submission;
}

static int launch(struct judge *j, struct slot *s, int box, const struct spec *spec,
                  struct sandbox_options *options, struct error *err)
{
    bool referee = box == 1 || s->kind == SLOT_CHECK;
    if (s->owner != s->submission)
        slot_forget(s);
    options->slot = &s->kept[referee];
    if (sandbox_run(&s->box[box], spec, options, err) < 0)
        return -1;
    return slot_watch(j, s, box, sandbox_event_fd(s->box[box]), err);
}

int start_run(struct judge *j, struct slot *s, struct error *err)
{
    const struct judge_test *t = &j->tests->items[s->test];
    const struct spec *spec = test_spec(j, s, &s->submission->program);
    struct sandbox_options options = SANDBOX_OPTIONS_INIT;
    _cleanup_close_ int input = fresh_input(t, &options.input, err);
    if (input < 0 && t->input_fd >= 0)
        return -1;
    options.output =
        (struct stream){.kind = STREAM_CAPTURE, .max_bytes = (size_t)spec->output_bytes};
    options.error = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = STDERR_KEPT};
    return launch(j, s, 0, spec, &options, err);
}

static int memory_file(const char *name, const void *data, size_t size, bool writable,
                       struct error *err)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || io_write_all(fd, data, size) < 0 || fchmod(fd, writable ? 0666 : 0444) < 0 ||
        lseek(fd, 0, SEEK_SET) < 0)
        return error_set(err, "judge.memory", errno, "cannot make a memory file");
    if (!writable)
        io_seal(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return TAKE_FD(fd);
}

/* A checker or interactor: input, output and answer are its fds 3, 4 and 5, named on its command
 * line. */
static int start_referee(struct judge *j, struct slot *s, int box, const struct program *p,
                         const struct sandbox_options *streams, struct error *err)
{
    const struct judge_test *t = &j->tests->items[s->test];
    struct spec *spec = &s->spec[box];
    *spec = *p->spec;
    spec->args = (struct strings){0};
    for (size_t i = 0; i < p->spec->args.count; i++)
        strings_add(j->arena, &spec->args, p->spec->args.items[i]);
    static const char *const files[] = {"/proc/self/fd/3", "/proc/self/fd/4", "/proc/self/fd/5"};
    for (size_t i = 0; i < 3; i++)
        strings_add(j->arena, &spec->args, files[i]);
    const struct judge_limits limits = {.cpu_ms = CHECKER_CPU,
                                        .wall_ms = box == 1 ? s->spec[0].wall_ms + CHECKER_WALL
                                                            : CHECKER_WALL,
                                        .memory_bytes = CHECKER_BYTES};
    limits_apply(spec, &limits);
    struct stream stream;
    _cleanup_close_ int input = fresh_input(t, &stream, err);
    if (input < 0 && (input = memory_file("input", "", 0, false, err)) < 0)
        return -1;
    _cleanup_close_ int output = memory_file("output", s->output, s->output_size, box == 1, err);
    _cleanup_close_ int answer =
        output < 0 ? -1 : memory_file("answer", t->answer, t->answer_size, false, err);
    if (answer < 0)
        return -1;
    int fds[3] = {input, output, answer};
    struct sandbox_options options = *streams;
    options.pass_fds = fds;
    options.pass_fd_count = 3;
    options.error = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = STDERR_KEPT};
    return launch(j, s, box, spec, &options, err);
}

int start_check(struct judge *j, struct slot *s, struct error *err)
{
    struct sandbox_options options = SANDBOX_OPTIONS_INIT;
    options.input.kind = STREAM_NULL;
    options.output = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = STDERR_KEPT};
    s->kind = SLOT_CHECK;
    s->ended[0] = false;
    return start_referee(j, s, 0, &j->checker_program, &options, err);
}

/* Wait for the one thing that the relay waits for. */
void relay_watch(struct judge *j, struct slot *s, int way)
{
    struct relay *r = &s->relay[way];
    enum relay_state before = r->state, now = relay_step(r);
    if (now == RELAY_WRITER_GONE || now == RELAY_READER_GONE) {
        bool submission = (way == 0) == (now == RELAY_WRITER_GONE);
        if (s->first_gone == 0)
            s->first_gone = submission ? 1 : 2;
        return;
    }
    if (now == before)
        return;
    struct epoll_event event = {.data.u64 = event_of(j, s, EVENT_RELAY + way)};
    event.events = now == RELAY_WAITS_OUTPUT ? EPOLLOUT : 0;
    epoll_ctl(j->epoll, EPOLL_CTL_MOD, r->to, &event);
    /* taken out, not masked: an end of input would be told again and again until there is room */
    event.events = EPOLLIN;
    epoll_ctl(j->epoll, now == RELAY_WAITS_INPUT ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->from, &event);
}

static int relay_open(struct judge *j, struct slot *s, int way, int *ret_writer, int *ret_reader,
                      struct error *err)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return error_set(err, "judge.pipe", errno, "cannot make a pipe");
    s->relay[way].from = in[0];
    *ret_writer = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return error_set(err, "judge.pipe", errno, "cannot make a pipe");
    s->relay[way].to = out[1];
    *ret_reader = out[0];
    s->relay[way].state = RELAY_WAITS_INPUT;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_of(j, s, EVENT_RELAY + way)};
    int failed = fcntl(in[0], F_SETFL, O_NONBLOCK) | fcntl(out[1], F_SETFL, O_NONBLOCK) |
                 epoll_ctl(j->epoll, EPOLL_CTL_ADD, in[0], &event);
    event.events = 0;
    failed |= epoll_ctl(j->epoll, EPOLL_CTL_ADD, out[1], &event);
    return failed != 0 ? error_set(err, "judge.pipe", errno, "cannot watch a pipe") : 0;
}

int start_interactive(struct judge *j, struct slot *s, struct error *err)
{
    _cleanup_close_ int program_in = -1, program_out = -1, interactor_in = -1, interactor_out = -1;
    if (relay_open(j, s, 0, &program_out, &interactor_in, err) < 0 ||
        relay_open(j, s, 1, &interactor_out, &program_in, err) < 0)
        return -1;
    const struct spec *spec = test_spec(j, s, &s->submission->program);
    struct sandbox_options options = SANDBOX_OPTIONS_INIT;
    options.input.fd = interactor_in;
    options.output.fd = interactor_out;
    if (start_referee(j, s, 1, &j->interactor, &options, err) < 0)
        return -1;
    options = (struct sandbox_options)SANDBOX_OPTIONS_INIT;
    options.input.fd = program_in;
    options.output.fd = program_out;
    options.error = (struct stream){.kind = STREAM_CAPTURE, .max_bytes = STDERR_KEPT};
    return launch(j, s, 0, spec, &options, err);
}
