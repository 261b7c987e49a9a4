/**
 * The command line: one file a command, all logic in the floors below.
 *
 * Theory of operation. main.c looks the command up in one table, which is also what `cloche help`
 * prints. A command gets its own arguments, parses its options by a table (options.c), does its
 * work through the public headers of the floors, and returns the exit status. Errors are shown
 * once, here, by cli_fail(): one line on stderr, "cloche: MESSAGE; fix: HINT", or an object with
 * --json.
 *
 * Exit status: management commands 0 done, 1 failed, 2 usage; `run`: see run.c.
 */
#ifndef CLOCHE_RUNTIME_CLI_H
#define CLOCHE_RUNTIME_CLI_H

#include "base/error.h"
#include "config/spec.h"
#include "isolation/sandbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXIT_USAGE  2
#define EXIT_CLOCHE 125 /* `run`: Cloche itself failed, nothing ran */

struct cli_command {
    const char *name, *arguments, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct cli_command cli_commands[]; /* ends with a NULL name */

/** What an option without a function of its own writes, and where: at an offset in the context. */
enum cli_target {
    CLI_FLAG,     /* bool: true */
    CLI_TEXT,     /* const char *: the argument itself */
    CLI_SIZE,     /* uint64_t: bytes, from "256m" */
    CLI_DURATION, /* uint64_t: milliseconds, from "1.5s" */
    CLI_COUNT     /* uint64_t: a whole number from 1 to @max */
};

/** One option of a command. @value names the argument in help ("SIZE"); NULL for a switch. */
struct cli_option {
    char letter; /* 0: none */
    const char *name, *value, *help;
    /* Called for each occurrence; @text is NULL for a switch. -1 with @err filled: a usage error.
     * NULL: @target is written. */
    int (*set)(void *context, const char *text, struct error *err);
    enum cli_target target;
    unsigned offset; /* of what is written, in the context */
    uint64_t max;    /* of CLI_COUNT */
};

/* rows of a table whose context is a struct @type_ */
#define CLI_ROW(letter_, name_, value_, help_, target_, type_, member_, max_)                      \
    {                                                                                              \
        (letter_), (name_), (value_), (help_), NULL, (target_),                                    \
            (unsigned)offsetof(struct type_, member_), (max_)                                      \
    }
#define CLI_SWITCH(letter_, name_, help_, type_, member_)                                          \
    CLI_ROW(letter_, name_, NULL, help_, CLI_FLAG, type_, member_, 0)
#define CLI_VALUE(letter_, name_, value_, help_, target_, type_, member_)                          \
    CLI_ROW(letter_, name_, value_, help_, target_, type_, member_, 0)

/** Parse options up to "--" or the first operand (which ends them). Returns the index of the first
 * operand in @argv, or -1 with @err (usage.unknown_option with the nearest name,
 * usage.missing_value, or what `set` said). */
int cli_parse(const struct cli_option *options, void *context, int argc, char **argv,
              struct error *err);

/** The same where options may follow operands, up to "--": the operands are added to @operands. */
int cli_parse_all(const struct cli_option *options, void *context, int argc, char **argv,
                  struct arena *a, struct strings *operands, struct error *err);

/** "1" to @max, or usage.value. */
int cli_parse_count(const char *text, uint64_t max, uint64_t *ret, struct error *err);

/** The options as text for help. */
void cli_print_options(FILE *out, const struct cli_option *options);

/** In the place of streams that are closed comes /dev/null: the next file that is opened would be
 * one of them, and be written to. */
void cli_hold_streams(void);

/** The status of a command, whose output has to be there to have succeeded. */
int cli_told(int status);

/** Show @err on stderr (as JSON when @json) and return @status. */
int cli_fail(const struct error *err, bool json, int status);

/** True when the arguments ask for help: prints usage and options of @command. */
bool cli_wants_help(const char *command, const struct cli_option *options, int argc, char **argv);

/** Escape into a JSON string, quotes included; what is no UTF-8 becomes U+FFFD. */
void cli_print_json_string(FILE *out, const char *text);
void cli_print_json_bytes(FILE *out, const char *text, size_t size);

/** The report as one JSON object on one line. */
void cli_print_report(FILE *out, const struct report *r);

int cli_run(int argc, char **argv);
int cli_spec(int argc, char **argv);
int cli_profiles(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_compile(int argc, char **argv);
int cli_judge(int argc, char **argv);
int cli_toolchains(int argc, char **argv);
int cli_cache(int argc, char **argv);
int cli_create(int argc, char **argv);
int cli_exec(int argc, char **argv);
int cli_list(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_destroy(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_restart(int argc, char **argv);
int cli_logs(int argc, char **argv);
int cli_events(int argc, char **argv);
int cli_stats(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_cp(int argc, char **argv);
int cli_update(int argc, char **argv);
int cli_call(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_rollback(int argc, char **argv);
int cli_confirm(int argc, char **argv);
int cli_versions(int argc, char **argv);
int cli_history(int argc, char **argv);
int cli_pin(int argc, char **argv);
int cli_unpin(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_watch(int argc, char **argv);
int cli_unwatch(int argc, char **argv);
int cli_pause(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);

/** doctor --repair. Returns an exit status. */
int cli_repair(bool json);

/** Part of doctor: what is wrong and what is ignored in a spec file. Returns an exit status. */
int cli_doctor_spec(const char *path, bool json);

/** The sandbox options that `run` and `create` share (sandbox_options.c): a table whose context
 * begins with this. */
struct cli_sandbox {
    struct spec *spec;
    bool json;
    const char *report; /* path, or "-" */
    const char *profile, *spec_file;
    struct strings destinations; /* of mounts that options asked for */
    bool stays;                  /* a profile's wall time is that of a run, and it is none */
    bool memory_swap_given;
    uint64_t memory_swap_bytes; /* memory and swap together, as with Docker */
};
extern const struct cli_option cli_sandbox_options[];

/** --pids-limit and --cpus, also of `update`: usage.number. */
#define CLI_CPU_PERIOD_US 100000
int cli_parse_processes(const char *text, uint64_t *ret, struct error *err);
int cli_parse_cpus(const char *text, uint64_t *ret_quota_us, struct error *err);

#define CLI_OPTIONS_MAX 64

/** @more, then the sandbox options, as one table of at most CLI_OPTIONS_MAX rows, its end
 * included. */
void cli_sandbox_table(const struct cli_option *more, struct cli_option *ret);

/** --profile and --spec come first whatever their place among the flags: read them into the spec
 * before the others of @options are parsed over it. */
int cli_sandbox_base(struct cli_sandbox *s, const struct cli_option *options, int argc, char **argv,
                     struct error *err);

/** After parsing: what depends on several options; then the spec is validated. */
int cli_sandbox_finish(struct cli_sandbox *s, struct error *err);

#endif
