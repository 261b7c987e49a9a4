/* cloche cp: one regular file into a sandbox or out of it. Inside, it is opened by init with the
 * rights of the sandbox's user (isolation/serve.c); outside, with ours. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "runtime/client.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    *(bool *)context = true;
    return 0;
}

static const struct cli_option options[] = {{0, "json", NULL, "errors as JSON", set_json},
                                            {0, NULL, NULL, NULL, NULL}};

struct place {
    char id[72]; /* "": outside */
    char path[PATH_MAX];
};

/** "ID:PATH", or a path; one with a colon in its name is written with a slash before it. */
static int parse(const char *text, struct place *ret, struct error *err)
{
    size_t n = strcspn(text, ":/");
    bool inside = text[n] == ':' && n > 0;
    const char *path = inside ? text + n + 1 : text;
    if (path[0] == '\0' || strlen(path) >= sizeof ret->path || n >= sizeof ret->id)
        return error_set(err, "usage.path", 0, "\"%.200s\" is neither ID:PATH nor a path", text);
    snprintf(ret->id, sizeof ret->id, "%.*s", inside ? (int)n : 0, text);
    snprintf(ret->path, sizeof ret->path, "%s", path);
    if (!inside || path[0] == '/')
        return 0;
    error_set(err, "usage.path", 0, "the path in sandbox \"%s\" is not absolute", ret->id);
    return error_hint(err, "begin it with a slash; a file here with a colon in its name: ./%.200s",
                      text);
}

static int append_name(struct place *to, const struct place *from, struct error *err)
{
    size_t n = strlen(to->path);
    const char *slash = strrchr(from->path, '/'), *name = slash != NULL ? slash + 1 : from->path;
    if (n + strlen(name) + 2 > sizeof to->path)
        return error_set(err, "usage.path", ENAMETOOLONG, "cannot copy to \"%s\"", to->path);
    to->path[n] = '/';
    memcpy(to->path + n + (to->path[n - 1] != '/'), name, strlen(name) + 1);
    return 0;
}

/** @mode: as of client_open_file(). */
static int open_outside(const struct place *p, int mode, struct error *err)
{
    struct stat st;
    const bool write = mode >= 0;
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = open(p->path, flags | (write ? O_WRONLY | O_CREAT : O_RDONLY), write ? mode : 0);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!write || ftruncate(fd, 0) == 0))
        return fd;
    int problem = fd < 0 ? errno : 0;
    bool directory = problem == EISDIR || (fd >= 0 && S_ISDIR(st.st_mode));
    cleanup_close(&fd);
    error_set(err, "cp.file", problem, "cannot %s \"%s\"%s", write ? "write" : "read", p->path,
              problem == 0 ? ": not a regular file" : "");
    if (directory && !write)
        error_hint(err, "tar -c %s | cloche exec ID -- tar -x -C DIR", p->path);
    return error_path(err, p->path);
}

static int open_place(const struct place *p, int mode, struct error *err)
{
    return p->id[0] != '\0' ? client_open_file(p->id, p->path, mode, err)
                            : open_outside(p, mode, err);
}

/** As with cp: into a directory under its own name. */
static int open_target(struct place *to, const struct place *from, int mode, struct error *err)
{
    struct error first = ERROR_INIT;
    bool named = to->path[strlen(to->path) - 1] == '/';
    int fd = named ? -1 : open_place(to, mode, &first);
    if (fd >= 0 || append_name(to, from, err) < 0)
        return fd;
    fd = open_place(to, mode, err);
    if (fd < 0 && !named)
        *err = first;
    return fd;
}

/** As much as there was when it was opened: what goes on growing inside cannot keep us here. */
static int copy(int from, int to, struct error *err)
{
    char buf[65536];
    struct stat st;
    if (fstat(from, &st) < 0)
        return error_set(err, "cp.read", errno, "cannot read the file");
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = read(from, buf, left < (off_t)sizeof buf ? (size_t)left : sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, "cp.read", errno, "cannot read the file");
        if (n == 0)
            break;
        if (io_write_all(to, buf, (size_t)n) < 0)
            return error_set(err, "cp.write", errno, "cannot write the copy");
        left -= n;
    }
    return 0;
}

static int run(const char *from_text, const char *to_text, struct error *err)
{
    struct place from, to;
    if (parse(from_text, &from, err) < 0 || parse(to_text, &to, err) < 0)
        return -1;
    if ((from.id[0] == '\0') == (to.id[0] == '\0')) {
        error_set(err, "usage.path", 0, "one of the two is in a sandbox, the other is not");
        return error_hint(err, "cloche cp ID:PATH PATH, or cloche cp PATH ID:PATH");
    }
    _cleanup_close_ int source = open_place(&from, -1, err);
    struct stat st;
    if (source < 0 || fstat(source, &st) < 0)
        return source < 0 ? -1 : error_set(err, "cp.read", errno, "cannot read the file");
    _cleanup_close_ int target = open_target(&to, &from, (int)(st.st_mode & 0777), err);
    return target < 0 ? -1 : copy(source, target, err);
}

int cli_cp(int argc, char **argv)
{
    if (cli_wants_help("cp", options, argc, argv))
        return 0;
    struct error err = ERROR_INIT;
    bool json = false;
    struct strings operands = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (cli_parse_all(options, &json, argc, argv, a, &operands, &err) < 0)
        return cli_fail(&err, json, EXIT_USAGE);
    if (operands.count != 2) {
        error_set(&err, "usage.path", 0, "two places are needed");
        error_hint(&err, "cloche cp ID:PATH PATH, or cloche cp PATH ID:PATH");
        return cli_fail(&err, json, EXIT_USAGE);
    }
    if (run(operands.items[0], operands.items[1], &err) == 0)
        return 0;
    bool usage = strncmp(err.code, "usage.", 6) == 0 || strcmp(err.code, "sandbox.bad_id") == 0;
    return cli_fail(&err, json, usage ? EXIT_USAGE : 1);
}
