/** Inside of build.h: what runs in the forked builder and in the publisher. */
#ifndef CLOCHE_RUNTIME_KEEPER_BUILDER_H
#define CLOCHE_RUNTIME_KEEPER_BUILDER_H

#include "runtime/keeper/build.h"
#include "versions/elf.h"

struct strings;
struct fields;

/* The publisher's fds: the way of its one job, and the sandbox's directory. With the job come
 * these. */
#define FD_JOB   3
#define FD_STATE 4
enum { JOB_ANSWER, JOB_ARTIFACT, JOB_LOG, JOB_FACTS, JOB_FDS };

#define PUBLISHER "--publish" /* no id of a sandbox: ids begin with a letter or a digit */

/** All that a builder needs; borrowed from the keeper, whose copy it is. */
struct builder {
    const char *module;
    const struct build_options *options;
    struct elf_policy policy; /* its exports, if any, are warm */
    const struct strings *depends;
    const char *root; /* whose libraries the modules will find */
    pid_t keeper;
    int socket; /* answers go here; its end means: stop */
    int state_fd, log_fd;
};

/** In the child, right after fork(). */
void builder_main(struct builder *b) __attribute__((noreturn));

/** The publisher: a builder's child that opens the store while the builder still builds, and ends
 * with its job, or without one. */
void builder_publish(void) __attribute__((noreturn));

#endif
