/* /dev holds what a program needs and nothing that leads to memory, disks, other machines' network
 * or the kernel's log; and no further device can be made. */
#include "tests/attacks/attack.h"

#include <sys/sysmacros.h>

static const struct {
    unsigned int major, minor;
} known[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}};

static bool is_known(dev_t device)
{
    if (major(device) >= 136 && major(device) <= 143)
        return true; /* a pseudo terminal */
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (makedev(known[i].major, known[i].minor) == device)
            return true;
    return false;
}

static void walk(const char *path, int depth)
{
    DIR *d = opendir(path);
    struct dirent *e;
    struct stat st;
    char child[PATH_MAX];

    while (d != NULL && (e = readdir(d)) != NULL) {
        int n = snprintf(child, sizeof(child), "%s/%s", path, e->d_name);

        if (n < 0 || (size_t)n >= sizeof(child) || strcmp(e->d_name, ".") == 0 ||
            strcmp(e->d_name, "..") == 0 || lstat(child, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < 4)
            walk(child, depth + 1);
        if ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && !is_known(st.st_rdev))
            breach("%s is device %u:%u", child, major(st.st_rdev), minor(st.st_rdev));
        if (S_ISBLK(st.st_mode))
            breach("%s is a block device", child);
    }
    if (d != NULL)
        closedir(d);
}

int main(void)
{
    static const char *const places[] = {"/dev/x", "/tmp/x", "/dev/shm/x", "x"};
    static const char *const names[] = {
        "/dev/mem",       "/dev/kmem",        "/dev/port",  "/dev/kmsg",         "/dev/fuse",
        "/dev/kvm",       "/dev/net/tun",     "/dev/loop0", "/dev/loop-control", "/dev/vsock",
        "/dev/vhost-net", "/dev/userfaultfd", "/dev/cuse",  "/dev/vda",          "/dev/sda"};

    walk("/dev", 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int fd = open(names[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0)
            breach("%s can be opened", names[i]);
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (mknod(places[i], S_IFCHR | 0666, makedev(1, 1)) == 0)
            breach("made the device %s", places[i]);
        if (mknod(places[i], S_IFBLK | 0666, makedev(8, 0)) == 0)
            breach("made the block device %s", places[i]);
    }
    return verdict();
}
