/** Inside of judge_run(). Private to runtime/judge/. */
#ifndef CLOCHE_RUNTIME_JUDGE_ENGINE_H
#define CLOCHE_RUNTIME_JUDGE_ENGINE_H

#include "base/workdir.h"
#include "runtime/judge.h"

#define PROGRAM_DIR   "/judge"
#define STDERR_KEPT   4096
#define CHECKER_CPU   10000U
#define CHECKER_WALL  30000U
#define CHECKER_BYTES (512U << 20)

/** Something that can be run in a sandbox: a compiled submission, checker or interactor. */
struct program {
    struct spec *spec; /* validated; @spec->args is its command without the test's arguments */
    bool native;
};

/** Put the artifact of @r into @workdir as @name/ and make the spec that runs it. */
int program_prepare(struct program *ret, const struct workdir *workdir, const char *name,
                    const char *profile, bool best_effort, const struct compile_result *r,
                    struct error *err);

/** Compile (or take, when it is an executable) a checker or interactor that the tests name. */
int program_compile(struct program *ret, const struct workdir *workdir, const char *name,
                    const char *path, const struct compile_job *flags, struct error *err);
void program_free(struct program *p);

/** Over the spec: what @limits has and is not zero. */
void limits_apply(struct spec *s, const struct judge_limits *limits);

/** First line of a program's words, cleaned for a report. */
const char *first_line(struct arena *a, const char *text, size_t size);

/** What a testlib checker's end means for the row. @text: its stderr. */
void checker_verdict(struct arena *a, const struct report *checker, const char *text, size_t size,
                     double points, struct judge_row *row);

/** The verdict of a submission beside an interactor. */
void interactor_verdict(struct arena *a, const struct report *interactor, const char *text,
                        size_t size, double points, struct judge_row *row);

#endif
