/* Files in every directory that can be written: /tmp, /dev/shm, /var/tmp, the homes, the root. */
#include "tests/attacks/neighbours/neighbour.h"

int main(int argc, char **argv)
{
    static const char *const places[] = {"/tmp", "/dev/shm", "/var/tmp", "/home", "/root", "/run",
                                         "/var", "/dev",     "/",        ".",     "/etc",  "/mnt"};
    bool leave = leaving(argc, argv), left = false;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "%s/" TRACE, places[i]);
        int fd = open(path, leave ? O_CREAT | O_WRONLY | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0666);

        if (fd >= 0 && !leave)
            breach("found %s", path);
        left = left || fd >= 0;
    }
    return leave ? hold(left ? NULL : "open") : verdict();
}
