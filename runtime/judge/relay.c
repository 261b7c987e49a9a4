#include "runtime/judge/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHUNK  65536
#define ROUNDS 16 /* then others get their turn; the fd is still readable */

void relay_close(struct relay *r)
{
    if (r->from >= 0)
        close(r->from);
    if (r->to >= 0)
        close(r->to);
    r->from = r->to = -1;
}

enum relay_state relay_step(struct relay *r)
{
    for (int i = 0; i < ROUNDS && r->from >= 0; i++) {
        ssize_t n = splice(r->from, NULL, r->to, NULL, CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n < 0 && errno == EAGAIN) {
            /* either nothing to read or no room to write */
            int waiting = 0;
            struct pollfd reader = {.fd = r->to};
            ioctl(r->from, FIONREAD, &waiting);
            if (waiting > 0)
                return r->state = RELAY_WAITS_OUTPUT;
            if (poll(&reader, 1, 0) <= 0)
                return r->state = RELAY_WAITS_INPUT;
            n = -1; /* POLLERR: nobody will read what may still come */
        }
        r->state = n == 0 ? RELAY_WRITER_GONE : RELAY_READER_GONE;
        relay_close(r);
    }
    if (r->from >= 0)
        r->state = RELAY_WAITS_INPUT;
    return r->state;
}
