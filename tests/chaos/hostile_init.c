/* A keeper whose sandboxes have an init that lies: linked with --wrap=serve_main, so that beside
 * the real loop of init a second process writes whatever it likes to the keeper, with whatever fds.
 * HOSTILE_SEED and HOSTILE_MESSAGES say what and how much. */
#include "isolation/spawn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void __wrap_serve_main(const struct plan *p, int child_events);
void __real_serve_main(const struct plan *p, int child_events);

static uint64_t state;

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % n;
}

static void lie(int control)
{
    int ends[2], fds[PACKET_MAX_FDS];
    struct message m;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        _exit(1);
    int always = eventfd(1, EFD_CLOEXEC); /* always readable: what waits for it never sleeps */
    const int choice[] = {always, ends[0], ends[1], control};
    for (size_t i = 0; i < sizeof m; i++)
        ((unsigned char *)&m)[i] = (unsigned char)below(256);
    m.type = (int32_t)below(MESSAGE_CHILD_SIGNAL + 3);
    m.child = below(40) == 0 ? (int32_t)(state >> 20) : (int32_t)below(12);
    if (m.child == 0) /* of init itself: its own end is not the point */
        m.child = 1;
    if (below(3) == 0)
        m.value = (int32_t)below(512);
    unsigned count = below(4);
    for (unsigned i = 0; i < count; i++)
        fds[i] = choice[below(4)];
    message_send_fds(control, &m, fds, count);
    close(always);
    close(ends[0]);
    close(ends[1]);
}

void __wrap_serve_main(const struct plan *p, int child_events)
{
    const char *seed = getenv("HOSTILE_SEED"), *messages = getenv("HOSTILE_MESSAGES");
    if (fork() == 0) {
        state = 0x9e3779b97f4a7c15ULL ^ (seed != NULL ? strtoull(seed, NULL, 10) : 1);
        for (long n = messages != NULL ? strtol(messages, NULL, 10) : 0; n > 0; n--)
            lie(p->control);
        _exit(0);
    }
    __real_serve_main(p, child_events);
}
