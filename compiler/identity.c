#include "compiler/identity.h"

#include "base/io.h"
#include "base/state.h"
#include "compiler/cache.h"
#include "compiler/diagnostics.h"
#include "compiler/jail.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define VERSION_MAX 512

/* What patterns begin with is matched once: glob(3) would read /usr/lib again for every library. */
struct beginning {
    const char *pattern;
    struct strings found;
};

struct globbing {
    struct arena *arena;
    struct beginning *items;
    size_t count;
};

static int by_text(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static void match_names(struct arena *a, const char *top, const char *pattern, struct strings *ret)
{
    _cleanup_closedir_ DIR *dir = opendir(top[0] == '\0' ? "/" : top);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (fnmatch(pattern, e->d_name, FNM_PERIOD) == 0)
            strings_add(a, ret, arena_printf(a, "%s/%s", top, e->d_name));
    }
}

static struct strings expand(struct globbing *g, const char *pattern)
{
    struct strings found = {0};
    const char *slash = strrchr(pattern, '/');
    if (slash == NULL || strpbrk(pattern, "*?[") == NULL) {
        strings_add(g->arena, &found, pattern);
        return found;
    }
    for (size_t i = 0; i < g->count; i++) {
        if (strcmp(g->items[i].pattern, pattern) == 0)
            return g->items[i].found;
    }
    const struct strings tops =
        expand(g, arena_strndup(g->arena, pattern, (size_t)(slash - pattern)));
    for (size_t i = 0; i < tops.count; i++) {
        if (strpbrk(slash, "*?[") != NULL)
            match_names(g->arena, tops.items[i], slash + 1, &found);
        else
            strings_add(g->arena, &found, arena_printf(g->arena, "%s%s", tops.items[i], slash));
    }
    if (found.count > 1)
        qsort(found.items, found.count, sizeof *found.items, by_text);
    g->items = arena_grow(g->arena, g->items, g->count, sizeof *g->items);
    g->items[g->count++] = (struct beginning){pattern, found};
    return found;
}

void identity_glob(struct arena *a, const struct strings *patterns, struct strings *ret)
{
    struct globbing g = {.arena = a};
    for (size_t i = 0; i < patterns->count; i++) {
        const struct strings found = expand(&g, patterns->items[i]);
        for (size_t k = 0; k < found.count; k++)
            strings_add(a, ret, found.items[k]);
    }
}

static const char *stamp(struct arena *a, const char *text, const char *path, bool resolve)
{
    char real[PATH_MAX];
    struct stat st;
    if (stat(path, &st) < 0)
        return text;
    if (resolve && realpath(path, real) != NULL)
        path = real;
    return arena_printf(a, "%s%s %lld %lld.%09ld\n", text, path, (long long)st.st_size,
                        (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static const char *stamps_of(struct arena *a, const struct toolchain *tc)
{
    const char *text = "";
    for (size_t i = 0; i < tc->located.count; i++)
        text = stamp(a, text, tc->located.items[i], true);
    struct strings files = {0};
    identity_glob(a, &tc->identity, &files);
    for (size_t i = 0; i < files.count; i++)
        text = stamp(a, text, files.items[i], false);
    return text;
}

/* First line of what the version command prints, wherever it prints it. */
static int ask(struct arena *a, const struct toolchain *tc, const char **ret, struct error *err)
{
    struct jail_run run = {.tc = tc, .output_fd = -1, .depfile_fd = -1, .best_effort = true};
    struct toolchain_values none = {0};
    if (toolchain_expand(a, &tc->version, &none, &run.argv, err) < 0)
        return -1;
    struct jail_result result;
    if (jail_run_once(a, &run, &result, err) < 0)
        return error_wrap(err, "toolchain \"%s\"", tc->name);
    const char *text = result.log;
    while (*text == '\n')
        text++;
    size_t n = strcspn(text, "\n");
    if (result.report.verdict != VERDICT_OK || n == 0) {
        error_set(err, "toolchain.broken", 0, "toolchain \"%s\" does not work here: %s: %s",
                  tc->name, verdict_name(result.report.verdict),
                  result.report.detail[0] != '\0' ? result.report.detail : result.log);
        return -1;
    }
    *ret = diagnostics_clean(a, text, n, VERSION_MAX - 1);
    return 0;
}

int identity_text(struct arena *a, struct toolchain *tc, const char **ret_stamps,
                  const char **ret_version, struct error *err)
{
    if (toolchain_check(tc, err) < 0)
        return -1;
    const char *stamps = stamps_of(a, tc);
    const char *command = arena_printf(a, "%s\n%s", tc->name, stamps);
    for (size_t i = 0; i < tc->version.count; i++)
        command = arena_printf(a, "%s%s\n", command, tc->version.items[i]);
    char name[65], version[VERSION_MAX];
    digest_bytes(command, strlen(command), name);

    _cleanup_close_ int dir = state_open_dir("cache/toolchains", NULL);
    *ret_stamps = stamps;
    if (dir >= 0 && io_read_file_at(dir, name, version, sizeof version) > 0) {
        *ret_version = diagnostics_clean(a, version, strlen(version), VERSION_MAX);
        return 0;
    }
    if (ask(a, tc, ret_version, err) < 0)
        return -1;
    if (dir >= 0) {
        char stage[96];
        snprintf(stage, sizeof stage, "%s.%d", name, (int)getpid());
        _cleanup_close_ int fd =
            openat(dir, stage, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 && (io_write_all(fd, *ret_version, strlen(*ret_version)) < 0 ||
                        renameat(dir, stage, dir, name) < 0))
            unlinkat(dir, stage, 0);
    }
    return 0;
}

int compile_toolchain_version(struct toolchain *tc, char *buf, size_t size, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    const char *stamps = "", *version = "";
    if (identity_text(a, tc, &stamps, &version, err) < 0)
        return -1;
    snprintf(buf, size, "%s", version);
    return 0;
}
