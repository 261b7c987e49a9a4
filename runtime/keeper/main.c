/* cloche-keeper ID: theory of operation in keeper.h. Started by the client library, which says at
 * fd 3 what to do (runtime/launch.h), and waits there for one frame: OK when the sandbox runs, or
 * ERROR. */
#include "runtime/keeper/keeper.h"
#include "runtime/keeper/sampling.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/packet.h"
#include "base/state.h"
#include "runtime/keeper/builder.h"
#include "runtime/keeper/modules.h"
#include "runtime/keeper/queries.h"
#include "runtime/keeper/tree.h"
#include "runtime/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#define READY_FD 3

static void on_alarm(int unused)
{
    (void)unused;
}

static int lock_within(int fd, int ms)
{
    const struct sigaction late = {.sa_handler = on_alarm}; /* and no SA_RESTART */
    const struct itimerval never = {0},
                           then = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    sigaction(SIGALRM, &late, NULL);
    setitimer(ITIMER_REAL, &then, NULL);
    int rc = flock(fd, LOCK_EX);
    setitimer(ITIMER_REAL, &never, NULL);
    return rc;
}

static int open_below(int top, const char *name)
{
    return openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int lock_state(struct keeper *k, bool wait, struct error *err)
{
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    if (all < 0)
        return -1;
    k->state_fd = open_below(all, k->id);
    if (k->state_fd < 0)
        return error_set(err, "sandbox.unknown", errno == ENOENT ? 0 : errno,
                         "there is no sandbox \"%s\"", k->id);
    /* of one that is ending, or was killed just now: its socket is closed before its lock goes */
    int rc = lock_within(k->state_fd, wait ? 5000 : 300);
    if (rc < 0 && wait && holder_kill(k->state_fd))
        rc = lock_within(k->state_fd, 5000);
    if (rc < 0) {
        error_set(err, "keeper.running", 0, "sandbox \"%s\" has a keeper already", k->id);
        return error_hint(err, "when it cannot be reached: cloche destroy --force %s", k->id);
    }
    struct stat st, named;
    if (fstat(k->state_fd, &st) < 0)
        return error_set(err, "keeper.state", errno, "cannot examine the state of \"%s\"", k->id);
    if (fstatat(all, k->id, &named, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != named.st_ino ||
        st.st_dev != named.st_dev) /* destroyed while we waited */
        return error_set(err, "sandbox.unknown", 0, "there is no sandbox \"%s\"", k->id);
    /* the same id below another CLOCHE_ROOT is another sandbox */
    snprintf(k->group, sizeof k->group, "sandbox-%s-%llx-%llx", k->id,
             (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return 0;
}

static int make_below(int top, const char *name)
{
    return mkdirat(top, name, 0700) < 0 && errno != EEXIST ? -1 : open_below(top, name);
}

static int make_directories(struct keeper *k, struct error *err)
{
    k->log_fd = make_below(k->state_fd, "log");
    if (k->log_fd < 0)
        return error_set(err, "keeper.state", errno, "cannot make the directory of logs of \"%s\"",
                         k->id);
    _cleanup_close_ int runs = state_open_run_dir("sandboxes", err);
    if (runs < 0)
        return -1;
    k->run_fd = make_below(runs, k->id);
    if (k->run_fd < 0)
        return error_set(err, "keeper.state", errno, "cannot make the run directory of \"%s\"",
                         k->id);
    return 0;
}

/** What is stored, for a sandbox with or without a keeper. */
static int answer_query(const struct keeper *k, struct error *err)
{
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    if (all < 0)
        return -1;
    _cleanup_close_ int dir = open_below(all, k->id);
    if (dir < 0)
        return error_set(err, "sandbox.unknown", errno == ENOENT ? 0 : errno,
                         "there is no sandbox \"%s\"", k->id);
    return query_serve(READY_FD, dir, k->id) < 0
               ? error_set(err, "protocol.frame", 0, "what was sent is no question")
               : 0;
}

static int read_spec(struct keeper *k, struct error *err)
{
    _cleanup_close_ int fd = openat(k->state_fd, "spec.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_free_ char *text = NULL;
    ssize_t n = fd < 0 ? -1 : io_read_to_end(fd, SPEC_MAX_BYTES, &text);
    if (n < 0)
        return error_set(err, "keeper.state", errno, "cannot read the spec of \"%s\"", k->id);
    k->spec = spec_new();
    if (spec_apply_json(k->spec, text, (size_t)n, "/", err) < 0 || spec_validate(k->spec, err) < 0)
        return error_wrap(err, "spec of \"%s\"", k->id);
    k->spec->terminal = false;
    return 0;
}

/** Errors that nobody is there to hear go to a file. */
static void detach(struct keeper *k)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = openat(k->state_fd, "keeper.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log >= 0 ? log : null, 2);
    close(null);
    cleanup_close(&log);
}

/** Who made the socket that this keeper reports to, for the journal. */
static const struct connection *maker(void)
{
    static struct connection by;
    struct ucred who;
    socklen_t size = sizeof who;
    if (by.pid == 0 && getsockopt(READY_FD, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        by.uid = who.uid;
        by.pid = who.pid;
    }
    return by.pid != 0 ? &by : NULL;
}

/** Tell who waits at the pipe. */
static void answer(const struct error *err)
{
    _cleanup_fields_ struct fields f = FIELDS_INIT;
    if (err != NULL)
        fields_add_error(&f, err);
    frame_send(READY_FD, err != NULL ? FRAME_ERROR : FRAME_OK, 0, &f, NULL, 0, 0);
    close(READY_FD);
}

static void came_up(struct keeper *k, const struct error *err)
{
    bool first = k->restarts == 0;
    journal_stop(k, k->stop_span, first ? "create" : "restart", maker(), err);
    answer(err);
    if (err == NULL || !first) /* what fails later is shown as failed, and can be restarted */
        return;
    if (strcmp(err->code, KEEPER_INTERRUPTED) == 0) /* whoever did that goes on with it */
        return;
    keeper_release(k, NULL);
    loop_stop(k->loop);
}

static int begin(struct keeper *k, struct error *err)
{
    if (lock_state(k, false, err) < 0 || make_directories(k, err) < 0)
        return -1;
    detach(k);
    if (read_spec(k, err) < 0)
        return -1;
    journal_read(k);
    k->loop = loop_new();
    if (k->loop == NULL)
        return error_set(err, "keeper.memory", errno, "cannot make the loop");
    k->stop_span = journal_start(k, k->restarts == 0 ? "create" : "restart", maker(), NULL);
    int rc = server_open(k, err);
    if (rc == 0 && k->restarts > 0) /* a killed keeper cannot have removed its group */
        sandbox_sweep(k->group, NULL);
    if (rc == 0)
        rc = modules_open(k, err);
    if (rc == 0) {
        collect_start(k);
        rc = keeper_start(k, came_up, err);
    }
    if (rc < 0 && k->restarts > 0)
        keeper_set_status(k, STATUS_FAILED, err->message);
    if (rc < 0)
        journal_stop(k, k->stop_span, k->restarts == 0 ? "create" : "restart", maker(), err);
    return rc;
}

/** A sandbox whose keeper was killed, or could not start: its tree is dead, the rest goes. */
static int remove_all(struct keeper *k, struct error *err)
{
    if (lock_state(k, true, err) < 0)
        return -1;
    _cleanup_close_ int runs = state_open_run_dir("sandboxes", NULL);
    k->run_fd = runs < 0 ? -1 : open_below(runs, k->id); /* there may be none, and no room for it */
    uint64_t span = journal_start(k, "destroy", maker(), "without its keeper");
    sandbox_sweep(k->group, err);
    int rc = keeper_remove(k, err);
    journal_stop(k, span, "destroy", maker(), rc < 0 ? err : NULL);
    return rc;
}

/** Wait for the task. False: there is none, whoever started this has changed his mind. */
static bool be_told(char *task, size_t size, int *ret_network)
{
    const struct iovec part = {.iov_base = task, .iov_len = size - 1};
    unsigned fds = 0;
    ssize_t n = packet_receive(READY_FD, &part, 1, ret_network, 1, &fds, 0);
    task[n > 0 ? n : 0] = '\0';
    return n > 0;
}

int main(int argc, char **argv)
{
    static struct keeper k = {
        .state_fd = -1, .run_fd = -1, .log_fd = -1, .network = -1, .listener = -1};
    struct error err = ERROR_INIT;
    sigset_t none; /* all were blocked for the start */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (argc == 2 && strcmp(argv[1], PUBLISHER) == 0)
        builder_publish();
    if (argc != 2 || !spec_valid_id(argv[1]) || fcntl(READY_FD, F_GETFD) < 0) {
        fputs("cloche-keeper is started by `cloche create` and `cloche restart`\n", stderr);
        return 2;
    }
    snprintf(k.id, sizeof k.id, "%s", argv[1]);
    fcntl(READY_FD, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    umask(0077);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    srandom((unsigned)getpid()); /* every keeper has a jitter of its own */

    char task[KEEPER_TASK_MAX];
    if (!be_told(task, sizeof task, &k.network))
        return 0;
    bool remove = strcmp(task, KEEPER_REMOVE) == 0;
    if (strcmp(task, KEEPER_QUERY) == 0) {
        if (answer_query(&k, &err) < 0)
            answer(&err);
        return err.code != NULL;
    }
    int rc = remove ? remove_all(&k, &err) : begin(&k, &err);
    if (rc < 0 || remove) {
        answer(rc < 0 ? &err : NULL);
        return rc < 0 ? 1 : 0;
    }
    loop_run(k.loop);
    modules_close(&k);
    server_close(&k);
    modules_free(&k);
    logs_close(&k);
    sampling_free(&k);
    loop_free(k.loop);
    spec_free(k.spec);
    return 0;
}
