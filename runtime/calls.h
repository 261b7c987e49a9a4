/**
 * Requests and replies between a client and a keeper: the bodies of FRAME_CALLS and FRAME_REPLIES.
 *
 * A client names the module by one REQUEST "call"; from then on the connection carries frames of
 * requests, any number in flight, and frames of replies, in the order in which they are done. A
 * body is a sequence of heads, each with its payload behind it, padded to 8 bytes. A payload larger
 * than CALL_INLINE_MAX is a sealed memfd (F_SEAL_WRITE, _SHRINK, _GROW) that goes with the frame:
 * the first record of the frame that says CALL_FD has the first fd, and so on.
 *
 * A client that waits for one reply after another asks for a mailbox (REQUEST "mailbox"; the OK has
 * its memory, its bell and the keeper's) and from then on the bodies of both go through memory when
 * they can: runtime/mailbox.h. All such frames count, those before it, too.
 */
#ifndef CLOCHE_RUNTIME_CALLS_H
#define CLOCHE_RUNTIME_CALLS_H

#include <stdint.h>

#define CALL_INLINE_MAX  32768u
#define CALL_PAYLOAD_MAX (64u * 1024 * 1024)
#define CALL_FD          1u
#define CALL_FAILED      2u /* of a reply: the payload is the fields of an error */

struct call_head {
    uint32_t size, flags; /* of the payload; with CALL_FD 0 */
    uint64_t id;          /* the client's; comes back with the reply */
};

struct reply_head {
    uint32_t size, flags;
    uint64_t id;
    int32_t status;   /* what handle returned */
    uint32_t version; /* that answered */
};

static inline uint32_t call_padded(uint32_t size)
{
    return (size + 7) & ~7u;
}

#endif
