/* Both wires of a long-lived sandbox: frames between clients and keepers, and the file in which a
 * command goes to init. The first byte chooses. */
#include "isolation/spawn.h"
#include "runtime/protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames(const uint8_t *data, size_t size)
{
    static struct frame f;
    struct error err = ERROR_INIT;
    if (size < sizeof f.head || size - sizeof f.head > sizeof f.body)
        return;
    memcpy(&f.head, data, sizeof f.head);
    memcpy(f.body, data + sizeof f.head, size - sizeof f.head);
    f.head.magic = PROTOCOL_MAGIC; /* not for the fuzzer to guess */
    f.head.version = PROTOCOL_VERSION;
    if (!frame_check(&f.head, f.body, size))
        return;
    size_t seen = 0;
    for (const char *v = NULL; (v = frame_next(&f, "arg", v)) != NULL;)
        seen += strlen(v);
    if (seen > f.head.size || frame_get_int(&f, "n", 1, 9, 1) < 1)
        abort();
    frame_error(&f, &err);
}

static void commands(const uint8_t *data, size_t size)
{
    static char *pointers[SPAWN_MAX_STRINGS + 2];
    struct spawn_command head;
    struct spawn_parsed p;
    if (size < sizeof head)
        return;
    char *file = malloc(size); /* exact, so that a byte too far is seen */
    memcpy(file, data, size);
    memcpy(&head, data, sizeof head);
    head.magic = SPAWN_MAGIC;
    memcpy(file, &head, sizeof head);
    if (spawn_parse(file, size, pointers, &p)) {
        size_t bytes = strlen(p.cwd) + 1;
        for (char **s = p.argv; *s != NULL; s++)
            bytes += strlen(*s) + 1;
        for (char **s = p.env; *s != NULL; s++)
            bytes += strlen(*s) + 1;
        if (bytes != p.head->bytes)
            abort();
    }
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        (data[0] & 1 ? frames : commands)(data + 1, size - 1);
    return 0;
}
