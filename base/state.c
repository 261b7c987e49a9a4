#include "base/state.h"

#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static const char *first_of(char *buf, unsigned long size, const char *env, const char *below)
{
    const char *value = getenv(env);
    if (value == NULL || value[0] != '/')
        return NULL;
    int n = snprintf(buf, size, "%s%s", value, below);
    return n > 0 && (unsigned long)n < size ? buf : NULL;
}

const char *state_path(char *buf, unsigned long size)
{
    if (first_of(buf, size, "CLOCHE_ROOT", ""))
        return buf;
    if (geteuid() == 0) {
        snprintf(buf, size, "/var/lib/cloche");
        return buf;
    }
    if (first_of(buf, size, "XDG_STATE_HOME", "/cloche") ||
        first_of(buf, size, "HOME", "/.local/state/cloche"))
        return buf;
    snprintf(buf, size, "/tmp/cloche-%u", (unsigned)geteuid());
    return buf;
}

const char *state_run_path(char *buf, unsigned long size)
{
    if (first_of(buf, size, "CLOCHE_RUN", ""))
        return buf;
    if (geteuid() == 0) {
        snprintf(buf, size, "/run/cloche");
        return buf;
    }
    if (first_of(buf, size, "XDG_RUNTIME_DIR", "/cloche"))
        return buf;
    state_path(buf, size);
    size_t len = strlen(buf);
    snprintf(buf + len, size - len, "/run");
    return buf;
}

static int open_dir(const char *env, const char *top, const char *below, struct error *err)
{
    char path[PATH_MAX];
    const char *given = getenv(env);
    if (given != NULL && given[0] != '\0' && given[0] != '/') {
        error_set(err, "state.path", 0, "%s is \"%s\", which is no absolute path", env, given);
        return error_hint(err, "set it to a directory from the root on, or unset it");
    }
    int n = below == NULL ? snprintf(path, sizeof path, "%s", top)
                          : snprintf(path, sizeof path, "%s/%s", top, below);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(err, "state.path", ENAMETOOLONG, "state directory \"%s\"", top);

    _cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (io_mkdir_parents(path, err) < 0)
            return error_hint(err, "set CLOCHE_ROOT and CLOCHE_RUN to directories you can write");
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) {
        error_set(err, "state.open", errno, "cannot open state directory \"%s\"", path);
        return error_hint(err, "set %s to a directory you can write", env);
    }

    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set(err, "state.open", errno, "cannot examine state directory \"%s\"", path);
    if (st.st_uid != geteuid() || (st.st_mode & 0022) != 0) {
        error_set(err, "state.owner", 0, "state directory \"%s\" can be written by others", path);
        return error_hint(err, "chown %u '%s' && chmod 700 '%s'", (unsigned)geteuid(), path, path);
    }
    return TAKE_FD(fd);
}

int state_open_dir(const char *below, struct error *err)
{
    char top[PATH_MAX];
    return open_dir("CLOCHE_ROOT", state_path(top, sizeof top), below, err);
}

int state_open_run_dir(const char *below, struct error *err)
{
    char top[PATH_MAX];
    return open_dir("CLOCHE_RUN", state_run_path(top, sizeof top), below, err);
}
