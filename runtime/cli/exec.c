/* cloche exec: a command in a running sandbox. Its streams are ours, or with -t a terminal of its
 * own that is copied to and from ours here. Exit status as of `run`. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "isolation/sandbox.h"
#include "runtime/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#define DEFAULT_TIMEOUT_MS 30000

struct exec {
    struct fields fields;
    bool json, terminal, interactive, timeout_given, term_given;
    uint64_t timeout_ms;
};

static int set_timeout(void *context, const char *text, struct error *err)
{
    struct exec *e = context;
    e->timeout_given = true;
    e->timeout_ms = 0;
    return strcmp(text, "none") == 0 ? 0 : spec_parse_duration(text, &e->timeout_ms, err);
}

static int set_env(void *context, const char *text, struct error *err)
{
    char pair[65536];
    if (text[0] == '=' || text[0] == '\0')
        return error_set(err, "usage.env", 0, "\"%s\" is not KEY=VALUE", text);
    if (strchr(text, '=') == NULL) {
        const char *value = getenv(text);
        if (value == NULL)
            return 0;
        if ((size_t)snprintf(pair, sizeof pair, "%s=%s", text, value) >= sizeof pair)
            return error_set(err, "usage.env", 0, "the value of %s is too long", text);
        text = pair;
    }
    struct exec *e = context;
    e->term_given = e->term_given || strncmp(text, "TERM=", 5) == 0;
    fields_add(&e->fields, "env", text);
    return 0;
}

static int set_cwd(void *context, const char *text, struct error *err)
{
    if (text[0] != '/')
        return error_set(err, "usage.cwd", 0, "working directory \"%s\" is not absolute", text);
    fields_add(&((struct exec *)context)->fields, "cwd", text);
    return 0;
}

static int set_user(void *context, const char *text, struct error *err)
{
    uid_t uid;
    gid_t gid;
    bool gid_given;
    if (spec_parse_user(text, &uid, &gid, &gid_given, err) < 0)
        return -1;
    fields_add(&((struct exec *)context)->fields, "user", text);
    return 0;
}

static const struct cli_option options[] = {
    CLI_SWITCH('i', "interactive", "no time limit of its own; stdin always belongs to the command",
               exec, interactive),
    CLI_SWITCH('t', "tty", "give the command a terminal of its own", exec, terminal),
    {0, "timeout", "TIME", "kill it after this time (30s; none with -i or -t); none: no limit",
     set_timeout},
    {'e', "env", "KEY=VALUE", "set a variable; KEY alone passes it on", set_env},
    {'w', "workdir", "DIR", "working directory", set_cwd},
    {'u', "user", "UID[:GID]", "user inside", set_user},
    CLI_SWITCH(0, "json", "errors as JSON, and what became of it on stderr", exec, json),
    {0, NULL, NULL, NULL, NULL},
};

/* --- a terminal ---------------------------------------------------------------------------------
 */

static struct termios saved;
static bool raw;

static void restore(void)
{
    if (raw)
        tcsetattr(0, TCSADRAIN, &saved);
    raw = false;
}

static void make_raw(void)
{
    struct termios t;
    if (!isatty(0) || tcgetattr(0, &saved) < 0)
        return;
    t = saved;
    cfmakeraw(&t);
    raw = tcsetattr(0, TCSADRAIN, &t) == 0;
}

static void resize(int terminal)
{
    struct winsize size;
    if (terminal >= 0 && ioctl(0, TIOCGWINSZ, &size) == 0)
        ioctl(terminal, TIOCSWINSZ, &size);
}

/** One direction of a terminal. Neither waits in a read or a write: the program may do nothing
 * before the other has gone on. -1: no more will come from there. */
struct flow {
    int from, to;
    size_t used, sent;
    char buf[PIPE_BUF]; /* for which a pipe that is said to be writable has room */
};

static void flow_ask(const struct flow *f, struct pollfd fds[2])
{
    bool full = f->used > 0;
    fds[0] = (struct pollfd){.fd = full ? -1 : f->from, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = full ? f->to : -1, .events = POLLOUT};
}

/** false: it is over. */
static bool flow_go_on(struct flow *f, const struct pollfd fds[2])
{
    ssize_t n = 0;
    if (fds[0].revents != 0) {
        n = read(f->from, f->buf, sizeof f->buf);
        if (n == 0)
            return false;
        f->used = n > 0 ? (size_t)n : 0;
    } else if (fds[1].revents != 0) {
        n = write(f->to, f->buf + f->sent, f->used - f->sent);
        f->sent += n > 0 ? (size_t)n : 0;
        if (f->sent == f->used)
            f->sent = f->used = 0;
    }
    return n >= 0 || errno == EINTR || errno == EAGAIN;
}

static void flow_end(struct flow *f)
{
    f->from = -1;
    f->sent = f->used = 0;
}

/** The last words of the terminal: nothing holds its inner end any more. */
static void flow_finish(struct flow *f)
{
    ssize_t n = (ssize_t)f->used;
    while (f->from >= 0 && io_write_all(f->to, f->buf + f->sent, (size_t)n - f->sent) == 0 &&
           (n = read(f->from, f->buf, sizeof f->buf)) > 0)
        f->sent = 0;
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++)
        sigaddset(&set, forwarded[i]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void forward(int socket, int signals, int terminal, struct error *err)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH) {
            resize(terminal);
            continue;
        }
        _cleanup_fields_ struct fields f = FIELDS_INIT;
        fields_add_int(&f, "signal", (int)info.ssi_signo);
        client_send(socket, "signal", &f, NULL, 0, err);
    }
}

static int wait_for_end(int socket, const char *id, int signals, struct frame *f, struct error *err)
{
    _cleanup_close_ int terminal = -1;
    struct flow out = {.from = -1, .to = 1}, in = {.from = -1};
    enum { SOCKET, SIGNALS, OUT, IN = OUT + 2, COUNT = IN + 2 };
    struct pollfd fds[COUNT] = {{.fd = socket, .events = POLLIN},
                                {.fd = signals, .events = POLLIN}};
    for (;;) {
        flow_ask(&out, &fds[OUT]);
        flow_ask(&in, &fds[IN]);
        if (poll(fds, COUNT, -1) < 0) {
            if (errno == EINTR)
                continue;
            return error_set(err, "exec.poll", errno, "cannot wait for the command");
        }
        if (fds[SIGNALS].revents != 0)
            forward(socket, signals, terminal, err);
        if (!flow_go_on(&out, &fds[OUT])) {
            bool unread = out.used > 0;
            flow_end(&out);
            if (unread) { /* nobody will: the terminal hangs up, and the command gets SIGHUP */
                flow_end(&in);
                cleanup_close(&terminal);
                terminal = -1;
                continue;
            }
        }
        bool more = flow_go_on(&in, &fds[IN]);
        if (!more)
            flow_end(&in);
        if (!more || (fds[OUT].revents != 0 && in.from < 0 && in.used == 0))
            in.used = terminal >= 0 ? terminal_end_mark(terminal, in.buf) : 0;
        if (fds[SOCKET].revents == 0)
            continue;
        int rc = client_next(socket, id, f, err);
        if (rc > 0 && f->fd_count == 1 && terminal < 0) {
            terminal = f->fds[0];
            f->fd_count = 0;
            fcntl(terminal, F_SETFL, O_NONBLOCK);
            out.from = in.to = terminal;
            in.from = 0;
            make_raw();
            resize(terminal);
        }
        frame_close_fds(f);
        if (rc > 0)
            continue;
        if (rc == 0)
            flow_finish(&out);
        return rc;
    }
}

static int status_of_error(const struct error *err)
{
    if (strncmp(err->code, "usage.", 6) == 0 || strcmp(err->code, "sandbox.bad_id") == 0)
        return EXIT_USAGE;
    if (strcmp(err->code, "sandbox.not_executable") == 0)
        return 126;
    return strcmp(err->code, "sandbox.not_found") == 0 ? 127 : EXIT_CLOCHE;
}

static int finish(const struct exec *e, const struct frame *f)
{
    const char *verdict = frame_get(f, "verdict");
    int code = (int)frame_get_int(f, "exit_code", -1, 255, -1),
        sig = (int)frame_get_int(f, "signal", 0, 64, 0);
    verdict = verdict != NULL ? verdict : "runtime_error";
    if (e->json) {
        fprintf(stderr, "{\"verdict\":\"%s\",\"exit_code\":", verdict);
        fprintf(stderr, code < 0 ? "null" : "%d", code);
        fputs(",\"signal\":", stderr);
        fprintf(stderr, sig == 0 ? "null" : "%d", sig);
        fprintf(stderr, ",\"wall_ms\":%.3f,\"user_ms\":%.3f,\"system_ms\":%.3f",
                (double)frame_get_int(f, "wall_us", 0, INT64_MAX, 0) / 1000.0,
                (double)frame_get_int(f, "user_us", 0, INT64_MAX, 0) / 1000.0,
                (double)frame_get_int(f, "system_us", 0, INT64_MAX, 0) / 1000.0);
        const char *blocked = frame_get(f, "blocked_syscall");
        bool none = blocked == NULL || blocked[0] == '\0';
        fprintf(stderr, ",\"max_rss_bytes\":%lld,\"blocked_syscall\":%s%s%s}\n",
                (long long)frame_get_int(f, "max_rss_bytes", 0, INT64_MAX, 0), none ? "" : "\"",
                none ? "null" : blocked, none ? "" : "\"");
    }
    if (strcmp(verdict, "time_limit") == 0)
        return 124;
    return sig != 0 ? 128 + sig : code < 0 ? 137 : code;
}

int cli_exec(int argc, char **argv)
{
    if (cli_wants_help("exec", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct exec e = {.timeout_ms = DEFAULT_TIMEOUT_MS};
    int at = cli_parse(options, &e, argc, argv, &err);
    if (at < 0)
        return cli_fail(&err, e.json, EXIT_USAGE);
    const char *id = at < argc ? argv[at++] : NULL;
    at += at < argc && strcmp(argv[at], "--") == 0;
    if (id == NULL || at >= argc) {
        error_set(&err, "usage.no_command", 0, "no %s given", id == NULL ? "id" : "command");
        error_hint(&err, "cloche exec [OPTIONS] ID [--] COMMAND [ARG...]");
        return cli_fail(&err, e.json, EXIT_USAGE);
    }
    for (; at < argc; at++)
        fields_add(&e.fields, "arg", argv[at]);
    if (e.terminal) {
        struct winsize size = {0};
        ioctl(0, TIOCGWINSZ, &size);
        fields_add_int(&e.fields, "terminal", 1);
        fields_add_int(&e.fields, "rows", size.ws_row);
        fields_add_int(&e.fields, "columns", size.ws_col);
        if (!e.term_given && getenv("TERM") != NULL)
            set_env(&e, "TERM", NULL);
    }
    if ((e.timeout_given || !(e.terminal || e.interactive)) && e.timeout_ms != 0)
        fields_add_int(&e.fields, "timeout_ms", (int64_t)e.timeout_ms);

    const int streams[3] = {0, 1, 2};
    for (int i = 0; i < 3; i++) {
        if (fcntl(i, F_GETFD) < 0) {
            error_set(&err, "exec.streams", 0, "standard stream %d is closed", i);
            error_hint(&err, "redirect it: </dev/null or >/dev/null");
            return cli_fail(&err, e.json, EXIT_CLOCHE);
        }
    }
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_close_ int signals = open_signals();
    _cleanup_close_ int fd = client_connect(id, &err);
    int rc = fd < 0 ? -1 : client_send(fd, "exec", &e.fields, streams, e.terminal ? 0 : 3, &err);
    fields_free(&e.fields);
    if (rc == 0)
        rc = wait_for_end(fd, id, signals, f, &err);
    restore();
    return rc < 0 ? cli_fail(&err, e.json, status_of_error(&err)) : finish(&e, f);
}
