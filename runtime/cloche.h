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

#ifdef __cplusplus
}
#endif

#endif
