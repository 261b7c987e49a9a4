/* Names of the host: its host name (argv[1]), its users (argv[2..]: names of users that only the
 * host has), its password hashes, what lies in the homes and in /tmp. */
#include "tests/attacks/attack.h"

#include <sys/utsname.h>

static void empty(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            breach("%s has %s", path, e->d_name);
    if (d != NULL)
        closedir(d);
}

int main(int argc, char **argv)
{
    static const char *const secret[] = {"/etc/shadow",     "/etc/gshadow",
                                         "/etc/sudoers",    "/etc/ssh/ssh_host_ed25519_key",
                                         "/etc/machine-id", "/var/lib/dbus/machine-id",
                                         "/root/.bashrc",   "/root/.ssh/authorized_keys",
                                         "/run/secrets"};
    static const char *const lists[] = {"/etc/passwd", "/etc/group",    "/etc/subuid",
                                        "/etc/hosts",  "/etc/hostname", "/etc/fstab"};
    static const char *const homes[] = {"/home",      "/tmp", "/var/tmp", "/var/log",
                                        "/var/spool", "/mnt", "/media",   "/srv"};
    struct utsname name;
    char text[65536];

    uname(&name);
    if (argc > 1 && strcmp(name.nodename, argv[1]) == 0)
        breach("the host's name is %s", name.nodename);
    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        int fd = open(secret[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && read(fd, text, 1) > 0)
            breach("%s can be read", secret[i]);
        if (fd >= 0)
            close(fd);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        int fd = open(lists[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

        if (fd >= 0)
            close(fd);
        if (n <= 0)
            continue;
        text[n] = '\0';
        for (int a = 1; a < argc; a++)
            if (strlen(argv[a]) > 2 && strstr(text, argv[a]) != NULL)
                breach("%s knows %s", lists[i], argv[a]);
    }
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++)
        empty(homes[i]);
    return verdict();
}
