/* logs: files of the state directory, read where they are; no keeper is asked. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"
#include "runtime/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

struct logs {
    bool follow, json;
};

static const struct cli_option options[] = {
    CLI_SWITCH('f', "follow", "go on as it grows, until the sandbox is destroyed", logs, follow),
    CLI_SWITCH(0, "json", "errors as JSON", logs, json),
    {0, NULL, NULL, NULL, NULL}};

static void flush(struct tail *t)
{
    if (tail_catch_up(t))
        fputs("cloche: it came faster than it could be shown: some of it is lost\n", stderr);
    fflush(stdout);
}

static int follow(struct tail *t, struct error *err)
{
    char path[48], buf[8192] __attribute__((aligned(8)));
    _cleanup_close_ int events = inotify_init1(IN_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", t->dir);
    if (events < 0 || inotify_add_watch(events, path,
                                        IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE |
                                            IN_DELETE_SELF | IN_MOVE_SELF) < 0) {
        error_set(err, "logs.watch", errno, "cannot watch for what is to come");
        return error_hint(err, "raise fs.inotify.max_user_watches, or leave -f out");
    }
    flush(t);
    for (;;) {
        ssize_t n = read(events, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, "logs.watch", errno, "cannot watch for what is to come");
        bool gone = false;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(buf + at);
            /* destroyed: moved out of the way, or its files go */
            gone =
                gone || (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_DELETE)) != 0;
            at += (ssize_t)(sizeof *e + e->len);
        }
        flush(t);
        if (gone)
            return 0;
    }
}

/** What was in the file before it was started anew. */
static void show_before(const struct tail *t)
{
    char before[NAME_MAX];
    snprintf(before, sizeof before, "%s.1", t->file);
    struct tail old = *t;
    old.file = before;
    tail_read(&old);
    cleanup_close(&old.fd);
}

int sandboxes_show_file(int dir, const char *file, bool go_on, tail_fn *show, void *context,
                        struct error *err)
{
    struct tail t = {.dir = dir, .fd = -1, .file = file, .call = show, .context = context};
    int rc = 0;
    if (faccessat(dir, file, R_OK, AT_EACCESS) < 0 && errno != ENOENT) {
        error_set(err, "logs.unreadable", errno, "cannot read %s of the sandbox", file);
        return error_hint(err, "chmod u+r that file in its state directory");
    }
    show_before(&t);
    if (go_on)
        rc = follow(&t, err);
    else
        tail_read(&t);
    cleanup_close(&t.fd);
    return rc;
}

/* --- of all sandboxes ----------------------------------------------------------------------------
 */

struct followed {
    struct followed *next;
    int watch;
    struct tail tail;
};

struct crowd {
    int events; /* inotify */
    const char *file;
    tail_fn *show;
    void *context;
    struct followed *list;
};

static int watch(int events, int dir, uint32_t mask)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    return dir < 0 ? -1 : inotify_add_watch(events, path, mask);
}

static void follow_one(struct crowd *c, const char *id)
{
    _cleanup_close_ int dir = spec_valid_id(id) ? client_open_state(id, ".", NULL) : -1;
    int wd = watch(c->events, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF);
    for (const struct followed *f = c->list; f != NULL; f = f->next) {
        if (f->watch == wd) /* it was made while all were listed */
            return;
    }
    struct followed *f = wd < 0 ? NULL : calloc(1, sizeof *f);
    if (f == NULL)
        return;
    *f = (struct followed){.next = c->list, .watch = wd};
    f->tail = (struct tail){
        .dir = TAKE_FD(dir), .fd = -1, .file = c->file, .call = c->show, .context = c->context};
    c->list = f;
    show_before(&f->tail);
    flush(&f->tail);
}

/** @wd -1: some changes were lost, it may be any. */
static void on_change(struct crowd *c, int wd, bool gone)
{
    for (struct followed **at = &c->list; *at != NULL;) {
        struct followed *f = *at;
        if (f->watch == wd || wd == -1)
            flush(&f->tail);
        if (f->watch != wd || !gone) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        inotify_rm_watch(c->events, wd);
        cleanup_close(&f->tail.fd);
        cleanup_close(&f->tail.dir);
        free(f);
    }
}
static int follow_listed(struct crowd *c, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings ids = {0};
    if (client_list(a, &ids, err) < 0)
        return -1;
    for (size_t i = 0; i < ids.count; i++)
        follow_one(c, ids.items[i]);
    return 0;
}

static void read_changes(struct crowd *c, int top, const char *buf, ssize_t size)
{
    for (ssize_t at = 0; at < size;) {
        const struct inotify_event *e = (const void *)(buf + at);
        if (e->wd == -1)
            follow_listed(c, NULL);
        if (e->wd == top)
            follow_one(c, e->name);
        else
            on_change(c, e->wd, (e->mask & (IN_MOVE_SELF | IN_IGNORED)) != 0);
        at += (ssize_t)(sizeof *e + e->len);
    }
}

int sandboxes_follow_all(const char *file, tail_fn *show, void *context, struct error *err)
{
    char buf[8192] __attribute__((aligned(8)));
    struct crowd c = {.file = file, .show = show, .context = context};
    _cleanup_close_ int events = inotify_init1(IN_CLOEXEC), all = state_open_dir("sandboxes", err);
    c.events = events;
    if (all < 0)
        return -1;
    int top = watch(events, all, IN_MOVED_TO); /* first, so that none is missed */
    if (follow_listed(&c, err) < 0)
        return -1;
    for (ssize_t n = 0; top >= 0 && (n >= 0 || errno == EINTR);) {
        n = read(events, buf, sizeof buf);
        read_changes(&c, top, buf, n);
    }
    error_set(err, "logs.watch", errno, "cannot watch for what is to come");
    return error_hint(err, "raise fs.inotify.max_user_watches, or leave -f out");
}

/* --- logs ----------------------------------------------------------------------------------------
 */

static void show_bytes(void *context, const char *data, size_t size)
{
    (void)context;
    fwrite(data, 1, size, stdout);
}

/** The one log there is; with several, the names to choose from. */
static int only_log(int dir, char *ret, size_t size, const char *id, struct error *err)
{
    char names[1024] = "";
    size_t used = 0, count = 0;
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".log") != 0)
            continue;
        count++;
        snprintf(ret, size, "%.250s", e->d_name);
        if (used + n + 2 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.*s",
                                     used > 0 ? ", " : "", (int)(n - 4), e->d_name);
    }
    for (char *p = names; *p != '\0'; p++)
        *p = *p == ':' ? '/' : *p;
    if (count == 1)
        return 0;
    if (count == 0)
        return error_set(err, "logs.none", 0, "sandbox \"%s\" has no child that could write a log",
                         id);
    error_set(err, "logs.which", 0, "sandbox \"%s\" has several logs: %s", id, names);
    return error_hint(err, "cloche logs %s CHILD", id);
}

static int show_log(const char *id, const char *child, const struct logs *l, struct error *err)
{
    char file[NAME_MAX];
    struct stat st;
    _cleanup_close_ int dir = client_open_state(id, "log", err);
    if (dir < 0 || (child == NULL && only_log(dir, file, sizeof file, id, err) < 0))
        return -1;
    if (child != NULL) {
        if (strlen(child) + 8 > sizeof file || child[0] == '.' || child[0] == '/')
            return error_set(err, "logs.child", 0, "sandbox \"%s\" has no child \"%.80s\"", id,
                             child);
        snprintf(file, sizeof file, "%s.log", child);
        for (char *p = file; *p != '\0'; p++)
            *p = *p == '/' ? ':' : *p;
        if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return error_set(err, "logs.child", 0, "sandbox \"%s\" has no log of a child \"%s\"",
                             id, child);
    }
    return sandboxes_show_file(dir, file, l->follow, show_bytes, NULL, err);
}

int cli_logs(int argc, char **argv)
{
    if (cli_wants_help("logs", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    struct logs l = {0};
    struct strings operands = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(options, &l, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, l.json, EXIT_USAGE);
    if (operands.count < 1 || operands.count > 2) {
        error_set(&err, "usage.no_id", 0, "an id, and at most one child");
        error_hint(&err, "cloche logs [-f] ID [CHILD]");
        return cli_fail(&err, l.json, EXIT_USAGE);
    }
    const char *child = operands.count > 1 ? operands.items[1] : NULL;
    return show_log(operands.items[0], child, &l, &err) < 0
               ? cli_fail(&err, l.json, sandboxes_status(&err))
               : 0;
}
