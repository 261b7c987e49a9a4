/* isolate 2.5: a lock on a file that both sandboxes can read carries a bit from one to the other.
 * flock needs no right to write; a read lock by fcntl is seen by whoever asks for a write lock; a
 * lease tells of every open. argv[2] is the shared file. */
#include "tests/attacks/neighbours/neighbour.h"

#include <sys/file.h>

#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#define F_OFD_GETLK 36
#endif

int main(int argc, char **argv)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    bool leave = leaving(argc, argv), left = false;
    int fd = open(argc > 2 ? argv[2] : "/proc/self/exe", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        skip("no shared file: %s", strerror(errno));
    if (leave) {
        left = flock(fd, LOCK_EX | LOCK_NB) == 0;
        left = fcntl(fd, F_SETLK, &lock) == 0 || left;
        left = fcntl(fd, F_OFD_SETLK, &lock) == 0 || left;
        left = fcntl(fd, F_SETLEASE, F_RDLCK) == 0 || left;
        return hold(left ? NULL : "flock, fcntl");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        breach("met a neighbour's flock");
    lock.l_type = F_WRLCK;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        breach("met a neighbour's fcntl lock, of process %d", lock.l_pid);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        breach("met a neighbour's open file description lock");
    return verdict();
}
