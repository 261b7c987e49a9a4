/** Keepers whose state directory was deleted underneath them: nobody can find them any more. */
#ifndef CLOCHE_RUNTIME_ORPHAN_H
#define CLOCHE_RUNTIME_ORPHAN_H

enum orphan {
    ORPHAN_NOBODY, /* nobody answers, or nobody that may be looked at */
    ORPHAN_LIVES,  /* a keeper with a state directory, below another CLOCHE_ROOT perhaps */
    ORPHAN_ENDED
};

/** Look at who listens at the other end of the connected @socket, the door of sandbox @id, and end
 * him if he is one. */
enum orphan orphan_end(int socket, const char *id);

#endif
