#include "runtime/cli/cli.h"

#include <string.h>

int cli_parse_all(const struct cli_option *options, void *context, int argc, char **argv,
                  struct arena *a, struct strings *operands, struct error *err)
{
    int at = 1;
    while (at < argc) {
        int n = cli_parse(options, context, argc - at + 1, argv + at - 1, err);
        if (n < 0)
            return -1;
        int next = at - 1 + n;
        bool rest = next > at && strcmp(argv[next - 1], "--") == 0;
        while (next < argc) {
            strings_add(a, operands, argv[next++]);
            if (!rest)
                break;
        }
        at = next;
    }
    return 0;
}
