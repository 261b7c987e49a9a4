/* Sandboxes as a client sees them: making one, starting its keeper, ending it, listing them. */
#include "runtime/client_private.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"
#include "base/syscalls.h"
#include "runtime/launch.h"
#include "runtime/quota.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NEW_MARK  ".new-"
#define FORCED_MS 10000 /* for a keeper to end by itself; the processes inside have 5 s of them */

/* --- keepers ------------------------------------------------------------------------------------
 */

int client_launch(const char *id, const char *task, struct error *err)
{
    _cleanup_close_ int keeper = keeper_spawn(id, err);
    return keeper < 0 || keeper_tell(keeper, id, task, -1, err) < 0 ? -1 : TAKE_FD(keeper);
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
    _cleanup_close_ int socket = dir < 0 ? -1 : client_launch(id, KEEPER_QUERY, err);
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

static int start(const char *id, const char *task, struct error *err)
{
    _cleanup_close_ int keeper = client_launch(id, task, err);
    _cleanup_free_ struct frame *f = client_frame_new();
    return keeper < 0 ? -1 : client_launched(keeper, id, f, err);
}

int client_start(const char *id, struct error *err)
{
    _cleanup_close_ int dir = client_open_sandbox(id, err);
    if (dir < 0)
        return -1;
    return start(id, KEEPER_START, err);
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
    if (sys_rename_noreplace(all, name, all, id) == 0)
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
    /* where there is no door to make nothing is made */
    _cleanup_close_ int doors = all < 0 ? -1 : state_open_run_dir("sandboxes", err);
    if (doors < 0)
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
    client_set_deadline(0);
    /* of a keeper that still tries, else what it got to make */
    int rc = client_destroy(id, true, &err);
    _cleanup_close_ int all = state_open_dir("sandboxes", NULL);
    /* without a keeper's program there was only the directory; else the id may be another's now */
    if (rc < 0 && all >= 0 && strcmp(err.code, "keeper.start") == 0)
        io_remove_tree_at(all, id);
    client_set_deadline(kept);
}

int client_create(const char *id, const char *spec_json, const struct client_early *early,
                  struct error *err)
{
    struct error ours = ERROR_INIT;
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_close_ int keeper = early != NULL ? early->keeper : -1;
    _cleanup_close_ int network = early != NULL ? early->network : -1;
    if (client_make(id, spec_json, err) < 0) {
        keeper_dismiss(TAKE_FD(keeper));
        return -1;
    }
    if (keeper < 0 || keeper_tell(keeper, id, KEEPER_START, network, NULL) < 0) {
        cleanup_close(&keeper);
        keeper = client_launch(id, KEEPER_START, &ours);
    }
    if (keeper >= 0 && client_launched(keeper, id, f, &ours) == 0)
        return 0;
    client_unmake(id, &ours);
    if (err != NULL)
        *err = ours;
    return -1;
}

static bool has_code(const struct error *err, const char *code)
{
    return err->code != NULL && strcmp(err->code, code) == 0;
}

int client_destroy(const char *id, bool force, struct error *err)
{
    _cleanup_free_ struct frame *f = client_frame_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct error failed = ERROR_INIT;
    const bool kill = force && client_deadline() == 0; /* a keeper that does not answer */
    fields_add_int(&fields, "force", force);
    if (kill)
        client_set_deadline(client_now_ms() + FORCED_MS);
    int rc = client_call(id, "destroy", &fields, f, &failed);
    if (kill)
        client_set_deadline(0);
    if (rc == 0)
        return 0;
    /* the tree dies with it; the rest goes now */
    if (client_without_keeper(&failed))
        return start(id, KEEPER_REMOVE, err);
    if (kill && (has_code(&failed, "call.deadline") || has_code(&failed, "keeper.busy"))) {
        if (start(id, KEEPER_REMOVE, &failed) == 0 || has_code(&failed, "sandbox.unknown"))
            return 0; /* the latter: it ended after all */
    }
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

/** Ended, if perhaps not waited for. */
static bool has_ended(pid_t pid)
{
    _cleanup_close_ int fd = sys_pidfd_open(pid, 0);
    if (fd < 0)
        return errno == ESRCH || errno == EINVAL || errno == ENOENT; /* a thread has its number */
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/** ".new-PID-ID" and ".gone-PID-ID" of a process that is no more. */
static void sweep(int all, const char *name)
{
    const char *digits = strchr(name, '-');
    long pid = digits != NULL ? strtol(digits + 1, NULL, 10) : 0;
    if (pid > 0 && pid <= INT_MAX && has_ended((pid_t)pid))
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
