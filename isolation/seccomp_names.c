/* Names of syscalls by number, for verdicts: the table is made from the kernel's headers when
 * Cloche is built. */
#include "isolation/seccomp.h"
#include "isolation/seccomp_private.h"

#include <stddef.h>
#include <string.h>

static const char *const names[] = {
#include "syscall_names.h"
};

/* Numbers younger than Debian 12's libseccomp; from 424 up they are the same on every architecture
 * (Documentation: scripts/syscall.tbl). */
static const struct {
    const char *name;
    int nr;
} young[] = {
    {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
    {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
    {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
    {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
    {"file_setattr", 469},      {"listns", 470},
};

int seccomp_young_number(const char *name)
{
    for (size_t i = 0; i < sizeof young / sizeof young[0]; i++) {
        if (strcmp(young[i].name, name) == 0)
            return young[i].nr;
    }
    return -1;
}

const char *seccomp_syscall_name(int nr)
{
    if (nr >= 0 && (size_t)nr < sizeof names / sizeof *names && names[nr] != NULL)
        return names[nr];
    for (size_t i = 0; i < sizeof young / sizeof young[0]; i++) {
        if (young[i].nr == nr)
            return young[i].name;
    }
    return NULL;
}
