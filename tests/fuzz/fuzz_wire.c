/* The wire between keeper and worker: a packet of a worker, which runs foreign code, as it comes
 * and out of a mailbox that the worker scribbled over. */
#include "runtime/worker/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** The head of a box is @data, and its content what follows. */
static void boxed(const uint8_t *data, size_t size)
{
    static struct mailbox_shared shared;
    const size_t head = offsetof(struct mailbox_half, data);
    struct mailbox m = {.ring = -1, .bell = -1};
    memcpy(&shared.up, data, size < sizeof shared.up ? size : sizeof shared.up);
    memcpy(&shared.down, data, size < head ? size : head);
    mailbox_open(&m, &shared.down, &shared.up, -1, -1);
    unsigned char *packet = malloc(MAILBOX_ROOM);
    mailbox_rest(&m);
    mailbox_rise(&m);
    mailbox_put(&m, data, size);
    shared.up.number = m.taken + 1; /* not for the fuzzer to guess */
    if (mailbox_full(&m) && mailbox_take(&m, packet) > (long)MAILBOX_ROOM)
        abort();
    free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_packet p;
    struct wire_record r;
    const void *payload;
    size_t seen = 0;
    if (size > WIRE_PACKET_MAX)
        return 0;
    unsigned char *packet = malloc(size + 1); /* as long as it is, so that a byte too far is seen */
    memcpy(packet, data, size);
    int more;
    wire_begin(&p, NULL);
    for (size_t at = 0; (more = wire_next(packet, size, &at, &r, &payload)) > 0;) {
        const unsigned char *bytes = payload;
        for (uint32_t i = 0; i < r.size; i++)
            seen += bytes[i];
        if (at > size || wire_add(&p, &r, payload) == NULL)
            abort(); /* what was read fits into what can be written */
    }
    if (more == 0 && p.used != size)
        abort();
    free(packet);
    boxed(data, size);
    return seen == SIZE_MAX;
}
