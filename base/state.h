/**
 * Where Cloche keeps things.
 *
 * State:   $CLOCHE_ROOT, else /var/lib/cloche for root, else $XDG_STATE_HOME/cloche or
 * ~/.local/state/cloche. Run:     $CLOCHE_RUN, else /run/cloche for root, else
 * $XDG_RUNTIME_DIR/cloche, else <state>/run. Directories are 0700, made on first use, and refused
 * when they belong to somebody else.
 */
#ifndef CLOCHE_BASE_STATE_H
#define CLOCHE_BASE_STATE_H

#include "base/error.h"

/** Directory fd (O_PATH) of the state or run directory, or of @below ("cache/seccomp") in it; made
 * when missing. The caller closes it. -1 with state.* errors. */
int state_open_dir(const char *below, struct error *err);
int state_open_run_dir(const char *below, struct error *err);

/** The path, for messages; @buf of at least PATH_MAX. */
const char *state_path(char *buf, unsigned long size);
const char *state_run_path(char *buf, unsigned long size);

#endif
