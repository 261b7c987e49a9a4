/* The caller's keyrings (session, user, user session) hold its secrets: no call may reach them. */
#include "tests/attacks/attack.h"

#include <linux/keyctl.h>

int main(void)
{
    static const int rings[] = {KEY_SPEC_THREAD_KEYRING, KEY_SPEC_PROCESS_KEYRING,
                                KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING,
                                KEY_SPEC_USER_SESSION_KEYRING};
    char text[256];

    for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
        if (syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, rings[i], 1) >= 0)
            breach("keyring %d", rings[i]);
        if (syscall(SYS_keyctl, KEYCTL_READ, rings[i], text, sizeof(text)) >= 0)
            breach("keyring %d can be read", rings[i]);
        if (syscall(SYS_add_key, "user", "cloche-attack", "x", 1UL, rings[i]) >= 0)
            breach("a key was added to keyring %d", rings[i]);
    }
    if (syscall(SYS_request_key, "user", "cloche-attack", NULL, 0) >= 0)
        breach("a key was requested");
    return verdict();
}
