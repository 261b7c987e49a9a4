/** Inside of judge_run(). Private to runtime/judge/. */
#ifndef CLOCHE_RUNTIME_JUDGE_ENGINE_H
#define CLOCHE_RUNTIME_JUDGE_ENGINE_H

#include "base/workdir.h"
#include "runtime/judge.h"
#include "runtime/judge/relay.h"

#define PROGRAM_DIR   "/judge"
#define STDERR_KEPT   4096
#define OUTPUT_MAX    (256U << 20)
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

/** The verdict of a submission beside an interactor; @left_first: the interactor ended, or stopped
 * listening, before the submission did. */
void interactor_verdict(struct arena *a, const struct report *interactor, bool left_first,
                        const char *text, size_t size, double points, struct judge_row *row);

enum phase { PHASE_WAITING, PHASE_COMPILING, PHASE_RUNNING, PHASE_DONE };

struct submission {
    struct judge_submission *result;
    enum phase phase;
    struct program program;
    char directory[32];
    size_t next, finished; /* tests started, tests with a verdict */
    unsigned busy;         /* slots at work for it */
};

enum slot_kind { SLOT_FREE, SLOT_COMPILE, SLOT_RUN, SLOT_CHECK, SLOT_INTERACT };

/* One thing under way. Of an interactive test the submission is box 0, the interactor box 1. */
struct slot {
    enum slot_kind kind;
    struct submission *submission;
    size_t test;
    struct compile *compile;
    const struct submission *owner; /* of: */
    struct sandbox_slot kept[2];    /* what its programs leave each other, and what the referees */
    struct spec spec[2];            /* the program's, with the test's limits */
    struct sandbox *box[2];
    bool ended[2];
    struct report report[2];
    struct relay relay[2]; /* from the submission, from the interactor */
    int first_gone;        /* 1: the submission, 2: the interactor; 0: neither yet */
    char *output;          /* of the run, for its checker */
    size_t output_size;
};

struct judge {
    const struct judge_job *job;
    const struct judge_tests *tests;
    struct judge_result *result;
    struct arena *arena;
    struct workdir workdir;
    struct checker checker;
    struct program checker_program, interactor;
    struct submission *submissions;
    size_t count, next, emitted;
    struct slot *slots;
    size_t slot_count, busy;
    int epoll;
};

/* What an epoll event says: which slot, and what of it: a box, or a relay's end. */
enum { EVENT_BOX = 0, EVENT_RELAY = 2, EVENT_BITS = 3 };

/** Hear of @fd as EVENT_BOX + @box of the slot. */
int slot_watch(struct judge *j, const struct slot *s, int box, int fd, struct error *err);

/** The owner's programs have run. */
void slot_forget(struct slot *s);

/** Start what the slot is for. After a failure the caller releases the slot. */
int start_run(struct judge *j, struct slot *s, struct error *err);
int start_check(struct judge *j, struct slot *s, struct error *err);
int start_interactive(struct judge *j, struct slot *s, struct error *err);

/** Something happened at a relay: move, and wait for the next thing. */
void relay_watch(struct judge *j, struct slot *s, int way);

#endif
