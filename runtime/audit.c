#include "runtime/audit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define AUDIT_MAX_BYTES (16 * 1024 * 1024)

int audit_open(struct error *err)
{
    return state_open_dir("audit", err);
}

/** The present file, locked: a writer that waited may find that it was started anew. */
static int open_locked(int dir)
{
    for (;;) {
        struct stat st, named;
        _cleanup_close_ int fd =
            openat(dir, AUDIT_FILE, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
            return -1;
        bool present = fstatat(dir, AUDIT_FILE, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
                       named.st_ino == st.st_ino && named.st_dev == st.st_dev;
        if (present && st.st_size < AUDIT_MAX_BYTES)
            return TAKE_FD(fd);
        if (present && renameat(dir, AUDIT_FILE, dir, AUDIT_FILE ".1") < 0)
            return -1;
    }
}

int audit_append(const char *lines, size_t size, struct error *err)
{
    _cleanup_close_ int dir = audit_open(err);
    if (dir < 0)
        return -1;
    _cleanup_close_ int fd = open_locked(dir);
    if (fd < 0 || io_write_all(fd, lines, size) < 0)
        return error_set(err, "audit.write", errno, "cannot write audit/" AUDIT_FILE);
    return 0;
}

static uint64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t audit_batch_start(const char *operation, int count)
{
    char line[256];
    uint64_t span = now_us(CLOCK_MONOTONIC);
    int n = snprintf(line, sizeof line,
                     "{\"time\":%.6f,\"event\":\"batch.start\",\"span\":%llu,\"uid\":%u,\"pid\":%d,"
                     "\"detail\":\"%.32s\",\"count\":%d}\n",
                     (double)now_us(CLOCK_REALTIME) / 1e6, (unsigned long long)span,
                     (unsigned)geteuid(), (int)getpid(), operation, count);
    audit_append(line, (size_t)n, NULL);
    return span;
}

void audit_batch_stop(uint64_t span, const char *operation, int count, int failed)
{
    char line[256];
    int n = snprintf(
        line, sizeof line,
        "{\"time\":%.6f,\"event\":\"batch.%s\",\"span\":%llu,\"duration_ms\":%.3f,\"uid\":%u,"
        "\"pid\":%d,\"detail\":\"%.32s\",\"count\":%d,\"failed\":%d}\n",
        (double)now_us(CLOCK_REALTIME) / 1e6, failed == 0 ? "stop" : "exception",
        (unsigned long long)span, (double)(now_us(CLOCK_MONOTONIC) - span) / 1000,
        (unsigned)geteuid(), (int)getpid(), operation, count, failed);
    audit_append(line, (size_t)n, NULL);
}
