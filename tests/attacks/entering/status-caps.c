/* CVE-2022-29162 and kin: what a program starts with. No capability in any set, no way back to one,
 * no new privileges, a filter, no groups of the caller's. argv[1], when given: the uid that it must
 * have. */
#include "tests/attacks/attack.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>

static void check_status(void)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "re");

    if (f == NULL)
        skip("no /proc here");
    while (fgets(line, sizeof(line), f) != NULL) {
        char *value = strchr(line, ':');

        if (value == NULL)
            continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
        if (strncmp(line, "Cap", 3) == 0 && strtoull(value, NULL, 16) != 0)
            breach("%.6s is %s", line, value);
        if (strncmp(line, "NoNewPrivs:", 11) == 0 && strcmp(value, "1") != 0)
            breach("NoNewPrivs is %s", value);
        if (strncmp(line, "Seccomp:", 8) == 0 && strcmp(value, "2") != 0)
            breach("Seccomp is %s", value);
        if (strncmp(line, "TracerPid:", 10) == 0 && strcmp(value, "0") != 0)
            breach("TracerPid is %s", value);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
    gid_t groups[64];
    int count;

    check_status();
    if (argc > 1 && getuid() != (uid_t)number(argc, argv, 1, 0))
        breach("uid is %u", getuid());
    if (getuid() != geteuid() || getgid() != getegid())
        breach("effective ids differ: %u %u", geteuid(), getegid());
    count = getgroups(64, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] != getgid() && groups[i] != 65534)
            breach("member of group %u", groups[i]);
    if (syscall(SYS_capset, &header, all) == 0)
        breach("capset gave everything");
    for (int cap = 0; cap <= 40; cap++) {
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            breach("capability %d is in the bounding set", cap);
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) == 0)
            breach("capability %d raised in the ambient set", cap);
    }
    if (prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 && prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == 0)
        note("securebits are not locked"); /* without a capability they mean nothing */
    if (getuid() != 0 && (setuid(0) == 0 || setresuid(0, 0, 0) == 0 || setreuid(0, 0) == 0))
        breach("became uid 0");
    if (getgid() != 0 && (setgid(0) == 0 || setresgid(0, 0, 0) == 0))
        breach("became gid 0");
    if (setgroups(0, NULL) == 0 && count > 0)
        breach("dropped groups");
    groups[0] = 0;
    if (setgroups(1, groups) == 0)
        breach("joined group 0");
    return verdict();
}
