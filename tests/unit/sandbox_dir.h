/**
 * A sandbox's directory for one test, below $CLOCHE_BUILD/tests, gone when its scope ends; and
 * faults at the n-th step of the store.
 */
#ifndef CLOCHE_TESTS_UNIT_SANDBOX_DIR_H
#define CLOCHE_TESTS_UNIT_SANDBOX_DIR_H

#include "base/cleanup.h"
#include "versions/disk.h"
#include "versions/versions.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct sandbox_dir {
    char path[512];
    int fd;
};

static inline int sandbox_dir_unlink(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline struct sandbox_dir sandbox_dir_new(void)
{
    struct sandbox_dir d;
    const char *build = getenv("CLOCHE_BUILD");
    snprintf(d.path, sizeof d.path, "mkdir -p %s/tests", build != NULL ? build : "build");
    cr_assert_eq(system(d.path), 0);
    snprintf(d.path, sizeof d.path, "%s/tests/sandbox.XXXXXX", build != NULL ? build : "build");
    cr_assert_not_null(mkdtemp(d.path));
    d.fd = open(d.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(d.fd >= 0);
    return d;
}

static inline void sandbox_dir_free(struct sandbox_dir *d)
{
    close(d->fd);
    nftw(d->path, sandbox_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
}
#define _cleanup_sandbox_dir_ __attribute__((cleanup(sandbox_dir_free)))

/* --- faults ---------------------------------------------------------------------------------- */

static long fault_at, fault_steps; /* the step to fail, counted from 1; 0: none */
static int fault_errno;            /* 0: SIGKILL instead */
static char fault_name[128];

static inline int fault_hook(const char *operation, const char *name)
{
    if (++fault_steps != fault_at)
        return 0;
    snprintf(fault_name, sizeof fault_name, "%s %s", operation, name);
    if (fault_errno == 0)
        raise(SIGKILL);
    return fault_errno;
}

static inline void fault_set(long at, int errnum)
{
    fault_at = at;
    fault_steps = 0;
    fault_errno = errnum;
    fault_name[0] = '\0';
    disk_step = fault_hook;
}

static inline void fault_clear(void)
{
    disk_step = NULL;
}

/* --- artifacts that need no compiler --------------------------------------------------------- */

struct made_artifact {
    struct elf_info elf;
    struct store_artifact artifact;
    char bytes[256];
};

/** Bytes that differ by @seed, of state schema @schema; the store does not look into them. */
static inline const struct store_artifact *make_artifact(struct made_artifact *m, unsigned seed,
                                                         uint32_t schema)
{
    memset(m, 0, sizeof *m);
    snprintf(m->bytes, sizeof m->bytes, "artifact number %u", seed);
    m->elf = (struct elf_info){.abi = {.magic = CLOCHE_MODULE_MAGIC,
                                       .major = 1,
                                       .state_schema = schema,
                                       .state_schema_min = schema},
                               .name = "m",
                               .label = "made by hand",
                               .soname = ""};
    m->artifact = (struct store_artifact){.data = m->bytes,
                                          .size = sizeof m->bytes,
                                          .elf = &m->elf,
                                          .toolchain = "c",
                                          .log = "no warnings\n",
                                          .log_size = 12};
    return &m->artifact;
}

static inline struct versions *open_versions(const struct sandbox_dir *d)
{
    struct versions *v = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(versions_open(d->fd, &v, &err), 0, "%s", err.message);
    return v;
}

/** Publish, and carry it through to GOOD when @good. */
static inline uint32_t publish_version(struct versions *v, unsigned seed, bool good)
{
    struct made_artifact m;
    struct error err = ERROR_INIT;
    uint64_t attempt;
    uint32_t number = 0;
    const struct attempt_start start = {.module = "m", .kind = "reload", .cause = "command"};
    cr_assert_eq(history_start(v, &start, &attempt, &err), 0, "%s", err.message);
    cr_assert_eq(store_publish(v, "m", make_artifact(&m, seed, 0), attempt, &number, &err), 0, "%s",
                 err.message);
    struct attempt_end end = {.state = ATTEMPT_ABORTED, .reason = "drain"};
    if (good) {
        cr_assert_eq(history_note(v, attempt, ATTEMPT_INTENT, number, NULL, &err), 0);
        cr_assert_eq(history_note(v, attempt, ATTEMPT_ACTIVATED, number, NULL, &err), 0);
        end = (struct attempt_end){.state = ATTEMPT_GOOD};
    }
    cr_assert_eq(history_end(v, attempt, &end, &err), 0, "%s", err.message);
    return number;
}

#endif
