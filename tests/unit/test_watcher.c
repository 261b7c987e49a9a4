/* Sources watched: what is told, when, and how often. */
#include "runtime/keeper/watcher.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/unit/sandbox_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TOLD_MAX 64

struct seen {
    struct loop *loop;
    int told;   /* changes */
    int wanted; /* stop the loop after so many */
    bool late;  /* the time was over first */
    bool gone, overflow, failed;
    char files[TOLD_MAX][64]; /* the first file of each */
    size_t counts[TOLD_MAX];
    char events[TOLD_MAX]; /* 's': the first of a change, and a save; 'o': any other */
    void (*then)(struct seen *s);
    const char *dir;
};

static void on_change(void *context, const struct watcher_change *c)
{
    struct seen *s = context;
    cr_assert(s->told < TOLD_MAX);
    snprintf(s->files[s->told], 64, "%s", c->file_count > 0 ? c->files[0] : "");
    s->counts[s->told] = c->file_count;
    s->gone = c->gone;
    s->overflow = s->overflow || c->overflow;
    s->failed = s->failed || c->error != NULL;
    if (++s->told == s->wanted)
        loop_stop(s->loop);
}

static void on_event(void *context, bool saved)
{
    struct seen *s = context;
    size_t n = strlen(s->events);
    if (n + 1 < sizeof s->events)
        s->events[n] = saved ? 's' : 'o';
}

static void on_late(void *context)
{
    struct seen *s = context;
    s->late = true;
    loop_stop(s->loop);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static const char *at(const char *dir, const char *name)
{
    static char path[2][1024];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static struct watcher *begin(struct seen *s, const char *path, const char *const *include,
                             const char *const *exclude)
{
    struct error err = ERROR_INIT;
    char absolute[PATH_MAX];
    cr_assert_not_null(realpath(path, absolute));
    *s = (struct seen){.loop = loop_new(), .dir = path};
    const struct watcher_options o = {
        .path = absolute, .include = include, .exclude = exclude, .event = on_event};
    struct watcher *w = watcher_open(s->loop, &o, on_change, s, &err);
    cr_assert_not_null(w, "%s", err.message);
    return w;
}

/* A loop is for one run. */
static int changes(struct seen *s, int wanted, uint64_t ms)
{
    s->told = 0;
    s->wanted = wanted;
    s->late = false;
    struct loop_timer *t = loop_after(s->loop, ms, on_late, s);
    loop_run(s->loop);
    if (!s->late)
        loop_cancel(s->loop, t);
    return s->told;
}

static void end(struct seen *s, struct watcher *w)
{
    watcher_close(w);
    loop_free(s->loop);
}

static const char *const sources[] = {"*.c", "*.h", NULL};

Test(watcher, a_save_is_told_once_whatever_the_editor_does)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    put(d.path, "m.c", "1");
    struct watcher *w = begin(&s, d.path, sources, NULL);
    put(d.path, "m.c", "2"); /* written in place */
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.files[0], "m.c");
    put(d.path, ".m.c.swp", "3"); /* beside it, and renamed */
    cr_assert_eq(rename(at(d.path, ".m.c.swp"), at(d.path, "m.c")), 0);
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_assert_eq(rename(at(d.path, "m.c"), at(d.path, "m.c~")), 0); /* vim's backup */
    put(d.path, "m.c", "4");
    cr_expect_eq(changes(&s, 2, 600), 1, "%d changes", s.told);
    unlink(at(d.path, "m.c")); /* removed, then written */
    put(d.path, "m.c", "5");
    cr_expect_eq(changes(&s, 2, 600), 1, "%d changes", s.told);
    end(&s, w);
}

Test(watcher, an_event_is_told_at_once)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    put(d.path, "m.c", "1");
    struct watcher *w = begin(&s, d.path, sources, NULL);
    put(d.path, "m.c", "2");
    put(d.path, "other", "2");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.events, "s");
    put(d.path, "m.c", "3"); /* and more */
    put(d.path, "m.h", "3");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.events, "sso");
    unlink(at(d.path, "m.h")); /* what was saved is not all */
    put(d.path, "m.c", "4");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.events, "ssooo");
    end(&s, w);
}

Test(watcher, what_is_not_wanted_is_not_told)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    static const char *const not [] = {"gen", "old/*.c", "test_*", NULL};
    struct seen s;
    cr_assert_eq(mkdir(at(d.path, "gen"), 0700), 0);
    cr_assert_eq(mkdir(at(d.path, "old"), 0700), 0);
    cr_assert_eq(mkdir(at(d.path, ".git"), 0700), 0);
    struct watcher *w = begin(&s, d.path, sources, not );
    cr_expect_eq(watcher_directories(w), 2);
    put(d.path, "m.o", "1");
    put(d.path, "m.c~", "1");
    put(d.path, ".hidden.c", "1");
    put(d.path, "test_m.c", "1");
    put(at(d.path, "gen"), "g.c", "1");
    put(at(d.path, ".git"), "g.c", "1");
    put(at(d.path, "old"), "o.c", "1");
    cr_expect_eq(changes(&s, 1, 300), 0);
    put(at(d.path, "old"), "o.h", "1");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.files[0], "old/o.h");
    end(&s, w);
}

Test(watcher, a_single_file)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    put(d.path, "m.c", "1");
    struct watcher *w = begin(&s, at(d.path, "m.c"), NULL, NULL);
    put(d.path, "other.c", "1");
    cr_expect_eq(changes(&s, 1, 300), 0);
    put(d.path, "m.c", "2");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    end(&s, w);
}

Test(watcher, a_hundred_saves_are_few_changes_the_last_after_the_last)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    struct watcher *w = begin(&s, d.path, sources, NULL);
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "f%d.c", i);
        put(d.path, name, "x");
        put(d.path, "m.c", name);
    }
    cr_expect_eq(changes(&s, 3, 700), 1, "%d changes", s.told);
    cr_expect_eq(s.counts[0], WATCHER_FILES_TOLD);
    end(&s, w);
}

Test(watcher, new_directories_are_taken_in)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    struct watcher *w = begin(&s, d.path, sources, NULL);
    cr_assert_eq(mkdir(at(d.path, "sub"), 0700), 0);
    cr_assert_eq(mkdir(at(d.path, "sub/deep"), 0700), 0);
    cr_expect_geq(changes(&s, 1, 2000), 1);
    changes(&s, 9, 300);
    cr_expect_eq(watcher_directories(w), 3);
    put(at(d.path, "sub/deep"), "x.c", "1");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.files[0], "sub/deep/x.c");
    /* moved: known by its new name */
    cr_assert_eq(rename(at(d.path, "sub/deep"), at(d.path, "flat")), 0);
    changes(&s, 9, 400);
    put(at(d.path, "flat"), "x.c", "2");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    cr_expect_str_eq(s.files[0], "flat/x.c");
    end(&s, w);
}

Test(watcher, the_root_goes_and_comes_back)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    cr_assert_eq(mkdir(at(d.path, "a"), 0700), 0);
    cr_assert_eq(mkdir(at(d.path, "a/src"), 0700), 0);
    struct watcher *w = begin(&s, at(d.path, "a/src"), sources, NULL);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(rmdir(at(d.path, "a/src")), 0);
        cr_expect_geq(changes(&s, 1, 2000), 1);
        cr_expect(s.gone);
        cr_expect_eq(watcher_directories(w), 0);
        if (round == 1) { /* with what leads to it */
            cr_assert_eq(rmdir(at(d.path, "a")), 0);
            changes(&s, 1, 300);
            cr_assert_eq(mkdir(at(d.path, "a"), 0700), 0);
            changes(&s, 1, 300);
        }
        cr_assert_eq(mkdir(at(d.path, "a/src"), 0700), 0);
        put(at(d.path, "a/src"), "m.c", "1");
        changes(&s, 9, 400);
        cr_expect_not(s.gone);
        cr_expect_eq(watcher_directories(w), 1);
        put(at(d.path, "a/src"), "m.c", "2");
        cr_expect_eq(changes(&s, 1, 2000), 1);
        cr_expect_str_eq(s.files[0], "m.c");
        unlink(at(d.path, "a/src/m.c"));
        changes(&s, 9, 400);
    }
    /* replaced by a rename, as a checkout does */
    cr_assert_eq(mkdir(at(d.path, "new"), 0700), 0);
    put(at(d.path, "new"), "m.c", "3");
    cr_assert_eq(rename(at(d.path, "a/src"), at(d.path, "was")), 0);
    cr_assert_eq(rename(at(d.path, "new"), at(d.path, "a/src")), 0);
    changes(&s, 9, 400);
    put(at(d.path, "a/src"), "m.c", "4");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    end(&s, w);
}

Test(watcher, lost_events_are_a_change)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    struct watcher *w = begin(&s, d.path, sources, NULL);
    char limit[32] = "";
    cr_assert_geq(
        io_read_file_at(AT_FDCWD, "/proc/sys/fs/inotify/max_queued_events", limit, sizeof limit),
        0);
    long most = strtol(limit, NULL, 10);
    if (most > 65536)
        cr_skip_test("the queue is too long here");
    put(d.path, "a.c", "1");
    put(d.path, "b.c", "1");
    for (long i = 0; i <= most / 2; i++) { /* two that differ, or the kernel makes them one */
        close(open(at(d.path, "a.c"), O_WRONLY | O_CLOEXEC));
        close(open(at(d.path, "b.c"), O_WRONLY | O_CLOEXEC));
    }
    changes(&s, 9, 600);
    cr_expect(s.overflow);
    put(d.path, "a.c", "2");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    end(&s, w);
}

Test(watcher, what_cannot_be_watched)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct loop *l = loop_new();
    char path[PATH_MAX], link[PATH_MAX + 8];
    cr_assert_not_null(realpath(d.path, path));
    snprintf(link, sizeof link, "%s/link", path);
    cr_assert_eq(symlink("/etc", link), 0);
    const struct {
        const char *path, *code;
    } bad[] = {{"/nowhere/at/all", "watch.unreadable"},
               {"relative", "watch.unreadable"},
               {"/dev/null", "watch.unreadable"},
               {link, "watch.unreadable"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = ERROR_INIT;
        const struct watcher_options o = {.path = bad[i].path};
        cr_expect_null(watcher_open(l, &o, on_change, NULL, &err));
        cr_expect_str_eq(err.code, bad[i].code, "%s: %s", bad[i].path, err.message);
    }
    loop_free(l);
}

Test(watcher, too_many_directories)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct loop *l = loop_new();
    char path[PATH_MAX];
    struct error err = ERROR_INIT;
    cr_assert_not_null(realpath(d.path, path));
    for (int i = 0; i <= WATCHER_DIRECTORIES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        cr_assert_eq(mkdirat(d.fd, name, 0700), 0);
    }
    const struct watcher_options o = {.path = path};
    cr_expect_null(watcher_open(l, &o, on_change, NULL, &err));
    cr_expect_str_eq(err.code, "watch.too_many", "%s", err.message);
    loop_free(l);
}

Test(watcher, ten_thousand_files_in_a_directory)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct seen s;
    for (int i = 0; i < 10000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d.c", i);
        int fd = openat(d.fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert(fd >= 0);
        close(fd);
    }
    struct watcher *w = begin(&s, d.path, sources, NULL);
    cr_expect_eq(watcher_directories(w), 1);
    put(d.path, "f9999.c", "1");
    cr_expect_eq(changes(&s, 1, 2000), 1);
    end(&s, w);
}
