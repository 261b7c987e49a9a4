/**
 * What a keeper can be asked, defined once: the keeper's handlers, the names of events and the
 * library's verbs come from this table.
 *
 * OPERATION(symbol, name on the wire, event or NULL, what it does)
 */
#ifndef CLOCHE_RUNTIME_OPERATIONS_H
#define CLOCHE_RUNTIME_OPERATIONS_H

#define OPERATIONS(OPERATION)                                                                      \
    OPERATION(info, "info", NULL, "status, pids, usage, limits, restarts")                         \
    OPERATION(exec, "exec", NULL, "run a command; writes its own events")                          \
    OPERATION(open, "open", "cp", "a file inside, for cp")                                         \
    OPERATION(signal, "signal", NULL, "a signal to the command of this connection")                \
    OPERATION(stats, "stats", NULL, "usage and limits now")                                        \
    OPERATION(top, "top", NULL, "processes inside")                                                \
    OPERATION(pause, "pause", "pause", "freeze every process")                                     \
    OPERATION(resume, "resume", "resume", "let them run again")                                    \
    OPERATION(update, "update", "update", "change limits while it runs")                           \
    OPERATION(restart, "restart", NULL, "end the tree, start it again with the same spec")         \
    OPERATION(destroy, "destroy", NULL, "end the tree, remove every trace, end the keeper")

#endif
