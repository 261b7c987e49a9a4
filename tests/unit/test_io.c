/* What base/io.h promises that no other test has a place for. */
#include "base/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* fcntl(2), but that a memfd is looked at by somebody for the next @busy attempts to seal it. */
static int busy, attempts;
int fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    if (command == F_ADD_SEALS) {
        attempts++;
        if (busy > 0) {
            busy--;
            errno = EBUSY;
            return -1;
        }
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

Test(io, a_seal_is_tried_again_while_somebody_looks_at_the_pages)
{
    const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(fd, 4096), 0);
    busy = 5;
    cr_expect_eq(io_seal(fd, seals), 0);
    cr_expect_eq(attempts, 6);
    cr_expect_eq(fcntl(fd, F_GET_SEALS), seals);
    close(fd);
}

Test(io, a_seal_that_cannot_be_had_is_not_tried_for_ever)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(fd, 4096), 0);
    cr_assert_neq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    cr_expect_eq(io_seal(fd, F_SEAL_WRITE), -1);
    cr_expect_eq(errno, EBUSY);
    cr_expect_gt(attempts, 1);
    /* another error is none that passes */
    attempts = 0;
    cr_expect_eq(io_seal(-1, F_SEAL_WRITE), -1);
    cr_expect_eq(errno, EBADF);
    cr_expect_eq(attempts, 1);
}
