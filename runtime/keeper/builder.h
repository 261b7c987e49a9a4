/** Inside of build.h: what runs in the forked builder and in the publisher. */
#ifndef CLOCHE_RUNTIME_KEEPER_BUILDER_H
#define CLOCHE_RUNTIME_KEEPER_BUILDER_H

#include "runtime/keeper/build.h"
#include "versions/elf.h"

struct strings;
struct fields;

/* fds of the publisher */
#define FD_SOCKET   3
#define FD_STATE    4
#define FD_ARTIFACT 5
#define FD_LOG      6
#define FD_FACTS    7

#define PUBLISHER "--publish" /* no id of a sandbox: ids begin with a letter or a digit */

/** All that a builder needs; borrowed from the keeper, whose copy it is. */
struct builder {
    const char *module;
    const struct build_options *options;
    struct elf_policy policy; /* its exports, if any, are warm */
    const struct strings *depends;
    const char *root; /* whose libraries the modules will find */
    int socket;       /* answers go here; its end means: stop */
    int state_fd, log_fd;
};

/** In the child, right after fork(). */
void builder_main(struct builder *b) __attribute__((noreturn));

/** Send it and end. */
void builder_answer(int socket, const struct fields *f) __attribute__((noreturn));

/** The publisher, to which a builder hands over. */
void builder_publish(void) __attribute__((noreturn));

#endif
