/** Which tool it is, exactly: what a cache key needs to know of a toolchain. Private to compiler/.
 */
#ifndef CLOCHE_COMPILER_IDENTITY_H
#define CLOCHE_COMPILER_IDENTITY_H

#include "compiler/compiler.h"

/** The stamps, a line a file: resolved path, size, mtime of every program and identity file; and
 * the version text, which is asked once and kept in <state>/cache/toolchains under the digest of
 * the stamps. toolchain.* errors. */
int identity_text(struct arena *a, struct toolchain *tc, const char **ret_stamps,
                  const char **ret_version, struct error *err);

/** @patterns in order, globs expanded as glob(7) says. What has none of its own in its last part is
 * not looked up: it need not exist. */
void identity_glob(struct arena *a, const struct strings *patterns, struct strings *ret);

#endif
