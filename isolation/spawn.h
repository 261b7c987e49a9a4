/**
 * What travels between spawn.c (outside) and serve.c (init) to make a child of a serving sandbox.
 *
 * MESSAGE_SPAWN carries the child's number and, by SCM_RIGHTS in this order: a memfd with
 * the command, the three streams unless it has a terminal, the readiness fd and the program's file
 * if there are such.
 * The memfd is a struct spawn_command and then its strings, each NUL-terminated: the working
 * directory, the arguments, the environment. Its reader believes none of it: sizes and counts are
 * checked against a copy of his own. Private to isolation/.
 */
#ifndef CLOCHE_ISOLATION_SPAWN_H
#define CLOCHE_ISOLATION_SPAWN_H

#include "isolation/plan.h"

#define SPAWN_MAGIC        0x434c5350U /* "CLSP" */
#define SPAWN_MAX_BYTES    (1024 * 1024)
#define SPAWN_MAX_STRINGS  16384
#define SPAWN_MAX_FDS      6
#define SPAWN_MAX_CHILDREN 512

struct spawn_command {
    uint32_t magic, bytes; /* of all strings */
    uint32_t arg_count, env_count;
    uint32_t uid, gid;
    uint16_t rows, columns;
    uint8_t terminal, has_ready;
    uint8_t open; /* enum sandbox_open: instead of running args[0], open the file of that name */
    uint8_t has_program;
    uint16_t mode, reserved; /* of a file that is made */
};

/** serve.c, in init: never returns before its parent is gone. */
void serve_main(const struct plan *p, int child_events);

/** What a command file says, with its strings pointing into it. false: it is not one. @argv and
 * @env hold SPAWN_MAX_STRINGS pointers together in one array of that many + 2. */
struct spawn_parsed {
    const struct spawn_command *head;
    const char *cwd;
    char **argv, **env;
};
bool spawn_parse(const void *file, size_t size, char **pointers, struct spawn_parsed *ret);

#endif
