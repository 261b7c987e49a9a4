/** What `create` does to a spec, for the CLI and the library. */
#ifndef CLOCHE_RUNTIME_SPEC_CHILDREN_H
#define CLOCHE_RUNTIME_SPEC_CHILDREN_H

#include "config/spec.h"

/** The spec's command, given by hand or by process.args of a file, becomes its one child, "main",
 * transient; unless the spec has children of its own. */
void spec_add_main_child(struct spec *spec);

/** usage.command, when a command is given by hand and that would not be so. */
int spec_takes_command(const struct spec *spec, struct error *err);

/** What `--module NAME=SOURCE` adds: how it is built, and a child that runs it. */
struct spec_module {
    const char *name, *source; /* absolute */
    const char *toolchain;     /* or NULL */
    bool watch;
    uint64_t probation_ms; /* UINT64_MAX: not given */
};
int spec_add_module(struct spec *spec, const struct spec_module *m, struct error *err);

/** Sources and directories of the spec's modules that are relative are so to @dir. */
void spec_modules_below(struct spec *spec, const char *dir);

#endif
