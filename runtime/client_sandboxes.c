/* Sandboxes as a client sees them: making one, starting its keeper, ending it, listing them. */
#include "runtime/client_private.h"

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"
#include "base/syscalls.h"
#include "runtime/quota.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KEEPER    "cloche-keeper"
#define NEW_MARK  ".new-"
#define UNMAKE_MS 15000 /* for the end of a keeper whose sandbox did not come up in time */

/* --- keepers ------------------------------------------------------------------------------------
 */

/** Where the keeper's program is: beside this one, else where it was installed. */
static void find_keeper(char *path, size_t size)
{
    const char *given = getenv("CLOCHE_KEEPER");
    if (given != NULL && given[0] == '/') {
        snprintf(path, size, "%s", given);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof KEEPER);
    if (n > 0) {
        path[n] = '\0';
        char *name = strrchr(path, '/') + 1;
        memcpy(name, KEEPER, sizeof KEEPER);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, size, "%s/" KEEPER, CLOCHE_BINDIR);
}

/* Twice cloned, so that the keeper is nobody's child. The keeper lets signals in again. */

struct start {
    const char *path;
    char **argv;
    int ready;
    char (*stacks)[BESIDE_STACK];
};

static int be_keeper(void *argument)
{
    const struct start *s = argument;
    if (dup2(s->ready, 3) < 0 || sys_close_range(4, ~0U, 0) < 0 || chdir("/") < 0)
        return 1;
    execv(s->path, s->argv);
    return 127;
}

static int be_parent(void *argument)
{
    const struct start *s = argument;
    return setsid() < 0 || beside_start(be_keeper, argument, s->stacks[1]) < 0;
}

static int spawn_keeper(const char *path, const char *id, const char *instead, int ready,
                        struct error *err)
{
    char *argv[] = {(char *)(uintptr_t)KEEPER, (char *)(uintptr_t)id, (char *)(uintptr_t)instead,
                    NULL};
    char stacks[2][BESIDE_STACK] __attribute__((aligned(16)));
    struct start s = {.path = path, .argv = argv, .ready = ready, .stacks = stacks};
    int status = 0;
    pid_t first = beside_start(be_parent, &s, stacks[0]);
    while (first >= 0 && waitpid(first, &status, 0) < 0 && errno == EINTR)
        continue;
    return first >= 0 && status == 0 ? 0
                                     : error_set(err, "keeper.start", first < 0 ? errno : EAGAIN,
                                                 "cannot start a keeper");
}

int client_launch(const char *id, const char *instead, struct error *err)
{
    char path[PATH_MAX];
    int ends[2];
    find_keeper(path, sizeof path);
    if (access(path, X_OK) < 0) {
        error_set(err, "keeper.start", errno, "cannot run the keeper \"%s\"", path);
        return error_hint(err, "install it beside cloche, or name it in CLOCHE_KEEPER");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set(err, "keeper.start", errno, "cannot start a keeper");
    _cleanup_close_ int mine = ends[0];
    /* 3 is where the keeper finds it: dup2 of a fd to itself would keep its close-on-exec flag */
    int theirs = ends[1] == 3 ? fcntl(3, F_DUPFD_CLOEXEC, 4) : ends[1];
    int rc = spawn_keeper(path, id, instead, theirs, err);
    close(ends[1]);
    if (theirs != ends[1])
        close(theirs);
    return rc < 0 ? -1 : TAKE_FD(mine);
}

int client_launched(int socket, const char *id, struct frame *f, struct error *err)
{
    if (client_limit_wait(socket, id, err) < 0)
        return -1;
    int rc = frame_receive(socket, f, 0);
    if (rc == 1 && f->head.type == FRAME_ERROR)
        return frame_error(f, err);
    if (rc == 1 && f->head.type == FRAME_OK)
        return 0;
    if (rc < 0 && errno == EAGAIN)
        return client_too_late(id, err);
    return error_set(err, "keeper.start", 0, "the keeper of \"%s\" ended before it was ready", id);
}

char *client_stored(const char *id, const char *operation, const struct fields *fields, int fd,
                    struct error *err)
{
    _cleanup_close_ int dir = client_open_sandbox(id, err);
    _cleanup_close_ int socket = dir < 0 ? -1 : client_launch(id, "query", err);
    _cleanup_free_ struct frame *f = client_frame_new();
    if (socket < 0 || client_send(socket, operation, fields, &fd, fd >= 0, err) < 0 ||
        client_next(socket, id, f, err) < 0)
        return NULL;
    char *text = frame_take_json(f);
    frame_close_fds(f);
    if (text == NULL)
        error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    return text;
}

static int start(const char *id, const char *instead, struct error *err)
{
    _cleanup_close_ int mine = client_launch(id, instead, err);
    _cleanup_free_ struct frame *f = client_frame_new();
    return mine < 0 ? -1 : client_launched(mine, id, f, err);
}

int client_start(const char *id, struct error *err)
{
    _cleanup_close_ int dir = client_open_sandbox(id, err);
    if (dir < 0)
        return -1;
    return start(id, NULL, err);
}

static int exists(const char *id, struct error *err)
{
    error_set(err, "sandbox.exists", 0, "there is a sandbox \"%s\" already", id);
    return error_hint(err, "cloche info %s; or choose another id", id);
}

/** The prepared directory @name becomes the sandbox @id. Of two makers one wins here; with a quota
 * they take turns. */
static int take_place(int all, const char *name, const char *id, uint64_t quota, struct error *err)
{
    _cleanup_close_ int turn =
        quota == QUOTA_NONE ? -1 : openat(all, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (turn >= 0)
        flock(turn, LOCK_EX);
    if (quota_check(all, quota, err) < 0)
        return -1;
    if (renameat2(all, name, all, id, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EEXIST ? exists(id, err)
                           : error_set(err, "sandbox.state", errno,
                                       "cannot make the state directory of \"%s\"", id);
}

int client_make(const char *id, const char *spec_json, struct error *err)
{
    char name[96];
    uint64_t quota;
    if (client_check_id(id, err) < 0 || quota_sandboxes(&quota, err) < 0)
        return -1;
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    if (all < 0)
        return -1;
    if (faccessat(all, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return exists(id, err);
    /* several threads of one process may try at once */
    snprintf(name, sizeof name, NEW_MARK "%d-%d-%s", (int)getpid(), (int)gettid(), id);
    if (mkdirat(all, name, 0700) < 0)
        return error_set(err, "sandbox.state", errno, "cannot make the state directory of \"%s\"",
                         id);
    _cleanup_close_ int dir = client_open_below(all, name);
    _cleanup_close_ int file =
        dir < 0 ? -1 : openat(dir, "spec.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || io_write_all(file, spec_json, strlen(spec_json)) < 0) {
        error_set(err, "sandbox.state", errno, "cannot write the spec of \"%s\"", id);
        io_remove_tree_at(all, name);
        return -1;
    }
    if (take_place(all, name, id, quota, err) < 0) {
        io_remove_tree_at(all, name);
        return -1;
    }
    return 0;
}

void client_unmake(const char *id, const struct error *why)
{
    struct error err = ERROR_INIT;
    if (why->code != NULL && strcmp(why->code, "keeper.socket") == 0) {
        /* who answers at the door is another's keeper: ours never was */
        _cleanup_close_ int top = state_open_dir("sandboxes", NULL);
        if (top >= 0)
            io_remove_tree_at(top, id);
        return;
    }
    uint64_t kept = client_deadline();
    client_set_deadline(client_now_ms() + UNMAKE_MS);
    /* of a keeper that still tries, else what it got to make */
    int rc = client_destroy(id, true, &err);
    _cleanup_close_ int all = state_open_dir("sandboxes", NULL);
    /* without a keeper's program there was only the directory; else the id may be another's now */
    if (rc < 0 && all >= 0 && strcmp(err.code, "keeper.start") == 0)
        io_remove_tree_at(all, id);
    client_set_deadline(kept);
}

int client_create(const char *id, const char *spec_json, struct error *err)
{
    struct error ours = ERROR_INIT;
    if (client_make(id, spec_json, err) < 0)
        return -1;
    if (start(id, NULL, &ours) == 0)
        return 0;
    client_unmake(id, &ours);
    if (err != NULL)
        *err = ours;
    return -1;
}

int client_destroy(const char *id, bool force, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct error failed = ERROR_INIT;
    fields_add_int(&fields, "force", force);
    if (client_call(id, "destroy", &fields, f, &failed) == 0)
        return 0;
    if (client_without_keeper(&failed))
        return start(id, "remove", err); /* the tree died with it; the rest goes now */
    if (err != NULL)
        *err = failed;
    return -1;
}

int client_restart(const char *id, bool force, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct error failed = ERROR_INIT;
    fields_add_int(&fields, "force", force);
    if (client_call(id, "restart", &fields, f, &failed) == 0)
        return 0;
    if (client_without_keeper(&failed))
        return client_start(id, err);
    if (err != NULL)
        *err = failed;
    return -1;
}

/* --- list ---------------------------------------------------------------------------------------
 */

struct entry {
    char name[72];
    struct timespec made;
};

static int older_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->made.tv_sec != y->made.tv_sec)
        return x->made.tv_sec < y->made.tv_sec ? -1 : 1;
    if (x->made.tv_nsec != y->made.tv_nsec)
        return x->made.tv_nsec < y->made.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

/** ".new-PID-ID" and ".gone-PID-ID" of a process that is no more. */
static void sweep(int all, const char *name)
{
    const char *digits = strchr(name, '-');
    long pid = digits != NULL ? strtol(digits + 1, NULL, 10) : 0;
    if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
        io_remove_tree_at(all, name);
}

int client_list(struct arena *a, struct strings *ret, struct error *err)
{
    _cleanup_close_ int all = state_open_dir("sandboxes", err);
    int again = all < 0 ? -1 : openat(all, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (dir == NULL)
        return all < 0 ? -1 : error_set(err, "sandbox.state", errno, "cannot read the sandboxes");
    struct entry *entries = NULL;
    size_t count = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct stat st;
        if (e->d_name[0] == '.' && e->d_name[1] != '\0' && strcmp(e->d_name, "..") != 0)
            sweep(all, e->d_name);
        char file[300];
        snprintf(file, sizeof file, "%s/log", e->d_name);
        if (!spec_valid_id(e->d_name) || (fstatat(all, file, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
                                          fstatat(all, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0))
            continue;
        entries = arena_grow(a, entries, count, sizeof *entries);
        snprintf(entries[count].name, sizeof entries->name, "%.64s", e->d_name);
        entries[count++].made = st.st_mtim;
    }
    if (count > 0)
        qsort(entries, count, sizeof *entries, older_first);
    for (size_t i = 0; i < count; i++)
        strings_add(a, ret, entries[i].name);
    return 0;
}
