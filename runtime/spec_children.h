/** What `create` does to a spec, for the CLI and the library. */
#ifndef CLOCHE_RUNTIME_SPEC_CHILDREN_H
#define CLOCHE_RUNTIME_SPEC_CHILDREN_H

#include "config/spec.h"

/** The spec's command, given by hand or by process.args of a file, becomes its one child, "main",
 * transient; unless the spec has children of its own. */
void spec_add_main_child(struct spec *spec);

#endif
