#include "config/names.h"

#include <linux/capability.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    int resource;
} rlimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_CORE", RLIMIT_CORE},
    {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},
    {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_NPROC", RLIMIT_NPROC},
    {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    {"RLIMIT_RTTIME", RLIMIT_RTTIME},
    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
};

static const char *const capabilities[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
_Static_assert(COUNT_OF(capabilities) == CAP_LAST_CAP + 1, "a capability is missing");

const struct json_word namespace_words[] = {
    {"user", NS_USER},     {"pid", NS_PID},   {"mount", NS_MOUNT},
    {"ipc", NS_IPC},       {"uts", NS_UTS},   {"network", NS_NETWORK},
    {"cgroup", NS_CGROUP}, {"time", NS_TIME}, {NULL, 0},
};

const struct json_word network_words[] = {
    {"none", NETWORK_NONE}, {"loopback", NETWORK_LOOPBACK}, {"host", NETWORK_HOST}, {NULL, 0}};

const struct json_word rootfs_words[] = {{"host", ROOTFS_HOST}, {"empty", ROOTFS_EMPTY}, {NULL, 0}};

const struct json_word strategy_words[] = {
    {"one_for_one", 0}, {"one_for_all", 1}, {"rest_for_one", 2}, {NULL, 0}};

const struct json_word monitor_words[] = {{"none", MONITOR_NONE},
                                          {"warn", MONITOR_WARN},
                                          {"throttle", MONITOR_THROTTLE},
                                          {"kill", MONITOR_KILL},
                                          {NULL, 0}};

const struct json_word propagation_words[] = {
    {"private", MS_PRIVATE},
    {"rprivate", MS_PRIVATE | MS_REC},
    {"slave", MS_SLAVE},
    {"rslave", MS_SLAVE | MS_REC},
    {"shared", MS_SHARED},
    {"rshared", MS_SHARED | MS_REC},
    {"unbindable", MS_UNBINDABLE},
    {"runbindable", MS_UNBINDABLE | MS_REC},
    {NULL, 0},
};

const char *word_name(const struct json_word *words, uint64_t value)
{
    for (; words->name != NULL; words++) {
        if (words->value == value)
            return words->name;
    }
    return NULL;
}

int rlimit_number(const char *name)
{
    const char *bare = strncasecmp(name, "RLIMIT_", 7) == 0 ? name + 7 : name;
    for (size_t i = 0; i < COUNT_OF(rlimits); i++) {
        if (strcasecmp(rlimits[i].name + 7, bare) == 0)
            return rlimits[i].resource;
    }
    return -1;
}

const char *rlimit_name(int resource)
{
    for (size_t i = 0; i < COUNT_OF(rlimits); i++) {
        if (rlimits[i].resource == resource)
            return rlimits[i].name;
    }
    return NULL;
}

/* "nofle" and "RLIMIT_NOFLE" are both near RLIMIT_NOFILE, written as the user wrote it */
const char *rlimit_nearest(const char *name)
{
    size_t skip = strncasecmp(name, "RLIMIT_", 7) == 0 ? 7 : 0;
    const char *names[COUNT_OF(rlimits)];
    for (size_t i = 0; i < COUNT_OF(rlimits); i++)
        names[i] = rlimits[i].name + 7;
    const char *near = spec_nearest(name + skip, names, COUNT_OF(names));
    return near == NULL ? NULL : near - 7;
}

const char *rlimit_names(struct arena *a)
{
    char *all = arena_strdup(a, "");
    for (size_t i = 0; i < COUNT_OF(rlimits); i++) {
        all = arena_printf(a, "%s%s%s", all, i == 0 ? "" : ", ", rlimits[i].name + 7);
    }
    for (char *p = all; *p != '\0'; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
    return all;
}

int spec_capability_number(const char *name)
{
    const char *bare = strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
    for (size_t i = 0; i < COUNT_OF(capabilities); i++) {
        if (strcasecmp(capabilities[i] + 4, bare) == 0)
            return (int)i;
    }
    return -1;
}

const char *spec_capability_name(int number)
{
    return number >= 0 && (size_t)number < COUNT_OF(capabilities) ? capabilities[number] : NULL;
}

const char *capability_nearest(const char *name)
{
    size_t skip = strncasecmp(name, "CAP_", 4) == 0 ? 4 : 0;
    const char *names[COUNT_OF(capabilities)];
    for (size_t i = 0; i < COUNT_OF(capabilities); i++)
        names[i] = capabilities[i] + 4;
    const char *near = spec_nearest(name + skip, names, COUNT_OF(names));
    return near == NULL ? NULL : near - 4;
}

/* Distance of edits (insert, delete, replace, swap of neighbours), letters of either case alike. */
static size_t edits(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][64];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t same = strncasecmp(a + i - 1, b + j - 1, 1) == 0 ? 0 : 1;
            size_t best = last[j - 1] + same;
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && strncasecmp(a + i - 1, b + j - 2, 1) == 0 &&
                strncasecmp(a + i - 2, b + j - 1, 1) == 0 && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *spec_nearest(const char *word, const char *const *names, size_t count)
{
    size_t n = strlen(word), best = SIZE_MAX;
    const char *near = NULL;
    if (n == 0 || n > 63)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t m = strlen(names[i]);
        /* a third of the letters wrong is a typing error, more is another word */
        size_t most = (n > m ? n : m) / 3;
        size_t far = m > 63 ? SIZE_MAX : edits(word, n, names[i], m);
        if (far <= (most == 0 ? 1 : most) && far < n && far < best) {
            best = far;
            near = names[i];
        }
    }
    return near;
}
