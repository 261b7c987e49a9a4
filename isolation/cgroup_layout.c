#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* mountinfo of a host with thousands of containers is about 1 MiB */
#define MOUNTINFO_MAX (16U * 1024 * 1024)

const struct cgroup_controller_info cgroup_controllers[CTL_COUNT] = {
    [CTL_MEMORY] = {"memory", "memory", "limit memory"},
    [CTL_PIDS] = {"pids", "pids", "limit processes"},
    [CTL_CPU] = {"cpu", "cpu", "limit the share of CPU"},
    [CTL_CPUSET] = {"cpuset", "cpuset", "choose CPUs"},
    [CTL_IO] = {"blkio", "io", "limit block I/O"},
    [CTL_HUGETLB] = {"hugetlb", "hugetlb", "limit huge pages"},
    [CTL_CPUACCT] = {"cpuacct", NULL, "measure CPU time"},
    [CTL_FREEZER] = {"freezer", NULL, "freeze"},
};

unsigned cgroup_controller_bit(int version, const char *name, size_t len)
{
    for (int c = 0; c < CTL_COUNT; c++) {
        const char *known = version == 1 ? cgroup_controllers[c].v1 : cgroup_controllers[c].v2;
        if (known != NULL && strlen(known) == len && memcmp(known, name, len) == 0)
            return CTL_BIT(c);
    }
    return 0;
}

static unsigned parse_list(int version, const char *text, const char *separators)
{
    unsigned bits = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, separators);
        bits |= cgroup_controller_bit(version, text, len);
        text += len;
        text += strspn(text, separators);
    }
    return bits;
}

unsigned cgroup_parse_controllers(const char *text)
{
    return parse_list(2, text, " \t\n");
}

/* Cut the next piece off at @separator; NULL at the end. */
static char *cut(char **rest, char separator)
{
    char *piece = *rest;
    if (piece == NULL || *piece == '\0')
        return NULL;
    char *end = strchr(piece, separator);
    if (end != NULL)
        *end++ = '\0';
    *rest = end;
    return piece;
}

/* The kernel writes blank, tab, newline and backslash of paths as \ooo (fs/proc_namespace.c). */
static void unescape(char *s)
{
    char *out = s;
    while (*s != '\0') {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *out++ = (char)(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

static bool parse_dev(const char *text, dev_t *ret)
{
    uint64_t major = 0, minor = 0;
    char copy[32];
    size_t len = strlen(text);
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len + 1);
    char *colon = strchr(copy, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    if (!io_parse_u64(copy, &major) || !io_parse_u64(colon + 1, &minor) || major > UINT32_MAX ||
        minor > UINT32_MAX)
        return false;
    *ret = makedev((unsigned)major, (unsigned)minor);
    return true;
}

/* "36 35 98:0 /root /point rw,noatime [tag...] - type source super,options": proc(5) */
static bool parse_mount(struct cgroup_mount *m, char *line)
{
    char *rest = line, *dev = NULL, *root = NULL, *point = NULL, *word;
    for (int field = 0; (word = cut(&rest, ' ')) != NULL; field++) {
        if (field == 2)
            dev = word;
        else if (field == 3)
            root = word;
        else if (field == 4)
            point = word;
        else if (field > 5 && strcmp(word, "-") == 0)
            break;
    }
    char *type = cut(&rest, ' ');
    const char *source = cut(&rest, ' '), *options = cut(&rest, ' ');
    if (point == NULL || type == NULL || source == NULL || options == NULL ||
        !parse_dev(dev, &m->dev))
        return false;
    unescape(root);
    unescape(point);
    if (*root != '/' || *point != '/')
        return false;
    m->root = root;
    m->point = point;
    m->version = strcmp(type, "cgroup2") == 0 ? 2 : 1;
    m->controllers = m->version == 1 ? parse_list(1, options, ",") : 0;
    return m->version == 2 || m->controllers != 0;
}

void cgroup_parse_mountinfo(struct cgroup_layout *l, char *text)
{
    char *line;
    l->mount_count = 0;
    while (l->mount_count < CGROUP_MOUNTS_MAX && (line = cut(&text, '\n')) != NULL) {
        /* most lines are of other file systems: no need to take them apart */
        const char *type = strstr(line, " - cgroup");
        if (type == NULL ||
            (strncmp(type, " - cgroup ", 10) != 0 && strncmp(type, " - cgroup2 ", 11) != 0))
            continue;
        if (parse_mount(&l->mounts[l->mount_count], line))
            l->mount_count++;
    }
}

void cgroup_parse_self(struct cgroup_layout *l, char *text)
{
    char *line;
    l->own_v2 = NULL;
    for (int c = 0; c < CTL_COUNT; c++)
        l->own_v1[c] = NULL;
    while ((line = cut(&text, '\n')) != NULL) {
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL || path[1] != '/')
            continue;
        *names++ = '\0';
        *path++ = '\0';
        if (strcmp(line, "0") == 0 && *names == '\0') {
            l->own_v2 = path;
            continue;
        }
        unsigned bits = parse_list(1, names, ",");
        for (int c = 0; c < CTL_COUNT; c++) {
            if (bits & CTL_BIT(c))
                l->own_v1[c] = path;
        }
    }
}

static int read_proc(const char *path, char **ret, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && io_read_to_end(fd, MOUNTINFO_MAX, ret) >= 0)
        return 0;
    error_set(err, "cgroup.unreadable", errno, "cannot find the control groups: cannot read %s",
              path);
    error_hint(err, "mount -t proc proc /proc; or pass --best-effort");
    return error_path(err, path);
}

/* What mountinfo says of the v2 mount at a usual place, from a kernel that tells of one mount. */
static bool find_usual_v2(struct cgroup_layout *l)
{
    static const char *const points[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        struct sys_statx st;
        struct sys_statmount m;
        if (sys_statx(AT_FDCWD, points[i], AT_SYMLINK_NOFOLLOW, SYS_STATX_MNT_ID_UNIQUE, &st) < 0 ||
            (st.mask & SYS_STATX_MNT_ID_UNIQUE) == 0 ||
            (st.attributes & SYS_STATX_ATTR_MOUNT_ROOT) == 0 ||
            sys_statmount(st.mnt_id, SYS_STATMOUNT_SB_BASIC | SYS_STATMOUNT_MNT_ROOT, &m) < 0)
            continue;
        const uint64_t both = SYS_STATMOUNT_SB_BASIC | SYS_STATMOUNT_MNT_ROOT;
        size_t len = (m.mask & both) == both && m.mnt_root < sizeof m.str
                         ? strnlen(m.str + m.mnt_root, sizeof m.str - m.mnt_root)
                         : 0;
        if (m.sb_magic != CGROUP2_SUPER_MAGIC || len == 0 || len >= sizeof l->usual_root)
            continue;
        memcpy(l->usual_root, m.str + m.mnt_root, len);
        l->mounts[0] = (struct cgroup_mount){.version = 2,
                                             .dev = makedev(m.sb_dev_major, m.sb_dev_minor),
                                             .root = l->usual_root,
                                             .point = points[i]};
        l->mount_count = 1;
        return *l->usual_root == '/';
    }
    return false;
}

int cgroup_layout_begin(struct cgroup_layout *l, struct error *err)
{
    memset(l, 0, sizeof *l);
    if (read_proc("/proc/self/cgroup", &l->cgroup_text, err) < 0)
        return -1;
    cgroup_parse_self(l, l->cgroup_text);
    return find_usual_v2(l) ? 0 : cgroup_layout_complete(l, err);
}

int cgroup_layout_complete(struct cgroup_layout *l, struct error *err)
{
    if (l->mountinfo_text != NULL)
        return 0;
    if (read_proc("/proc/self/mountinfo", &l->mountinfo_text, err) < 0)
        return -1;
    cgroup_parse_mountinfo(l, l->mountinfo_text);
    return 0;
}

int cgroup_layout_read(struct cgroup_layout *l, struct error *err)
{
    return cgroup_layout_begin(l, err) < 0 ? -1 : cgroup_layout_complete(l, err);
}

void cgroup_layout_done(struct cgroup_layout *l)
{
    free(l->cgroup_text);
    free(l->mountinfo_text);
    l->cgroup_text = l->mountinfo_text = NULL;
    l->mount_count = 0;
}

const char *cgroup_below_root(const char *root, const char *own)
{
    /* "/..": outside of this cgroup namespace (cgroup_namespaces(7)); nothing can be said */
    if (strncmp(own, "/..", 3) == 0 && (own[3] == '/' || own[3] == '\0'))
        return NULL;
    size_t len = strlen(root);
    if (len == 1)
        return own + 1;
    if (strncmp(own, root, len) != 0 || (own[len] != '/' && own[len] != '\0'))
        return NULL;
    return own + len + (own[len] == '/');
}

const struct cgroup_mount *cgroup_find_mount(const struct cgroup_layout *l,
                                             enum cgroup_controller c, size_t start,
                                             const char **ret_rel)
{
    const char *own = c == CTL_COUNT ? l->own_v2 : l->own_v1[c];
    if (own == NULL)
        return NULL;
    for (size_t i = start; i < l->mount_count; i++) {
        const struct cgroup_mount *m = &l->mounts[i];
        if (c == CTL_COUNT ? m->version != 2 : !(m->controllers & CTL_BIT(c)))
            continue;
        const char *rel = cgroup_below_root(m->root, own);
        if (rel != NULL) {
            *ret_rel = rel;
            return m;
        }
    }
    return NULL;
}

static bool component_ok(const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '/' || iscntrl((unsigned char)name[i]))
            return false;
    }
    return true;
}

bool cgroup_name_ok(const char *name)
{
    return component_ok(name, strlen(name));
}

int cgroup_path_below(const char *cgroups_path, char *ret, size_t size, struct error *err)
{
    size_t used = 0;
    const char *p = cgroups_path;
    while (*p == '/')
        p++;
    while (*p != '\0') {
        size_t len = strcspn(p, "/");
        if (!component_ok(p, len) || used + len + 2 > size) {
            used = 0;
            break;
        }
        if (used > 0)
            ret[used++] = '/';
        memcpy(ret + used, p, len);
        used += len;
        p += len;
        while (*p == '/')
            p++;
    }
    if (used == 0) {
        error_set(err, "cgroup.path", 0,
                  "linux.cgroupsPath \"%s\" cannot name a control group: it must have a name, and "
                  "no component may start with \".\" or hold control characters",
                  cgroups_path);
        error_hint(err, "use a path such as \"judge/job-1\"; it is made below " CGROUP_SLICE);
        return error_path(err, "linux.cgroupsPath");
    }
    ret[used] = '\0';
    return 0;
}

bool cgroup_run_pid(const char *name, pid_t *ret)
{
    if (strncmp(name, "run-", 4) != 0)
        return false;
    name += 4;
    uint64_t pid = 0;
    size_t digits = 0;
    for (; name[digits] >= '0' && name[digits] <= '9'; digits++) {
        pid = pid * 10 + (uint64_t)(name[digits] - '0');
        if (pid > INT32_MAX)
            return false;
    }
    uint64_t n;
    if (digits == 0 || pid == 0 || name[digits] != '-' || !io_parse_u64(name + digits + 1, &n))
        return false;
    *ret = (pid_t)pid;
    return true;
}

bool cgroup_parse_key(const char *text, const char *key, uint64_t *ret)
{
    size_t len = strlen(key);
    while (text != NULL && *text != '\0') {
        if (strncmp(text, key, len) == 0 && text[len] == ' ') {
            char number[24];
            text += len + 1;
            size_t digits = strcspn(text, "\n");
            if (digits >= sizeof number)
                return false;
            memcpy(number, text, digits);
            number[digits] = '\0';
            return io_parse_u64(number, ret);
        }
        text = strchr(text, '\n');
        if (text != NULL)
            text++;
    }
    return false;
}

/* The curve that runc and crun agreed on, 10^((l^2 + 125 l) / 612 - 7/34) with l = log2(shares):
 * it hits 1, 100 and 10000 at 2, 1024 and 262144. Here by its values at the powers of two, with
 * straight lines between: libm would cost every start more than this is worth. */
uint64_t cgroup_weight_of_shares(uint64_t shares)
{
    static const uint16_t at_power[] = {1,   1,   2,   3,   5,   8,    12,   21,   35,   59,
                                        100, 174, 303, 532, 942, 1681, 3023, 5478, 10000};
    if (shares <= 2)
        return 1;
    if (shares >= 262144)
        return 10000;
    unsigned power = 63U - (unsigned)__builtin_clzll(shares);
    uint64_t low = at_power[power], high = at_power[power + 1];
    return low + ((high - low) * (shares - (1ULL << power)) >> power);
}

bool cgroup_systemd_running(void)
{
    return access("/run/systemd/system", F_OK) == 0; /* sd_booted(3) */
}
