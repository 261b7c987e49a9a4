/* The oldest container escape: open files of the host's file system by handle, beginning with inode
 * numbers that every file system has for its root. */
#include "tests/attacks/attack.h"

int main(void)
{
    struct {
        unsigned int handle_bytes;
        int handle_type;
        unsigned char data[128];
    } handle;
    int mount_id = 0;
    int mount = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    memset(&handle, 0, sizeof(handle));
    handle.handle_bytes = sizeof(handle.data);
    if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &handle, &mount_id, 0) == 0)
        breach("name_to_handle_at tells the handle of /");
    for (unsigned int inode = 1; inode < 512; inode++)
        for (int type = 1; type <= 2; type++) {
            memset(&handle, 0, sizeof(handle));
            handle.handle_bytes = 8;
            handle.handle_type = type;
            memcpy(handle.data, &inode, sizeof(inode));
            if (syscall(SYS_open_by_handle_at, mount, &handle, O_RDONLY) >= 0)
                breach("opened inode %u by handle", inode);
        }
    return verdict();
}
