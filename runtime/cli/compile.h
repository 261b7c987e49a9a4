/** What `compile` and `judge` share. */
#ifndef CLOCHE_RUNTIME_CLI_COMPILE_H
#define CLOCHE_RUNTIME_CLI_COMPILE_H

#include "compiler/compiler.h"

struct cli_compile {
    const char *toolchain;
    struct strings sources, flags, defines;
    bool warnings_as_errors, best_effort;
};

/** Whether a word is a flag for the compiler: one dash, and not one of our own letters. */
bool cli_is_compiler_flag(const char *word, const char *own_letters);
void cli_compile_flag(struct arena *a, struct cli_compile *c, const char *word);

/** Fill toolchain, sources, flags, defines and the headers that every compile may include. */
void cli_compile_job(struct arena *a, const struct cli_compile *c, struct compile_job *job);

/** Write @size bytes of @from to @path, at once or not at all. */
int cli_write_artifact(int from, uint64_t size, const char *path, struct error *err);

#endif
