/**
 * Grade submissions: compile once, run every test, a verdict each.
 *
 * Theory of operation. One process, one epoll. A submission is compiled by compiler/ (cached,
 * jailed) and its artifact copied into a private directory; each test is a one-shot sandbox of its
 * own that sees that one file, so nothing passes from test to test. Up to `jobs` compiles, runs and
 * checks are under way at a time.
 *
 *   input    is read once into a sealed memfd; every run gets a fresh read-only opening of it
 *   output   comes through a pipe into memory, never more than the output limit
 *   answer   stays in this process: no sandbox that runs a submission ever has it
 *   checker  compares here (exact, tokens, float, unordered), or is a program in a sandbox of its
 *            own that gets input, output and answer as fds 3, 4, 5 (testlib's convention: argv 1, 2
 *            and 3; exit status 0 right, 1 wrong, 2 presentation, 3 checker failed, 7 points)
 *   interactor  is a program in a second sandbox, joined with the submission by two pipes
 *
 * The tests directory is data: NAME.in with NAME.out or NAME.ans, and tests.json for everything
 * else. A verdict depends on the submission and the tests alone: neither on the order of events nor
 * on what else runs.
 */
#ifndef CLOCHE_RUNTIME_JUDGE_H
#define CLOCHE_RUNTIME_JUDGE_H

#include "base/arena.h"
#include "base/error.h"
#include "compiler/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cJSON;

enum checker_kind {
    CHECKER_TOKENS, /* words, whatever blanks stand between them */
    CHECKER_EXACT,
    CHECKER_FLOAT,     /* as tokens; numbers within @absolute or @relative of the answer */
    CHECKER_UNORDERED, /* lines in any order, blanks at their ends ignored */
    CHECKER_PROGRAM
};

struct checker {
    enum checker_kind kind;
    double absolute, relative;
    const char *program; /* source or executable, of CHECKER_PROGRAM */
};

/** Zero: what the profile says. */
struct judge_limits {
    uint64_t cpu_ms, wall_ms, memory_bytes, output_bytes, processes;
};

struct judge_test {
    const char *name;
    const char *input_path;  /* NULL: no input */
    const char *answer_path; /* NULL: none (a checker program or an interactor decides) */
    int input_fd;            /* sealed memfd, -1: none */
    const char *answer;
    size_t answer_size;
    double points;
    struct strings arguments;
    struct judge_limits limits;
};

struct judge_tests {
    struct arena *arena;
    const char *directory;
    struct judge_test *items;
    size_t count;
    struct checker checker;
    const char *interactor; /* source or executable, or NULL */
    double max_points;
};

/** Read a tests directory. Every problem of it is told at once: judge.tests. */
int judge_tests_load(struct judge_tests **ret, const char *directory, struct error *err);
void judge_tests_free(struct judge_tests *t);

/** Compare. On a difference @why says where, in at most @size bytes. Not for CHECKER_PROGRAM. */
bool checker_compare(const struct checker *c, const char *answer, size_t answer_size,
                     const char *output, size_t output_size, char *why, size_t size);

/** "tokens", "exact", "float", "unordered"; false: no such checker. */
bool checker_parse(const char *name, enum checker_kind *ret);

struct judge_row {
    bool skipped;         /* after a failure, with stop_at_first */
    struct report report; /* its verdict is the test's */
    double points;
    const char *message; /* the checker's, or the end of the program's stderr; "" for none */
};

struct judge_submission {
    const char *name; /* as given */
    enum verdict verdict;
    const char *detail;
    struct compile_result compile; /* artifact already taken */
    bool compiled;                 /* @compile is filled */
    struct judge_row *rows;        /* as many as there are tests */
    size_t passed, failed, skipped;
    double points;
};

struct judge_job {
    const struct judge_tests *tests;
    const struct compile_source *submissions; /* each one a program: file or directory */
    size_t submission_count;
    struct compile_job compile;    /* toolchain, flags, headers; its sources are ignored */
    const char *profile;           /* NULL: student */
    struct judge_limits limits;    /* over those of the tests */
    const struct checker *checker; /* instead of that of the tests, or NULL */
    bool stop_at_first;
    unsigned jobs; /* 0: as many as processors */
    /** Called when a submission is graded, in the order given; may be NULL. */
    void (*graded)(void *context, const struct judge_submission *s);
    void *context;
};

struct judge_result {
    struct arena *arena;
    const struct judge_tests *tests;
    struct judge_submission *submissions;
    size_t count;
    bool all_passed;
    double wall_ms;
};

/** Grade all. -1: nothing could be graded (judge.*, sandbox errors of the checker's compile). */
int judge_run(const struct judge_job *job, struct judge_result *ret, struct error *err);
void judge_result_free(struct judge_result *r);

void judge_print_table(const struct judge_result *r, FILE *out, bool details, bool color);
struct cJSON *judge_to_json(const struct judge_result *r);
void judge_write_junit(const struct judge_result *r, FILE *out);
/** The same to a file. judge.junit */
int judge_save_junit(const struct judge_result *r, const char *path, struct error *err);

#endif
