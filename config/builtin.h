/** The table that config/embed.sh writes: the files compiled into the program. Ends with a NULL
 * name. */
#ifndef CLOCHE_CONFIG_BUILTIN_H
#define CLOCHE_CONFIG_BUILTIN_H

struct builtin_file {
    const char *name, *start, *end, *digest;
};

extern const struct builtin_file builtin_files[];

/** The built-in toolchains as toolchain_pack() writes them, printed by
 * runtime/start/tools/precompile.c. Ends with a NULL name. */
struct packed_toolchain {
    const char *name, *data;
};

extern const struct packed_toolchain packed_toolchains[];

#endif
