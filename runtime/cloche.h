/**
 * libcloche: what the command line does, for C programs.
 *
 * Plain functions, no global state, no threads of their own; two calls may run in two threads. A
 * structure of options begins with its size, so that it may grow: set it with CLOCHE_OPTIONS.
 * Results come as JSON, the same object that `--json` prints, to be freed with free(3); what an
 * application does with an artifact it does through its fd.
 *
 *     struct cloche_compile_options o = CLOCHE_OPTIONS(cloche_compile_options);
 *     const char *sources[] = {"sum.c"};
 *     o.sources = sources;
 *     o.source_count = 1;
 *     int artifact;
 *     char *json;
 *     struct cloche_error error;
 *     if (cloche_compile(&o, &artifact, &json, &error) < 0)
 *         fprintf(stderr, "%s; fix: %s\n", error.message, error.hint);
 */
#ifndef CLOCHE_H
#define CLOCHE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLOCHE_API __attribute__((visibility("default")))

/* C++ has no designated compound literals: there, zero it and set size by hand. */
#define CLOCHE_OPTIONS(type)                                                                       \
    {                                                                                              \
        .size = sizeof(struct type)                                                                \
    }

struct cloche_error {
    char code[64];      /* stable: "compile.source" */
    char message[4096]; /* what failed, on which object, why */
    char hint[512];     /* what fixes it, or "" */
    char path[512];     /* the file concerned, or "" */
};

struct cloche_compile_options {
    size_t size;
    const char *const *sources; /* files, or one directory */
    size_t source_count;
    const char *toolchain; /* NULL: by the ending of the sources */
    const char *const *flags;
    size_t flag_count;
    const char *const *defines; /* "NAME" or "NAME=VALUE" */
    size_t define_count;
    int module, warnings_as_errors, no_cache, best_effort; /* 0 or 1 */
    unsigned jobs;                                         /* 0: as many as processors */
    uint64_t wall_ms, cpu_ms, memory_bytes;                /* 0: the profile's */
};

/** Compile behind glass. 0: done, @ret_json tells how it went; *@ret_artifact is a read-only fd, or
 * -1 when there is no artifact (a verdict other than "ok"). -1: nothing was compiled. */
CLOCHE_API int cloche_compile(const struct cloche_compile_options *options, int *ret_artifact,
                              char **ret_json, struct cloche_error *error);

struct cloche_judge_options {
    size_t size;
    const char *tests;              /* directory */
    const char *const *submissions; /* each one program: a file or a directory */
    size_t submission_count;
    const char *toolchain;
    const char *const *flags;
    size_t flag_count;
    const char *checker; /* "tokens", "exact", "float", "unordered", a program; NULL: the tests' */
    double absolute, relative; /* of "float"; 0, 0: the tests' */
    const char *profile;       /* NULL: "student" */
    const char *junit;         /* file for JUnit XML, or NULL */
    int stop_at_first, no_cache, best_effort;
    unsigned jobs;
    uint64_t cpu_ms, wall_ms, memory_bytes, output_bytes, processes; /* 0: the tests' */
};

/** Grade. 1: every submission passed every test; 0: not so; -1: nothing could be graded. */
CLOCHE_API int cloche_judge(const struct cloche_judge_options *options, char **ret_json,
                            struct cloche_error *error);

/* --- long-lived sandboxes ------------------------------------------------------------------------
 *
 * Every sandbox belongs to a keeper, a process of its own; a call here is a short conversation with
 * that keeper over a socket. There is no handle and no hidden state, and a sandbox made here
 * outlives the application unless it is destroyed. Where state is: CLOCHE_ROOT and CLOCHE_RUN, as
 * for the command line. The keeper's program is looked for beside the application, then where it
 * was installed; CLOCHE_KEEPER names another. Each function returns 0, or -1 with @error filled.
 */

/** What a sandbox is: a profile, an OCI config.json written over it, a command as its child. All
 * may be NULL. */
struct cloche_sandbox {
    size_t size;
    const char *profile;     /* "strict", ...: `cloche profiles` */
    const char *config_json; /* text, with the "cloche" object of config/schema/ */
    const char *const *args; /* NULL-terminated: supervised, restarted unless it ends normally */
};

/** Make it and wait until it runs and its children are ready. -1: nothing is left behind. */
CLOCHE_API int cloche_create(const char *id, const struct cloche_sandbox *what,
                             struct cloche_error *error);

struct cloche_command {
    size_t size;
    const char *const *args; /* NULL-terminated */
    const char *const *env;  /* NULL, or "KEY=VALUE" beside those of the sandbox */
    const char *cwd, *user;  /* NULL: the sandbox's; "UID[:GID]" */
    int streams[3];          /* fds that become its stdin, stdout, stderr */
    uint64_t timeout_ms;     /* 0: none; then it is killed with all that it started */
};

struct cloche_result {
    char verdict[32]; /* "ok", "runtime_error", "time_limit", "memory_limit", "blocked_syscall" */
    int exit_code;    /* -1 when a signal ended it */
    int signal;       /* 0 when it exited */
    double wall_ms, user_ms, system_ms;
    uint64_t max_rss_bytes;
};

/** Run a command in it and wait for its end. That it failed is a result and no error. */
CLOCHE_API int cloche_exec(const char *id, const struct cloche_command *command,
                           struct cloche_result *ret, struct cloche_error *error);

/** Status, usage, limits, children as JSON; free() it. */
CLOCHE_API int cloche_info(const char *id, char **ret_json, struct cloche_error *error);

CLOCHE_API int cloche_pause(const char *id, struct cloche_error *error);
CLOCHE_API int cloche_resume(const char *id, struct cloche_error *error);

/** @force: even while commands of other clients run. */
CLOCHE_API int cloche_restart(const char *id, int force, struct cloche_error *error);

/** End it (SIGTERM, after 5 s SIGKILL) and remove every trace. */
CLOCHE_API int cloche_destroy(const char *id, int force, struct cloche_error *error);

/** Several at once, one result each in @errors (code "" is success), one failure never stops the
 * rest. Returns how many failed. */
CLOCHE_API int cloche_batch_destroy(const char *const *ids, int count, int force,
                                    struct cloche_error *errors);

#ifdef __cplusplus
}
#endif

#endif
