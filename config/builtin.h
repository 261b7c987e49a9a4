/** The table that config/embed.sh writes: the files compiled into the program. Ends with a NULL
 * name. */
#ifndef CLOCHE_CONFIG_BUILTIN_H
#define CLOCHE_CONFIG_BUILTIN_H

struct builtin_file {
    const char *name, *start, *end, *digest;
};

extern const struct builtin_file builtin_files[];

#endif
