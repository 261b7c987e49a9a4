/** What `compile` and `judge` share. */
#ifndef CLOCHE_RUNTIME_CLI_COMPILE_H
#define CLOCHE_RUNTIME_CLI_COMPILE_H

#include "compiler/compiler.h"
#include "runtime/cli/cli.h"

struct cli_compile {
    const char *toolchain;
    struct strings sources, flags, defines;
    bool warnings_as_errors, best_effort, no_cache, json;
};

/** The options of both, as rows of a table whose context is a struct @type_ that begins with
 * `struct cli_compile common`. */
#define CLI_COMPILE_ROWS(type_)                                                                    \
    CLI_VALUE(0, "toolchain", "NAME",                                                              \
              "one of `cloche toolchains`; by the file's ending otherwise", CLI_TEXT, type_,       \
              common.toolchain),                                                                   \
        CLI_SWITCH(0, "warnings-as-errors", "a warning fails the compile", type_,                  \
                   common.warnings_as_errors),                                                     \
        CLI_SWITCH(0, "no-cache", "neither look into the cache nor fill it", type_,                \
                   common.no_cache),                                                               \
        CLI_SWITCH(0, "best-effort", "go on even where a limit cannot be enforced", type_,         \
                   common.best_effort),                                                            \
        CLI_SWITCH(0, "json", "results, diagnostics and errors as JSON", type_, common.json)

void cli_compile_flag(struct arena *a, struct cli_compile *c, const char *word);

/** Parse by @table, whose context @c begins. A word with one dash that is not one of our own
 * letters is a flag for the compiler. */
int cli_compile_parse(const struct cli_option *table, struct cli_compile *c,
                      const char *own_letters, int argc, char **argv, struct arena *a,
                      struct error *err);

/** Fill toolchain, sources, flags, defines, cache use and the headers that every compile may
 * include. */
void cli_compile_job(struct arena *a, const struct cli_compile *c, struct compile_job *job);

/** Write @size bytes of @from to @path, at once or not at all. */
int cli_write_artifact(int from, uint64_t size, const char *path, struct error *err);

#endif
