/**
 * libcloche: what the command line does, for C programs.
 *
 * No global state; calls may run in any number of threads, and only batches make threads, which
 * end with them. A structure of options begins with its size, so that it may grow: set it with
 * CLOCHE_OPTIONS.
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
 * that keeper over a socket, and a sandbox made here outlives the application unless it is
 * destroyed. Where state is: CLOCHE_ROOT and CLOCHE_RUN, as for the command line. The keeper's
 * program is looked for beside the application, then where it was installed; CLOCHE_KEEPER names
 * another. Each function returns 0, or -1 with @error filled (it may be NULL).
 *
 * A handle carries what calls have in common. Any number of threads may use one at the same time;
 * the last one closes it. NULL is a handle with every default, and no events. */

struct cloche;

struct cloche_options {
    size_t size;
    uint64_t deadline_ms; /* of each call that waits, from its beginning; 0: none */
    unsigned parallel;    /* operations of a batch at a time; 0: 16 */
};

CLOCHE_API int cloche_open(const struct cloche_options *options, struct cloche **ret,
                           struct cloche_error *error);
/** Ends what was begun with cloche_begin_exec(), too. */
CLOCHE_API void cloche_close(struct cloche *c);

/* A call that does not come to its end in time fails with "call.deadline". Create is undone then
 * (within 15 s more: 5 in which its keeper may end, then that is killed) and an exec's command is
 * killed; restart and destroy go on by themselves. */

/** A module that the sandbox has from its beginning. */
struct cloche_module {
    size_t size;
    const char *name, *source; /* of the host: a file, a directory or a shared object */
    const char *toolchain;     /* NULL: by the ending of the source */
    int watch;                 /* 0 or 1: reload it whenever its source is saved */
    uint64_t probation_ms;     /* of its versions; 0: 10 s */
};

/** What a sandbox is: a profile, an OCI config.json written over it, a command as its child. All
 * may be NULL. */
struct cloche_sandbox {
    size_t size;
    const char *profile;     /* "strict", ...: `cloche profiles` */
    const char *config_json; /* text, with the "cloche" object of config/schema/ */
    const char *const *args; /* NULL-terminated: supervised, restarted unless it ends normally */
    const struct cloche_module *const *modules; /* NULL-terminated */
};

/** Make it and wait until it runs and its children are ready. -1: nothing is left behind. */
CLOCHE_API int cloche_create(struct cloche *c, const char *id, const struct cloche_sandbox *what,
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
CLOCHE_API int cloche_exec(struct cloche *c, const char *id, const struct cloche_command *command,
                           struct cloche_result *ret, struct cloche_error *error);

/** Status, usage, limits, children as JSON; free() it. */
CLOCHE_API int cloche_info(struct cloche *c, const char *id, char **ret_json,
                           struct cloche_error *error);

CLOCHE_API int cloche_pause(struct cloche *c, const char *id, struct cloche_error *error);
CLOCHE_API int cloche_resume(struct cloche *c, const char *id, struct cloche_error *error);

/** @force: even while commands of other clients run. */
CLOCHE_API int cloche_restart(struct cloche *c, const char *id, int force,
                              struct cloche_error *error);

/** End what runs (SIGTERM, after 5 s SIGKILL) and its keeper; cloche_restart() brings it back. */
CLOCHE_API int cloche_stop(struct cloche *c, const char *id, int force, struct cloche_error *error);

/** End it (SIGTERM, after 5 s SIGKILL) and remove every trace. */
CLOCHE_API int cloche_destroy(struct cloche *c, const char *id, int force,
                              struct cloche_error *error);

/** The ids of all sandboxes, oldest first, as a JSON array; free() it. */
CLOCHE_API int cloche_list(struct cloche *c, char **ret_json, struct cloche_error *error);

/** Usage and limits; the processes inside. JSON; free() it. */
CLOCHE_API int cloche_stats(struct cloche *c, const char *id, char **ret_json,
                            struct cloche_error *error);
/** Samples of the last hour that are younger than @since_ms (of the clock on the wall; 0: all), at
 * most 1000, with "more" when there are more: {"columns": [...], "samples": [[...], ...]}. Taken
 * while somebody asks, or the spec's monitor has an action. JSON; free() it. */
CLOCHE_API int cloche_samples(struct cloche *c, const char *id, uint64_t since_ms, char **ret_json,
                              struct cloche_error *error);
CLOCHE_API int cloche_top(struct cloche *c, const char *id, char **ret_json,
                          struct cloche_error *error);

struct cloche_limits {
    size_t size;
    uint64_t memory_bytes, processes; /* 0: as it is */
    double cpus;                      /* 0: as it is */
};

/** Change limits while it runs. "sandbox.in_use": more than that is used right now. */
CLOCHE_API int cloche_update(struct cloche *c, const char *id, const struct cloche_limits *limits,
                             struct cloche_error *error);

/** A regular file inside, opened with the rights of the sandbox's user: to be read, or (@write)
 * made or emptied to be written. */
CLOCHE_API int cloche_open_file(struct cloche *c, const char *id, const char *path, int write,
                                int *ret_fd, struct cloche_error *error);

/** What the child @child ("main": that of cloche_sandbox.args) wrote, as a fd to read. */
CLOCHE_API int cloche_open_log(struct cloche *c, const char *id, const char *child, int *ret_fd,
                               struct cloche_error *error);

/* Batches: several operations in parallel, one result each in @errors (code "" is success; NULL
 * when nobody asks), one failure never stops the rest. They return how many failed. */
CLOCHE_API int cloche_batch_create(struct cloche *c, const char *const *ids, int count,
                                   const struct cloche_sandbox *what, struct cloche_error *errors);
CLOCHE_API int cloche_batch_exec(struct cloche *c, const char *const *ids, int count,
                                 const struct cloche_command *command,
                                 struct cloche_result *results, struct cloche_error *errors);
CLOCHE_API int cloche_batch_restart(struct cloche *c, const char *const *ids, int count, int force,
                                    struct cloche_error *errors);
CLOCHE_API int cloche_batch_pause(struct cloche *c, const char *const *ids, int count,
                                  struct cloche_error *errors);
CLOCHE_API int cloche_batch_resume(struct cloche *c, const char *const *ids, int count,
                                   struct cloche_error *errors);
CLOCHE_API int cloche_batch_stop(struct cloche *c, const char *const *ids, int count, int force,
                                 struct cloche_error *errors);
CLOCHE_API int cloche_batch_destroy(struct cloche *c, const char *const *ids, int count, int force,
                                    struct cloche_error *errors);

/* --- modules -------------------------------------------------------------------------------------
 *
 * A module is untrusted C or C++ that answers requests in a sandbox (versions/README.md) and is
 * replaced by a newer version without a request being lost. */

/** One request; waits for its reply. *@ret_data is to be freed, *@ret_status is what `handle`
 * returned; both, and @ret_size, may be NULL. The connection stays with the handle, for the next
 * call of the same module: at most 8 do. */
CLOCHE_API int cloche_call(struct cloche *c, const char *id, const char *module, const void *data,
                           size_t size, void **ret_data, size_t *ret_size, int *ret_status,
                           struct cloche_error *error);

/** Many requests in flight over one connection; of one thread at a time. */
struct cloche_calls;

struct cloche_reply {
    uint64_t number;  /* of the request */
    int status;       /* what `handle` returned */
    uint32_t version; /* that answered */
    const void *data; /* until the next cloche_calls_next() */
    size_t size;
    struct cloche_error error; /* code "": it was answered */
};

/** @timeout_ms: for the module to answer one request; 0: 30 s. */
CLOCHE_API int cloche_calls_open(struct cloche *c, const char *id, const char *module,
                                 uint64_t timeout_ms, struct cloche_calls **ret,
                                 struct cloche_error *error);
CLOCHE_API void cloche_calls_close(struct cloche_calls *calls);
/** To poll, after cloche_calls_next() has said 0: readable when replies are there. Belongs to
 * @calls. */
CLOCHE_API int cloche_calls_fd(struct cloche_calls *calls);
/** Add a request under a number of the application's choice. It goes with cloche_calls_send(), or
 * when there are many. */
CLOCHE_API int cloche_calls_put(struct cloche_calls *calls, uint64_t number, const void *data,
                                size_t size, struct cloche_error *error);
CLOCHE_API int cloche_calls_send(struct cloche_calls *calls, struct cloche_error *error);
/** 1: a reply, not always in the order of the requests; 0: none now (not with @wait). */
CLOCHE_API int cloche_calls_next(struct cloche_calls *calls, int wait, struct cloche_reply *ret,
                                 struct cloche_error *error);

struct cloche_reload_options {
    size_t size;
    const char *source; /* of the host; NULL: where the module came from */
    const char *state;  /* "migrate" (NULL), "empty"; of a rollback also "snapshot" */
    int wait;           /* 0 or 1: until the version is confirmed or taken back, or the time of its
                           probation is over and no request has come ("ACTIVATED" still) */
    int supersede;      /* a reload that is under way gives way */
    int force_drain;    /* a request that takes too long is given to the new version */
    int cascade;        /* modules that depend on it are started anew, too: @ret_json is an array */
};

/** Compile, judge, store, rehearse and switch. 0: the new version serves (or is the same), and
 * @ret_json tells which, with the pause; -1: the old one still does. @options and @ret_json may be
 * NULL. */
CLOCHE_API int cloche_reload(struct cloche *c, const char *id, const char *module,
                             const struct cloche_reload_options *options, char **ret_json,
                             struct cloche_error *error);
/** Several modules, or none of them, as one transaction: @modules, of which name and source count
 * (NULL: where it came from). NULL-terminated, at most 32. @ret_json: an array when there is more
 * than one. */
CLOCHE_API int cloche_reload_all(struct cloche *c, const char *id,
                                 const struct cloche_module *const *modules,
                                 const struct cloche_reload_options *options, char **ret_json,
                                 struct cloche_error *error);
/** To a stored version; 0: the one that was GOOD before. */
CLOCHE_API int cloche_rollback(struct cloche *c, const char *id, const char *module,
                               uint32_t version, const struct cloche_reload_options *options,
                               char **ret_json, struct cloche_error *error);
/** End the probation now: GOOD. -1: it is not, "reload.rolled_back" when the version was taken back
 * over it. */
CLOCHE_API int cloche_confirm(struct cloche *c, const char *id, const char *module,
                              struct cloche_error *error);

struct cloche_watch_options {
    size_t size;
    const char *path;           /* a file or directory of the host; NULL: the module's source */
    const char *const *include; /* NULL, or patterns of files that count, NULL-terminated */
    const char *const *exclude; /* and of files and directories that do not */
    uint64_t debounce_ms;       /* quiet time after which a change counts; 0: 30 */
};

/** Let the sandbox reload it whenever it is saved, from now on, also after a restart. What comes
 * of each save are events: "watch.live", "watch.failed" (cloche_follow()). */
CLOCHE_API int cloche_watch(struct cloche *c, const char *id, const char *module,
                            const struct cloche_watch_options *options, struct cloche_error *error);
CLOCHE_API int cloche_unwatch(struct cloche *c, const char *id, const char *module,
                              struct cloche_error *error);

/** What is stored, and every attempt (@module NULL: of all); also without a keeper. */
CLOCHE_API int cloche_versions(struct cloche *c, const char *id, const char *module,
                               char **ret_json, struct cloche_error *error);
CLOCHE_API int cloche_history(struct cloche *c, const char *id, const char *module, char **ret_json,
                              struct cloche_error *error);
/** @pinned 1: never collect this version; 0: let it go. */
CLOCHE_API int cloche_pin(struct cloche *c, const char *id, const char *module, uint32_t version,
                          int pinned, struct cloche_error *error);
/** All versions as one tar, to and from a file. */
CLOCHE_API int cloche_export(struct cloche *c, const char *id, const char *module, int fd,
                             struct cloche_error *error);
CLOCHE_API int cloche_import(struct cloche *c, const char *id, const char *module, int fd,
                             char **ret_json, struct cloche_error *error);

/* --- for applications with a loop of their own ---------------------------------------------------
 *
 * cloche_begin_*() starts an operation and returns its number at once; its outcome comes as an
 * event. cloche_follow() makes events of what happens in a sandbox. The event fd is readable while
 * cloche_next_event() has something to say: put it into poll(2) or epoll(7), and call that until it
 * returns 0. No deadline applies here. */

enum cloche_event_kind {
    CLOCHE_EVENT_DONE = 1, /* what was begun under @number has ended: @error, @result of an exec */
    CLOCHE_EVENT_JSON,     /* something happened in a followed sandbox: @json, as `cloche events`;
                              {"event":"follower.lost"}: more than was kept, some is missing */
    CLOCHE_EVENT_GONE      /* a followed sandbox was destroyed */
};

struct cloche_event {
    enum cloche_event_kind kind;
    uint64_t number;
    char id[72];
    const char *json; /* NULL, or text that belongs to the event */
    struct cloche_result result;
    struct cloche_error error; /* code "" is success */
};

/** Belongs to @c; -1 when @c is NULL. */
CLOCHE_API int cloche_event_fd(const struct cloche *c);

/** 1: an event, to be freed; 0: none now; -1: error. */
CLOCHE_API int cloche_next_event(struct cloche *c, struct cloche_event **ret,
                                 struct cloche_error *error);
CLOCHE_API void cloche_event_free(struct cloche_event *event);

CLOCHE_API int cloche_begin_create(struct cloche *c, const char *id,
                                   const struct cloche_sandbox *what, uint64_t *ret_number,
                                   struct cloche_error *error);
CLOCHE_API int cloche_begin_exec(struct cloche *c, const char *id,
                                 const struct cloche_command *command, uint64_t *ret_number,
                                 struct cloche_error *error);
CLOCHE_API int cloche_begin_restart(struct cloche *c, const char *id, int force,
                                    uint64_t *ret_number, struct cloche_error *error);
CLOCHE_API int cloche_begin_destroy(struct cloche *c, const char *id, int force,
                                    uint64_t *ret_number, struct cloche_error *error);

/** Kill the command that was begun under @number; its event says how it ended. */
CLOCHE_API int cloche_cancel(struct cloche *c, uint64_t number, struct cloche_error *error);

/** From now on, until cloche_unfollow() or the end of the sandbox. */
CLOCHE_API int cloche_follow(struct cloche *c, const char *id, struct cloche_error *error);
CLOCHE_API int cloche_unfollow(struct cloche *c, const char *id, struct cloche_error *error);

#ifdef __cplusplus
}
#endif

#endif
