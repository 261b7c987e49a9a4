/**
 * One command of a toolchain in a one-shot sandbox. Private to compiler/.
 *
 * What it sees: the toolchain's directories, /src, /include and /obj as far as the run has them,
 * all read-only; a scratch /tmp; fd 3 to write its output to and fd 4 for the dependency list.
 */
#ifndef CLOCHE_COMPILER_JAIL_H
#define CLOCHE_COMPILER_JAIL_H

#include "compiler/compiler.h"

#define JAIL_OUTPUT    "/proc/self/fd/3"
#define JAIL_DEPFILE   "/proc/self/fd/4"
#define JAIL_LOG_MAX   (2U << 20)  /* kept of each stream */
#define JAIL_LOG_LIMIT (16U << 20) /* printed before the tree is ended */

struct jail_run {
    const struct toolchain *tc;
    struct strings argv; /* expanded: the program's path first */
    const char *workdir; /* host path with src/, include/, obj/ in it, or NULL */
    bool has_sources, has_headers, has_objects;
    bool best_effort;
    int output_fd, depfile_fd;                            /* memfds, or -1 */
    uint64_t wall_ms, cpu_ms, memory_bytes, output_bytes; /* 0: the profile's */
};

struct jail_result {
    struct report report;
    const char *log; /* stderr, then stdout; NUL-terminated */
    size_t log_size;
};

struct jail;

/** @run and what it points to must outlive the jail. */
int jail_start(struct jail **ret, const struct jail_run *run, struct error *err);
struct sandbox *jail_sandbox(const struct jail *j);

/** After sandbox_dispatch() returned 1; the log is copied to @a. */
void jail_finish(struct jail *j, struct arena *a, struct jail_result *ret);
void jail_free(struct jail *j);

/** All of it. */
int jail_run_once(struct arena *a, const struct jail_run *run, struct jail_result *ret,
                  struct error *err);

/** What of the profile and the machine's configuration enters a cache key. */
const char *jail_profile_digest(struct arena *a);

static inline void cleanup_jail(struct jail **j)
{
    jail_free(*j);
}
#define _cleanup_jail_ __attribute__((cleanup(cleanup_jail)))

#endif
