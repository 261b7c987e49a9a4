/* Keyrings belong to a user, not to a sandbox (isolate 2.4): two sandboxes of one uid share them.
 */
#include "tests/attacks/neighbours/neighbour.h"

#include <linux/keyctl.h>

int main(int argc, char **argv)
{
    static const int rings[] = {KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING,
                                KEY_SPEC_USER_SESSION_KEYRING};

    if (leaving(argc, argv)) {
        bool left = false;

        for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
            if (syscall(SYS_add_key, "user", TRACE, "x", 1UL, rings[i]) >= 0)
                left = true;
        return hold(left ? NULL : "add_key");
    }
    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
        if (syscall(SYS_keyctl, KEYCTL_SEARCH, rings[i], "user", TRACE, 0) >= 0)
            breach("found the key in keyring %d", rings[i]);
    return verdict();
}
