/* cloche run: one command in a fresh sandbox. Theory of operation: isolation/sandbox.h.
 *
 * Exit status: the program's own; 124 time limit; 125 Cloche itself failed, nothing ran; 126 found
 * but cannot be executed; 127 not found; 128+N killed by signal N (137 for memory and every other
 * limit that kills). */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/** All signals are handed to the program, but for ^Z, which holds both, and those that keep their
 * meaning for us: our own faults, our children, our limits, and a terminal that is somebody else's.
 */
static int open_signals(struct error *err)
{
    static const int ours[] = {SIGILL,  SIGTRAP, SIGBUS,  SIGFPE,  SIGSEGV, SIGSYS,
                               SIGCHLD, SIGXCPU, SIGXFSZ, SIGPIPE, SIGTTIN, SIGTTOU};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        sigdelset(&set, ours[i]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? error_set(err, "run.signals", errno, "cannot receive signals") : fd;
}

/** ^Z: who stands still watches no limits, so the tree does, too. */
static void stand_still(struct sandbox *s, int sig)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, sig);
    sandbox_suspend(s, true);
    raise(sig);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* here, until SIGCONT */
    sigprocmask(SIG_BLOCK, &one, NULL);
    sandbox_suspend(s, false);
}

/** A change of the window's size is the program's terminal's where it has one. */
static int wait_for_end(struct sandbox *s, int signals, bool terminal, struct report *r,
                        struct error *err)
{
    struct pollfd fds[2] = {{.fd = sandbox_event_fd(s), .events = POLLIN},
                            {.fd = signals, .events = POLLIN}};
    for (;;) {
        int rc = sandbox_dispatch(s, err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            break;
        if (poll(fds, 2, -1) < 0)
            continue;
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
            if (info.ssi_signo == SIGWINCH && terminal)
                sandbox_resize(s);
            else if (info.ssi_signo == SIGTSTP)
                stand_still(s, SIGTSTP);
            else
                sandbox_signal(s, (int)info.ssi_signo);
        }
    }
    sandbox_report(s, r);
    return 0;
}

static int exit_status(const struct report *r)
{
    if (r->verdict == VERDICT_TIME_LIMIT)
        return 124;
    /* also when only a part of the tree was killed for it and the program itself ended well */
    if (r->verdict == VERDICT_MEMORY_LIMIT || r->verdict == VERDICT_OUTPUT_LIMIT)
        return 137;
    if (r->signal != 0)
        return 128 + r->signal;
    return r->exit_code < 0 ? 137 : r->exit_code;
}

/** The file is opened before anything runs, so that a report that cannot be written stops the
 * launch. An old report is spoilt and not cut off: a run that is killed must not leave it behind,
 * but ext4 waits for the disk when a file is closed that was cut to nothing (auto_da_alloc). */
static int open_report(const char *path, struct error *err)
{
    if (strcmp(path, "-") == 0)
        return fcntl(2, F_DUPFD_CLOEXEC, 3);
    struct stat st;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd >= 0 && fstat(fd, &st) == 0 &&
        (!S_ISREG(st.st_mode) || st.st_size == 0 || pwrite(fd, "\n", 1, 0) == 1))
        return TAKE_FD(fd);
    error_set(err, "run.report", errno, "cannot write the report to \"%s\"", path);
    error_path(err, path);
    return error_hint(err, "choose a writable place for --report");
}

static int write_report(int fd, const struct report *r, const char *path, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    struct stat st;
    FILE *f = open_memstream(&text, &size);
    if (f != NULL)
        cli_print_report(f, r);
    bool failed = f == NULL || fclose(f) != 0 || io_write_all(fd, text, size) < 0;
    int errnum = errno;
    /* what the old report had more is cut off; of one that could not be written nothing stays */
    off_t end = failed ? 0 : (off_t)size;
    if (strcmp(path, "-") != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > end &&
        ftruncate(fd, end) < 0 && !failed) {
        failed = true;
        errnum = errno;
    }
    if (close(fd) < 0 || failed) {
        error_set(err, "run.report", failed ? errnum : errno, "cannot write the report to \"%s\"",
                  path);
        return error_hint(err, "free some space, or choose another place for --report");
    }
    return 0;
}

static int check_streams(struct error *err)
{
    static const char *const names[] = {"input", "output", "error"};
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        error_set(err, "run.streams", 0, "standard %s is closed", names[fd]);
        return error_hint(err, fd == 0 ? "redirect it: </dev/null" : "redirect it: >/dev/null");
    }
    return 0;
}

static int status_of(const struct error *err)
{
    if (err->code != NULL && strcmp(err->code, "sandbox.not_found") == 0)
        return 127;
    if (err->code != NULL && strcmp(err->code, "sandbox.not_executable") == 0)
        return 126;
    return EXIT_CLOCHE;
}

/** A bad value is a mistake in the command; a system call that failed on a good one is not. */
static int status_of_options(const struct error *err)
{
    return err->errnum == 0 ? EXIT_USAGE : EXIT_CLOCHE;
}

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/**
 * Output that is counted is copied. With a memory limit so is what goes to a file: its pages would
 * count as the program's memory, and while such a page is dirty, a v1 group at its limit waits
 * 100 ms before it kills (mm/vmscan.c: VMSCAN_THROTTLE_WRITEBACK). Not with a limit for files, be
 * it the caller's own: it is for this one, too. Where both streams are one file they stay one, and
 * keep their order.
 */
static void choose_streams(struct sandbox_options *o, const struct spec *spec)
{
    if (spec->output_bytes != LIMIT_NONE) {
        o->output.kind = o->error.kind = STREAM_COPY;
        return;
    }
    struct rlimit own;
    rlim_t file_bytes = getrlimit(RLIMIT_FSIZE, &own) < 0 ? RLIM_INFINITY : own.rlim_cur;
    for (size_t i = 0; i < spec->rlimit_count; i++) {
        if (spec->rlimits[i].resource == RLIMIT_FSIZE)
            file_bytes = spec->rlimits[i].soft;
    }
    if (spec->resources.memory_bytes == LIMIT_NONE || file_bytes != RLIM_INFINITY)
        return;
    int apart = (int)syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, 2);
    if (apart < 0)
        return;
    if (is_file(1))
        o->output.kind = STREAM_COPY;
    if (is_file(2))
        o->error.kind = apart == 0 ? STREAM_OUTPUT : STREAM_COPY;
}

/** What to run: 0, or the exit status. */
static int read_command(struct cli_sandbox *c, int argc, char **argv, struct error *err)
{
    struct spec *spec = c->spec;
    if (cli_sandbox_base(c, cli_sandbox_options, argc, argv, err) < 0 || check_streams(err) < 0)
        return EXIT_CLOCHE;
    int first = cli_parse(cli_sandbox_options, c, argc, argv, err);
    if (first < 0)
        return status_of_options(err);
    if (first < argc) {
        spec->args = (struct strings){0};
        for (int i = first; i < argc; i++)
            strings_add(spec->arena, &spec->args, argv[i]);
    }
    if (spec->args.count == 0) {
        error_set(err, "usage.no_command", 0, "no command given");
        error_hint(err, "cloche run [OPTIONS] -- COMMAND [ARG...]");
        return EXIT_USAGE;
    }
    if (cli_sandbox_finish(c, err) < 0)
        return strncmp(err->code, "usage.", 6) == 0 ? EXIT_USAGE : EXIT_CLOCHE;
    return 0;
}

/** Nothing ran: that is what the report says, too. */
static int fail(const struct cli_sandbox *c, int report_fd, const struct error *err, int status)
{
    if (report_fd >= 0) {
        struct report r = {.verdict = VERDICT_SETUP_ERROR, .exit_code = -1};
        snprintf(r.detail, sizeof r.detail, "%.255s", err->message);
        write_report(report_fd, &r, c->report, NULL);
    }
    return cli_fail(err, c->json, status);
}

int cli_run(int argc, char **argv)
{
    if (cli_wants_help("run", cli_sandbox_options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    _cleanup_spec_ struct spec *spec = spec_new();
    struct cli_sandbox c = {.spec = spec};
    int wrong = read_command(&c, argc, argv, &err);
    _cleanup_close_ int report_fd =
        c.report != NULL ? open_report(c.report, wrong == 0 ? &err : NULL) : -1;
    if (wrong != 0)
        return fail(&c, TAKE_FD(report_fd), &err, wrong);
    if (c.report != NULL && report_fd < 0)
        return cli_fail(&err, c.json, EXIT_CLOCHE);

    struct sandbox_options options = SANDBOX_OPTIONS_INIT;
    choose_streams(&options, spec);
    if (spec->terminal && isatty(0))
        options.terminal_fd = 0;
    options.arguments = program_invocation_name; /* glibc's name for the real argv[0] */
    options.arguments_bytes =
        (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - program_invocation_name);

    _cleanup_close_ int signals = open_signals(&err);
    if (signals < 0)
        return fail(&c, TAKE_FD(report_fd), &err, EXIT_CLOCHE);
    _cleanup_sandbox_ struct sandbox *s = NULL;
    struct report r = {0};
    if (sandbox_run(&s, spec, &options, &err) < 0 ||
        wait_for_end(s, signals, options.terminal_fd >= 0, &r, &err) < 0) {
        sandbox_free(TAKE_PTR(s)); /* the terminal back first, then the message */
        return fail(&c, TAKE_FD(report_fd), &err, status_of(&err));
    }
    sandbox_free(TAKE_PTR(s));
    if (report_fd >= 0 && write_report(TAKE_FD(report_fd), &r, c.report, &err) < 0)
        return cli_fail(&err, c.json, EXIT_CLOCHE);
    if (c.json)
        cli_print_report(stderr, &r);
    if (c.json && ferror(stderr)) /* nor can that be told */
        return exit_status(&r) == 0 ? EXIT_CLOCHE : exit_status(&r);
    if (r.output_errno != 0) {
        error_set(&err, "run.output", r.output_errno, "the program's output could not be written");
        error_hint(&err, "free some space, or send it elsewhere");
        cli_fail(&err, c.json, EXIT_CLOCHE);
        return exit_status(&r) == 0 ? EXIT_CLOCHE : exit_status(&r);
    }
    return exit_status(&r);
}
