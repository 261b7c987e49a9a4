/** Which tool it is, exactly: what a cache key needs to know of a toolchain. Private to compiler/.
 */
#ifndef CLOCHE_COMPILER_IDENTITY_H
#define CLOCHE_COMPILER_IDENTITY_H

#include "compiler/compiler.h"

/** A line a file: resolved path, size, mtime of every program and identity file. */
const char *identity_stamps(struct arena *a, const struct toolchain *tc);

/** identity_stamps() and the version text. The version is asked once and kept in
 * <state>/cache/toolchains under the digest of the stamps; toolchain.* errors. */
int identity_text(struct arena *a, const struct toolchain *tc, const char **ret_stamps,
                  const char **ret_version, struct error *err);

/** Paths of @patterns that exist here, globs expanded, in order. */
void identity_glob(struct arena *a, const struct strings *patterns, struct strings *ret);

#endif
