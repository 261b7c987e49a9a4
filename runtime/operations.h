/**
 * What a keeper can be asked, defined once: the keeper's handlers, the names of events and the
 * library's verbs come from this table.
 *
 * OPERATION(symbol, name on the wire, event or NULL, USE or LOOK, what it does)
 *
 * Whoever only looks does not keep a sandbox from its idle timeout.
 */
#ifndef CLOCHE_RUNTIME_OPERATIONS_H
#define CLOCHE_RUNTIME_OPERATIONS_H

#define OPERATIONS(OPERATION)                                                                      \
    OPERATION(info, "info", NULL, LOOK, "status, pids, usage, limits, restarts")                   \
    OPERATION(exec, "exec", NULL, USE, "run a command; writes its own events")                     \
    OPERATION(open, "open", "cp", USE, "a file inside, for cp")                                    \
    OPERATION(signal, "signal", NULL, USE, "a signal to the command of this connection")           \
    OPERATION(stats, "stats", NULL, LOOK, "usage and limits now")                                  \
    OPERATION(samples, "samples", NULL, LOOK, "what was used in the last hour")                    \
    OPERATION(top, "top", NULL, LOOK, "processes inside")                                          \
    OPERATION(pause, "pause", "pause", USE, "freeze every process")                                \
    OPERATION(resume, "resume", "resume", USE, "let them run again")                               \
    OPERATION(update, "update", "update", USE, "change limits while it runs")                      \
    OPERATION(versions, "versions", NULL, LOOK, "the versions of a module")                        \
    OPERATION(history, "history", NULL, LOOK, "every attempt at changing what serves")             \
    OPERATION(pin, "pin", NULL, USE, "never collect this version; writes its own events")          \
    OPERATION(unpin, "unpin", NULL, USE, "let it go; writes its own events")                       \
    OPERATION(import, "import", NULL, USE, "versions out of an archive; writes its own events")    \
    OPERATION(call, "call", NULL, USE, "requests to a module, over this connection")               \
    OPERATION(mailbox, "mailbox", NULL, USE, "memory for them, where they are small and many")     \
    OPERATION(reload, "reload", NULL, USE, "a new version of a module serves; writes its events")  \
    OPERATION(rollback, "rollback", NULL, USE, "an older one does")                                \
    OPERATION(confirm, "confirm", NULL, USE, "end a probation: GOOD; writes its own events")       \
    OPERATION(watch, "watch", "watch", USE, "reload a module when its source is saved")            \
    OPERATION(unwatch, "unwatch", "unwatch", USE, "no longer")                                     \
    OPERATION(restart, "restart", NULL, USE, "end the tree, start it again with the same spec")    \
    OPERATION(stop, "stop", NULL, USE, "end the tree and the keeper; what is on disk stays")       \
    OPERATION(destroy, "destroy", NULL, USE, "end the tree, remove every trace, end the keeper")

#endif
