#include "runtime/keeper/watcher.h"

#include "base/arena.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#define DEPTH_MAX 64
#define ROUND_MAX 16 /* buffers read before others get their turn */

/* of a directory of sources */
#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF |       \
     IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)
/* of the ancestor in which the root is to appear */
#define ANCESTOR_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct directory {
    int wd;
    char *path; /* below the root, "" for itself */
};

struct watcher {
    struct loop *loop;
    watcher_fn *call;
    watcher_event_fn *event;
    void *context;
    struct arena *arena;
    const char *root; /* absolute */
    const char *file; /* the one that counts, or NULL */
    bool flat;
    struct strings_view {
        const char *const *items;
    } include, exclude;
    uint64_t debounce_ms;

    int fd;
    struct loop_source *source;
    struct loop_timer *timer;
    struct directory *list; /* by wd: the kernel counts them up */
    size_t count, room;
    bool gone; /* the list holds an ancestor, whose path is NULL */

    /* what is to be told */
    uint64_t first_ms, last_us;
    char *files[WATCHER_FILES_TOLD];
    size_t file_count, event_count;
    bool overflow;
    struct error problem;
    bool *closed; /* set when it is closed within a callback */
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- what is wanted -----------------------------------------------------------------------------
 */

static bool matches(const char *const *patterns, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    for (; patterns != NULL && *patterns != NULL; patterns++) {
        if (fnmatch(*patterns, strchr(*patterns, '/') != NULL ? path : name, 0) == 0)
            return true;
    }
    return false;
}

static bool wanted(const struct watcher *w, const char *directory, const char *name)
{
    char path[PATH_MAX];
    if (w->file != NULL)
        return directory[0] == '\0' && strcmp(name, w->file) == 0;
    int n = snprintf(path, sizeof path, "%s%s%s", directory, directory[0] != '\0' ? "/" : "", name);
    if (name[0] == '.' || n < 0 || (size_t)n >= sizeof path)
        return false;
    return (w->include.items == NULL || matches(w->include.items, path)) &&
           !matches(w->exclude.items, path);
}

/* --- the list -----------------------------------------------------------------------------------
 */

static struct directory *find(const struct watcher *w, int wd)
{
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->list[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->count && w->list[low].wd == wd ? &w->list[low] : NULL;
}

static void drop(struct watcher *w, struct directory *d)
{
    free(d->path);
    w->count--;
    memmove(d, d + 1, (size_t)(&w->list[w->count] - d) * sizeof *d);
}

static void drop_all(struct watcher *w)
{
    while (w->count > 0) {
        struct directory *d = &w->list[w->count - 1];
        inotify_rm_watch(w->fd, d->wd);
        drop(w, d);
    }
    w->gone = false;
}

static int refuse(struct error *err, int problem, const char *path)
{
    if (problem == ENOSPC) {
        error_set(err, "watch.limit", 0, "cannot watch \"%s\": this user watches too many files",
                  path);
        return error_hint(err, "sysctl fs.inotify.max_user_watches=1048576, or exclude some");
    }
    if (problem == ENOENT || problem == ENOTDIR || problem == EACCES || problem == ELOOP) {
        error_set(err, "watch.unreadable", problem, "cannot watch \"%s\"", path);
        if (problem == EACCES)
            error_hint(err, "chmod u+rx, or leave it out with --exclude");
    } else {
        error_set(err, "watch.failed", problem, "cannot watch \"%s\"", path);
    }
    return error_path(err, path);
}

/* One that was met below the root, by its whole path. */
static int refuse_below(const struct watcher *w, struct error *err, int problem, const char *path)
{
    char whole[2 * PATH_MAX];
    if (path == NULL || path[0] == '\0')
        return refuse(err, problem, w->root);
    snprintf(whole, sizeof whole, "%s/%s", strcmp(w->root, "/") != 0 ? w->root : "", path);
    return refuse(err, problem, whole);
}

/* By an fd that was opened without following a link. Takes over @path. 1: it was there already. */
static int add(struct watcher *w, int fd, char *path, uint32_t mask, struct error *err)
{
    char by_fd[64];
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
    if (w->count == WATCHER_DIRECTORIES_MAX) {
        error_set(err, "watch.too_many", 0, "cannot watch \"%s\": more than %d directories",
                  w->root, WATCHER_DIRECTORIES_MAX);
        free(path);
        return error_hint(err, "watch the directory of one module, or exclude some");
    }
    if (w->count == w->room) {
        size_t room = w->room == 0 ? 16 : 2 * w->room;
        struct directory *list = realloc(w->list, room * sizeof *list);
        if (list == NULL)
            abort();
        w->list = list;
        w->room = room;
    }
    /* the link of /proc is followed, what it leads to is a directory */
    int wd = inotify_add_watch(w->fd, by_fd, mask & ~(uint32_t)IN_DONT_FOLLOW);
    if (wd < 0) {
        int rc = refuse_below(w, err, errno, path);
        free(path);
        return rc;
    }
    if (find(w, wd) != NULL) {
        free(path);
        return 1;
    }
    size_t at = w->count; /* a higher number than all others, unless the kernel began anew */
    while (at > 0 && w->list[at - 1].wd > wd)
        at--;
    memmove(&w->list[at + 1], &w->list[at], (w->count - at) * sizeof *w->list);
    w->list[at] = (struct directory){.wd = wd, .path = path};
    w->count++;
    return 0;
}

static int open_directory(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A directory and what is below it; takes over @fd. */
static int add_below(struct watcher *w, int fd, const char *path, unsigned depth, struct error *err)
{
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return refuse_below(w, err, errno, path);
    }
    char *copy = strdup(path);
    if (copy == NULL)
        abort();
    if (add(w, fd, copy, EVENTS, err) < 0)
        return -1;
    if (w->flat || depth == DEPTH_MAX)
        return 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char below[PATH_MAX];
        struct stat st;
        int n =
            snprintf(below, sizeof below, "%s%s%s", path, path[0] != '\0' ? "/" : "", e->d_name);
        bool maybe = e->d_type == DT_DIR ||
                     (e->d_type == DT_UNKNOWN &&
                      fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
        if (!maybe || e->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof below ||
            matches(w->exclude.items, below))
            continue;
        int sub = open_directory(fd, e->d_name);
        if (sub < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
            continue; /* gone meanwhile */
        if (sub < 0)
            return refuse_below(w, err, errno, below);
        if (add_below(w, sub, below, depth + 1, err) < 0)
            return -1;
    }
    return 0;
}

/* The nearest ancestor that is there: the root, or what leads to it, will appear in it. */
static int wait_for_root(struct watcher *w, struct error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", w->root);
    w->gone = true;
    for (;;) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return refuse(err, ENOENT, w->root);
        slash[slash == path] = '\0';
        _cleanup_close_ int fd = open_directory(AT_FDCWD, path);
        if (fd >= 0)
            return add(w, fd, NULL, ANCESTOR_EVENTS, err) < 0 ? -1 : 0;
        if (slash == path)
            return refuse(err, errno, path);
    }
}

/* Everything anew. */
static int scan(struct watcher *w, struct error *err)
{
    drop_all(w);
    for (int tries = 0; tries < 3; tries++) {
        int fd = open_directory(AT_FDCWD, w->root);
        if (fd >= 0)
            return add_below(w, fd, "", 0, err);
        if (errno != ENOENT && errno != ENOTDIR)
            return refuse(err, errno, w->root);
        if (wait_for_root(w, err) < 0)
            return -1;
        if (access(w->root, F_OK) < 0)
            return 0;
        drop_all(w); /* it came back in between */
    }
    return 0;
}

/* --- events -------------------------------------------------------------------------------------
 */

static void forget(struct watcher *w)
{
    for (size_t i = 0; i < w->file_count; i++)
        free(w->files[i]);
    w->file_count = w->event_count = 0;
    w->overflow = false;
    w->problem.code = NULL;
}

static void tell(void *context)
{
    struct watcher *w = context;
    bool closed = false;
    w->timer = NULL;
    const struct watcher_change change = {.at_us = w->last_us,
                                          .files = (const char *const *)w->files,
                                          .file_count = w->file_count,
                                          .event_count = w->event_count,
                                          .gone = w->gone,
                                          .overflow = w->overflow,
                                          .error = w->problem.code != NULL ? &w->problem : NULL};
    w->closed = &closed;
    w->call(w->context, &change);
    if (closed)
        return;
    w->closed = NULL;
    forget(w);
}

static void schedule(struct watcher *w, uint64_t ms, bool saved)
{
    uint64_t now = loop_now_ms(), latest;
    bool first = w->event_count == 0;
    if (first)
        w->first_ms = now;
    w->event_count++;
    w->last_us = now_us();
    latest = w->first_ms +
             (4 * w->debounce_ms > WATCHER_LATEST_MS ? 4 * w->debounce_ms : WATCHER_LATEST_MS);
    if (now + ms > latest)
        ms = latest > now ? latest - now : 0;
    if (w->timer != NULL)
        loop_cancel(w->loop, w->timer);
    w->timer = loop_after(w->loop, ms, tell, w);
    if (w->event != NULL) /* which takes time, of the debounce */
        w->event(w->context, saved && first);
}

static void note_file(struct watcher *w, const char *directory, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s%s", directory, directory[0] != '\0' ? "/" : "", name);
    for (size_t i = 0; i < w->file_count; i++) {
        if (strcmp(w->files[i], path) == 0)
            return;
    }
    if (w->file_count < WATCHER_FILES_TOLD && (w->files[w->file_count] = strdup(path)) != NULL)
        w->file_count++;
}

static void rescan(struct watcher *w)
{
    if (scan(w, &w->problem) == 0)
        w->problem.code = NULL;
    schedule(w, w->gone ? WATCHER_REMOVAL_MS : w->debounce_ms, false);
}

/* True: everything was read anew, what else was in the buffer is about watches that are no more. */
static bool on_event(struct watcher *w, const struct inotify_event *e)
{
    if ((e->mask & IN_Q_OVERFLOW) != 0) {
        w->overflow = true;
        rescan(w);
        return true;
    }
    struct directory *d = find(w, e->wd);
    if (d == NULL)
        return false; /* of a watch that was removed */
    const char *name = e->len > 0 ? e->name : "";
    if (d->path == NULL) { /* the ancestor */
        bool was_gone = w->gone;
        if ((e->mask & IN_IGNORED) != 0)
            drop(w, d);
        if (scan(w, &w->problem) < 0 || !w->gone || !was_gone)
            schedule(w, w->debounce_ms, false);
        return true;
    }
    if ((e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) {
        bool root = d->path[0] == '\0';
        if ((e->mask & IN_MOVE_SELF) == 0)
            drop(w, d);
        if (!root && (e->mask & IN_MOVE_SELF) == 0)
            return false;
        rescan(w);
        return true;
    }
    if ((e->mask & IN_ISDIR) != 0) {
        if (w->flat || name[0] == '.' || matches(w->exclude.items, name))
            return false;
        rescan(w); /* rare, and whatever it was is then as it is */
        return true;
    }
    if (!wanted(w, d->path, name))
        return false;
    if ((e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0) {
        note_file(w, d->path, name);
        schedule(w, w->debounce_ms, true);
    } else if ((e->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        note_file(w, d->path, name);
        schedule(w, WATCHER_REMOVAL_MS, false);
    }
    return false;
}

static void on_inotify(void *context, int fd, uint32_t events)
{
    struct watcher *w = context;
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    for (int i = 0; i < ROUND_MAX; i++) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n <= 0)
            return;
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);
            at += (ssize_t)sizeof *e + (ssize_t)e->len;
            if (on_event(w, e))
                break;
        }
    }
}

/* --- open, close --------------------------------------------------------------------------------
 */

static const char *const *copy_patterns(struct arena *a, const char *const *patterns)
{
    const char **copy = NULL;
    size_t n = 0;
    if (patterns == NULL)
        return NULL;
    for (; patterns[n] != NULL; n++) {
        copy = arena_grow(a, copy, n, sizeof *copy);
        copy[n] = arena_strdup(a, patterns[n]);
    }
    return arena_grow(a, copy, n, sizeof *copy);
}

/* A file is watched in its directory. */
static int choose_root(struct watcher *w, const char *path, struct error *err)
{
    struct stat st;
    char *copy = arena_strdup(w->arena, path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    if (copy[0] != '/')
        return refuse(err, ENOENT, path);
    if (lstat(copy, &st) < 0)
        return refuse(err, errno, path);
    if (S_ISDIR(st.st_mode)) {
        w->root = copy;
        return 0;
    }
    if (!S_ISREG(st.st_mode)) {
        refuse(err, ENOTDIR, path);
        return error_hint(err, "watch a directory or a regular file");
    }
    char *slash = strrchr(copy, '/');
    w->file = arena_strdup(w->arena, slash + 1);
    w->flat = true;
    slash[slash == copy] = '\0';
    w->root = copy;
    return 0;
}

struct watcher *watcher_open(struct loop *l, const struct watcher_options *o, watcher_fn *call,
                             void *context, struct error *err)
{
    struct arena *a = arena_new();
    struct watcher *w = arena_alloc(a, sizeof *w);
    *w = (struct watcher){
        .loop = l, .call = call, .event = o->event, .context = context, .arena = a, .fd = -1};
    w->include.items = copy_patterns(a, o->include);
    w->exclude.items = copy_patterns(a, o->exclude);
    w->flat = o->flat;
    w->debounce_ms = o->debounce_ms > 0 ? o->debounce_ms : WATCHER_DEBOUNCE_MS;
    if (choose_root(w, o->path, err) < 0) {
        watcher_close(w);
        return NULL;
    }
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->fd < 0) {
        error_set(err, "watch.limit", errno, "cannot watch \"%s\"", o->path);
        error_hint(err, "sysctl fs.inotify.max_user_instances=1024, or `cloche unwatch` some");
        watcher_close(w);
        return NULL;
    }
    int rc = scan(w, err);
    if (rc == 0 && w->gone)
        rc = refuse(err, ENOENT, o->path);
    if (rc == 0)
        w->source = loop_watch(l, w->fd, EPOLLIN, on_inotify, w);
    if (w->source != NULL)
        return w;
    if (rc == 0)
        error_set(err, "keeper.memory", errno, "cannot watch \"%s\"", o->path);
    watcher_close(w);
    return NULL;
}

void watcher_close(struct watcher *w)
{
    if (w == NULL)
        return;
    if (w->closed != NULL)
        *w->closed = true;
    if (w->timer != NULL)
        loop_cancel(w->loop, w->timer);
    loop_unwatch(w->loop, w->source);
    forget(w);
    for (size_t i = 0; i < w->count; i++)
        free(w->list[i].path);
    free(w->list);
    cleanup_close(&w->fd);
    arena_free(w->arena);
}

size_t watcher_directories(const struct watcher *w)
{
    return w->gone ? 0 : w->count;
}
