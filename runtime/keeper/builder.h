/** Inside of build.h: what runs in the forked builder and in the publisher. */
#ifndef CLOCHE_RUNTIME_KEEPER_BUILDER_H
#define CLOCHE_RUNTIME_KEEPER_BUILDER_H

#include "runtime/keeper/build.h"
#include "versions/elf.h"

struct strings;

#define PUBLISHER "--publish" /* no id of a sandbox: ids begin with a letter or a digit */

/** All that a builder needs; borrowed from the keeper, whose copy it is. */
struct builder {
    const char *module;
    const struct build_options *options;
    struct elf_policy policy; /* its exports, if any, are warm */
    const struct strings *depends;
    int socket; /* answers go here; its end means: stop */
    int state_fd, log_fd;
    pid_t pid;
};

/** In the child, right after fork(). */
void builder_main(struct builder *b) __attribute__((noreturn));

/** The publisher, to which a builder hands over. */
void builder_publish(void) __attribute__((noreturn));

#endif
