#include "compiler/sources.h"

#include "base/io.h"
#include "base/syscalls.h"
#include "compiler/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 32

/* thousands of messages about the last line of a giant file must not cost minutes */
#define LINE_BUDGET (256U << 20)

struct reader {
    struct sources *s;
    const struct toolchain *tc;
    uint64_t total;
    struct error *err;
};

static int refuse(struct error *err, const char *given, int errnum, const char *why)
{
    char clean[512];
    size_t n = 0;
    for (const char *p = given; *p != '\0' && n < sizeof clean - 1; p++)
        clean[n++] = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    clean[n] = '\0';
    error_set(err, "compile.source", errnum, "cannot compile \"%s\"%s%s", clean,
              why[0] != '\0' ? ": " : "", why);
    return error_path(err, clean);
}

static bool has_control(const char *name)
{
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return true;
    }
    return false;
}

/* Takes over @data. */
static int add(struct reader *r, const char *inside, const char *given, const char *data,
               size_t size)
{
    struct sources *s = r->s;
    bool compiled = toolchain_has_extension(&r->tc->extensions, inside);
    if (has_control(inside))
        return refuse(r->err, given, 0, "its name has control characters in it");
    if (compiled && size == 0)
        return refuse(r->err, given, 0, "the file is empty");
    if (compiled && memchr(data, '\0', size) != NULL)
        return refuse(r->err, given, 0, "the file is not text (it has NUL bytes)");
    if (s->count == COMPILE_FILES_MAX) {
        error_set(r->err, "compile.source", 0, "more than %d source files", COMPILE_FILES_MAX);
        return error_hint(r->err, "give the directory of one program");
    }
    if (__builtin_add_overflow(r->total, size, &r->total) || r->total > COMPILE_SOURCES_MAX)
        return refuse(r->err, given, 0, "the sources together are larger than 64 MiB");
    s->files = arena_grow(s->arena, s->files, s->count, sizeof *s->files);
    struct source_file *f = &s->files[s->count++];
    f->inside = inside;
    f->given = given;
    f->data = data;
    f->size = size;
    f->compiled = compiled;
    s->compiled += compiled;
    digest_bytes(data, size, f->digest);
    return 0;
}

static int read_fd(struct reader *r, int fd, const char *inside, const char *given)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return refuse(r->err, given, errno, "");
    if (!S_ISREG(st.st_mode))
        return refuse(r->err, given, 0, "it is not a regular file");
    if (st.st_size > (off_t)COMPILE_SOURCE_MAX)
        return refuse(r->err, given, 0, "the file is larger than 16 MiB");
    /* it may grow while it is read: what counts is what was read */
    size_t room = (size_t)st.st_size + 1;
    char *data = arena_alloc(r->s->arena, room + 1);
    ssize_t n = io_read_full(fd, data, room);
    if (n < 0)
        return refuse(r->err, given, errno, "");
    if ((size_t)n == room)
        return refuse(r->err, given, 0, "the file grew while it was read");
    data[n] = '\0';
    return add(r, inside, given, data, (size_t)n);
}

static int open_source(struct error *err, int dirfd, const char *name, const char *given)
{
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (errno == ELOOP) {
        refuse(err, given, 0, "it is a symbolic link");
        return error_hint(err, "give the file that it points to");
    }
    return refuse(err, given, errno, "");
}

static int by_name(const struct dirent **x, const struct dirent **y)
{
    return strcmp((*x)->d_name, (*y)->d_name);
}

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int read_directory(struct reader *r, int fd, const char *inside, const char *given,
                          unsigned depth)
{
    struct dirent **list;
    if (depth > DEPTH_MAX)
        return refuse(r->err, given, 0, "directories are nested too deeply");
    int n = scandirat(fd, ".", &list, not_hidden, by_name);
    if (n < 0)
        return refuse(r->err, given, errno, "");
    int result = 0;
    struct arena *a = r->s->arena;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        char *in = arena_printf(a, "%s%s%s", inside, inside[0] != '\0' ? "/" : "", name);
        char *out = arena_printf(a, "%s/%s", given, name);
        struct stat st;
        bool wanted = toolchain_has_extension(&r->tc->extensions, name) ||
                      toolchain_has_extension(&r->tc->includes, name);
        if (result == 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (wanted || S_ISDIR(st.st_mode))) {
            _cleanup_close_ int sub = open_source(r->err, fd, name, out);
            if (sub < 0)
                result = -1;
            else if (S_ISDIR(st.st_mode))
                result = read_directory(r, sub, in, out, depth + 1);
            else
                result = read_fd(r, sub, in, out);
        }
        free(list[i]);
    }
    free(list);
    return result;
}

/* --- where things stand inside --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static char *without_slashes(struct arena *a, const char *path)
{
    char *copy = arena_strdup(a, path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    return copy;
}

/* The real directory of a source, ending in "/": itself, or the one it is in. */
static char *home_of(struct arena *a, const char *path, struct error *err)
{
    struct stat st;
    char real[PATH_MAX];
    bool is_dir = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *slash = strrchr(path, '/');
    const char *dir = is_dir          ? path
                      : slash == NULL ? "."
                                      : arena_strndup(a, path, (size_t)(slash - path) + 1);
    if (realpath(dir, real) == NULL) {
        refuse(err, path, errno, "");
        return NULL;
    }
    return arena_printf(a, "%s%s", real, strcmp(real, "/") == 0 ? "" : "/");
}

static size_t common_prefix(const char *x, const char *y)
{
    size_t n = 0, slash = 0;
    for (; x[n] != '\0' && x[n] == y[n]; n++)
        slash = x[n] == '/' ? n + 1 : slash;
    return slash;
}

static int read_path(struct reader *r, const char *path, const char *prefix)
{
    struct arena *a = r->s->arena;
    struct stat st;
    path = without_slashes(a, path);
    _cleanup_close_ int fd = open_source(r->err, AT_FDCWD, path, path);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        size_t n = strlen(prefix);
        const char *inside = arena_strndup(a, prefix, n > 0 ? n - 1 : 0);
        return read_directory(r, fd, inside, strcmp(path, ".") == 0 ? "." : path, 0);
    }
    const char *name = base_name(path);
    if (!toolchain_has_extension(&r->tc->extensions, name) &&
        !toolchain_has_extension(&r->tc->includes, name)) {
        refuse(r->err, path, 0,
               arena_printf(a, "toolchain \"%s\" does not take such a file", r->tc->name));
        return error_hint(r->err, "choose another one with --toolchain");
    }
    return read_fd(r, fd, arena_printf(a, "%s%s", prefix, name), arena_strdup(a, path));
}

static bool valid_memory_name(const char *name)
{
    if (name == NULL || name[0] == '/' || name[0] == '\0' || strlen(name) > 255)
        return false;
    for (const char *p = name; *p != '\0';) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n + (p[n] == '/');
    }
    return true;
}

static int by_inside(const void *x, const void *y)
{
    return strcmp(((const struct source_file *)x)->inside, ((const struct source_file *)y)->inside);
}

int sources_read(struct sources *s, const struct compile_job *job, const struct toolchain *tc,
                 struct error *err)
{
    struct reader r = {.s = s, .tc = tc, .err = err};
    struct arena *a = s->arena;
    s->line_budget = arena_alloc(a, sizeof *s->line_budget);
    *s->line_budget = LINE_BUDGET;
    char **homes = arena_alloc(a, (job->source_count + 1) * sizeof *homes);
    const char *first = NULL;
    size_t common = 0;
    for (size_t i = 0; i < job->source_count; i++) {
        const struct compile_source *src = &job->sources[i];
        if (src->data != NULL || job->source_count == 1)
            continue;
        homes[i] = home_of(a, without_slashes(a, src->path), err);
        if (homes[i] == NULL)
            return -1;
        size_t n = first == NULL ? strlen(homes[i]) : common_prefix(first, homes[i]);
        common = first == NULL || n < common ? n : common;
        first = first == NULL ? homes[i] : first;
    }
    for (size_t i = 0; i < job->source_count; i++) {
        const struct compile_source *src = &job->sources[i];
        if (src->data != NULL) {
            if (!valid_memory_name(src->path))
                return refuse(err, src->path == NULL ? "" : src->path, 0,
                              "expected a relative name without \"..\"");
            char *copy = arena_alloc(a, src->size + 1);
            memcpy(copy, src->data, src->size);
            if (add(&r, arena_strdup(a, src->path), arena_strdup(a, src->path), copy, src->size) <
                0)
                return -1;
        } else if (read_path(&r, src->path, homes[i] != NULL ? homes[i] + common : "") < 0) {
            return -1;
        }
    }
    if (s->compiled == 0) {
        const char *list = "";
        for (size_t i = 0; i < tc->extensions.count; i++)
            list = arena_printf(a, "%s %s", list, tc->extensions.items[i]);
        error_set(err, "compile.source", 0, "there is nothing to compile%s%s%s: no file ends in%s",
                  job->source_count > 0 ? " in \"" : "",
                  job->source_count > 0 ? job->sources[0].path : "",
                  job->source_count > 0 ? "\"" : "", list);
        return error_hint(err, "give a source file, or a directory with one");
    }
    if (s->count == 1 && tc->source_name != NULL)
        s->files[0].inside = tc->source_name;
    qsort(s->files, s->count, sizeof *s->files, by_inside);
    for (size_t i = 1; i < s->count; i++) {
        if (strcmp(s->files[i - 1].inside, s->files[i].inside) == 0)
            return refuse(err, s->files[i].given, 0, "it is given twice");
    }
    return 0;
}

/* --- which toolchain --- */

struct tally {
    char extension[16], name[256];
    unsigned count;
};
#define TALLIES 32

static void tally_name(struct tally *list, size_t *count, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || strlen(dot) >= sizeof list->extension)
        return;
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(list[i].extension, dot) == 0) {
            list[i].count++;
            return;
        }
    }
    if (*count < TALLIES) {
        struct tally *t = &list[(*count)++];
        snprintf(t->extension, sizeof t->extension, "%s", dot);
        snprintf(t->name, sizeof t->name, "%s", name);
        t->count = 1;
    }
}

static void tally_directory(int fd, struct tally *list, size_t *count, unsigned depth,
                            unsigned *budget)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    for (struct dirent *e; dir != NULL && *budget > 0 && (e = readdir(dir)) != NULL;) {
        struct stat st;
        (*budget)--;
        if (e->d_name[0] == '.' || fstatat(copy, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            tally_name(list, count, e->d_name);
        if (!S_ISDIR(st.st_mode) || depth == DEPTH_MAX)
            continue;
        _cleanup_close_ int sub =
            openat(copy, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0)
            tally_directory(sub, list, count, depth + 1, budget);
    }
}

int sources_toolchain(const struct compile_job *job, struct toolchain **ret, struct error *err)
{
    if (job->toolchain != NULL)
        return toolchain_load(ret, job->toolchain, err);
    if (job->source_count == 0)
        return error_set(err, "compile.source", 0, "there is nothing to compile");
    struct tally list[TALLIES];
    size_t count = 0;
    unsigned budget = COMPILE_FILES_MAX;
    for (size_t i = 0; i < job->source_count; i++) {
        const struct compile_source *src = &job->sources[i];
        struct stat st;
        if (src->data != NULL || lstat(src->path, &st) < 0 || !S_ISDIR(st.st_mode)) {
            tally_name(list, &count, base_name(src->path));
            continue;
        }
        _cleanup_close_ int fd = open(src->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            tally_directory(fd, list, &count, 0, &budget);
    }
    _cleanup_toolchain_ struct toolchain *best = NULL;
    unsigned best_count = 0;
    for (size_t i = 0; i < count; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        struct error ignored;
        if (list[i].count <= best_count || toolchain_for_file(&tc, list[i].name, &ignored) < 0)
            continue;
        toolchain_free(best);
        best = TAKE_PTR(tc);
        best_count = list[i].count;
    }
    if (best != NULL) {
        *ret = TAKE_PTR(best);
        return 0;
    }
    /* say what is wrong with the first one: missing, unreadable, or of no known kind */
    const char *path = job->sources[0].path;
    if (job->sources[0].data == NULL && access(path, R_OK) < 0)
        return refuse(err, path, errno, "");
    return toolchain_for_file(ret, path, err);
}

/* --- back to the user's names --- */

/* "/src/a/../b.h" -> "b.h"; NULL when it leads out of /src. */
static bool normalise(const char *path, char *out, size_t size)
{
    size_t top = strlen(SOURCES_INSIDE "/"), used = 0;
    if (path[0] == '/') {
        if (strncmp(path, SOURCES_INSIDE "/", top) != 0)
            return false;
        path += top;
    }
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            if (used == 0)
                return false;
            while (used > 0 && out[--used] != '/')
                ;
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            if (used + n + 2 > size)
                return false;
            if (used > 0)
                out[used++] = '/';
            memcpy(out + used, path, n);
            used += n;
        }
        path += n;
        while (*path == '/')
            path++;
    }
    out[used] = '\0';
    return used > 0;
}

const struct source_file *sources_find(const struct sources *s, const char *path)
{
    char name[PATH_MAX];
    if (!normalise(path, name, sizeof name))
        return NULL;
    struct source_file wanted = {.inside = name};
    return bsearch(&wanted, s->files, s->count, sizeof *s->files, by_inside);
}

/* /obj/N.o is made of the Nth file that is compiled (plan.c). */
static const struct source_file *source_of_object(const struct sources *s, const char *path)
{
    uint64_t n;
    const char *digits = path + strlen(OBJECTS_INSIDE "/"), *end = strstr(path, ".o");
    char text[16];
    if (strncmp(path, OBJECTS_INSIDE "/", strlen(OBJECTS_INSIDE "/")) != 0 || end == NULL ||
        (size_t)(end - digits) >= sizeof text)
        return NULL;
    memcpy(text, digits, (size_t)(end - digits));
    text[end - digits] = '\0';
    if (!io_parse_u64(text, &n))
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (s->files[i].compiled && n-- == 0)
            return &s->files[i];
    }
    return NULL;
}

static const char *map_path(const void *data, struct arena *a, const char *path)
{
    (void)a;
    const struct source_file *f = sources_find(data, path);
    if (f == NULL)
        f = source_of_object(data, path);
    return f == NULL ? NULL : f->given;
}

static const char *map_line(const void *data, const char *path, unsigned line, size_t *ret_size)
{
    const struct sources *s = data;
    const struct source_file *f = sources_find(s, path);
    if (f == NULL || *s->line_budget < f->size)
        return NULL;
    *s->line_budget -= f->size;
    const char *at = f->data, *end = f->data + f->size;
    for (unsigned i = 1; at != NULL && i < line; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL || at >= end)
        return NULL;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    *ret_size = newline == NULL ? (size_t)(end - at) : (size_t)(newline - at);
    if (*ret_size > 0 && at[*ret_size - 1] == '\r')
        (*ret_size)--;
    return at;
}

struct diagnostics_map sources_map(const struct sources *s)
{
    return (struct diagnostics_map){.data = s, .path = map_path, .line = map_line};
}

const char *sources_translate(const struct sources *s, struct arena *a, const char *text,
                              size_t size, size_t *ret_size)
{
    char *out = NULL;
    FILE *f = open_memstream(&out, ret_size);
    if (f == NULL)
        return "";
    const char *at = text, *end = text + size, *hit;
    while ((hit = memmem(at, (size_t)(end - at), SOURCES_INSIDE "/", 5)) != NULL) {
        size_t n = 0;
        while (hit + n < end && strchr(" \t\n:\"'`,;()", hit[n]) == NULL)
            n++;
        char name[PATH_MAX];
        const struct source_file *file = NULL;
        if (n < sizeof name) {
            memcpy(name, hit, n);
            name[n] = '\0';
            file = sources_find(s, name);
        }
        fwrite(at, 1, (size_t)(hit - at), f);
        if (file != NULL)
            fputs(file->given, f);
        else
            fwrite(hit, 1, n, f);
        at = hit + n;
    }
    fwrite(at, 1, (size_t)(end - at), f);
    if (fclose(f) != 0) {
        free(out);
        *ret_size = 0;
        return "";
    }
    char *copy = arena_alloc(a, *ret_size + 1);
    memcpy(copy, out, *ret_size);
    free(out);
    return copy;
}
