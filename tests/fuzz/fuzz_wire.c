/* The wire between keeper and worker: a packet of a worker, which runs foreign code. */
#include "runtime/worker/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    p.used = 0;
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
    return seen == SIZE_MAX;
}
