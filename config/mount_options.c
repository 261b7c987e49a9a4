/* The option words of OCI mounts (config.md, "Linux mount options") and of the file systems that a
 * sandbox may mount. */
#include "config/names.h"

#include "base/syscalls.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

#define ATTR(word, attr)                                                                           \
    {word, attr, 0, 0, 0},                                                                         \
    {                                                                                              \
        "r" word, 0, 0, attr, 0                                                                    \
    }
#define NO_ATTR(word, attr)                                                                        \
    {word, 0, attr, 0, 0},                                                                         \
    {                                                                                              \
        "r" word, 0, 0, 0, attr                                                                    \
    }
/* the three modes of atime exclude each other: all bits are cleared first */
#define ATIME(word, attr)                                                                          \
    {word, attr, MOUNT_ATTR__ATIME, 0, 0},                                                         \
    {                                                                                              \
        "r" word, 0, 0, attr, MOUNT_ATTR__ATIME                                                    \
    }

const struct mount_word mount_words[] = {
    ATTR("ro", MOUNT_ATTR_RDONLY),
    NO_ATTR("rw", MOUNT_ATTR_RDONLY),
    ATTR("nosuid", MOUNT_ATTR_NOSUID),
    NO_ATTR("suid", MOUNT_ATTR_NOSUID),
    ATTR("nodev", MOUNT_ATTR_NODEV),
    NO_ATTR("dev", MOUNT_ATTR_NODEV),
    ATTR("noexec", MOUNT_ATTR_NOEXEC),
    NO_ATTR("exec", MOUNT_ATTR_NOEXEC),
    ATTR("nodiratime", MOUNT_ATTR_NODIRATIME),
    NO_ATTR("diratime", MOUNT_ATTR_NODIRATIME),
    ATTR("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW),
    NO_ATTR("symfollow", MOUNT_ATTR_NOSYMFOLLOW),
    ATIME("relatime", MOUNT_ATTR_RELATIME),
    ATIME("noatime", MOUNT_ATTR_NOATIME),
    ATIME("strictatime", MOUNT_ATTR_STRICTATIME),
    {NULL, 0, 0, 0, 0},
};

enum special {
    NOTHING, /* a default, or about a kernel feature that is gone */
    BIND,
    RBIND,
    COPY_UP,
    IDMAP,
    RIDMAP,
    OVERLAY,
    OPTIONAL,
    ATIME_DEFAULT,
    RATIME_DEFAULT,
    SUPERBLOCK, /* a flag of the file system itself, for fsconfig */
    REFUSED
};

static const struct {
    const char *name;
    enum special what;
} special_words[] = {
    {"defaults", NOTHING},    {"loud", NOTHING},          {"silent", NOTHING},
    {"nomand", NOTHING},      {"noiversion", NOTHING},    {"norelatime", NOTHING},
    {"rnorelatime", NOTHING}, {"nostrictatime", NOTHING}, {"rnostrictatime", NOTHING},
    {"bind", BIND},           {"rbind", RBIND},           {"tmpcopyup", COPY_UP},
    {"idmap", IDMAP},         {"ridmap", RIDMAP},         {"x-overlay", OVERLAY},
    {"x-optional", OPTIONAL}, {"atime", ATIME_DEFAULT},   {"ratime", RATIME_DEFAULT},
    {"sync", SUPERBLOCK},     {"async", SUPERBLOCK},      {"dirsync", SUPERBLOCK},
    {"lazytime", SUPERBLOCK}, {"nolazytime", SUPERBLOCK}, {"mand", REFUSED},
    {"iversion", REFUSED},    {"remount", REFUSED},
};

static const char *const superblock_flags[] = {"sync", "async", "dirsync", "lazytime",
                                               "nolazytime"};

enum value { FLAG, NUMBER, OCTAL, SIZE, WORD };

/* What each file system takes, so that a slip of the pen is found here and not by the kernel. */
static const struct {
    const char *type, *name;
    enum value value;
} data_words[] = {
    {"tmpfs", "size", SIZE},
    {"tmpfs", "nr_inodes", SIZE},
    {"tmpfs", "nr_blocks", SIZE},
    {"tmpfs", "mode", OCTAL},
    {"tmpfs", "uid", NUMBER},
    {"tmpfs", "gid", NUMBER},
    {"tmpfs", "huge", WORD},
    {"tmpfs", "mpol", WORD},
    {"tmpfs", "inode32", FLAG},
    {"tmpfs", "inode64", FLAG},
    {"tmpfs", "noswap", FLAG},
    {"proc", "hidepid", WORD},
    {"proc", "subset", WORD},
    {"proc", "gid", NUMBER},
    {"devpts", "newinstance", FLAG},
    {"devpts", "ptmxmode", OCTAL},
    {"devpts", "mode", OCTAL},
    {"devpts", "uid", NUMBER},
    {"devpts", "gid", NUMBER},
    {"devpts", "max", NUMBER},
    {"cgroup", "none", FLAG},
    {"cgroup", "all", FLAG},
    {"cgroup", "name", WORD},
    {"cgroup", "nsdelegate", FLAG},
    {"cgroup", "memory_recursiveprot", FLAG},
};

static const char *const types[] = {"tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup"};

bool mount_type_known(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (strcmp(type, types[i]) == 0)
            return true;
    }
    return false;
}

const char *mount_types(void)
{
    return "bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup";
}

bool mount_size_bytes(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    }
    if (p == text)
        return false;
    unsigned shift = 0;
    switch (*p) {
    case '\0':
        break;
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    default:
        return false;
    }
    if ((*p != '\0' && p[1] != '\0') || (shift != 0 && value > UINT64_MAX >> shift))
        return false;
    *ret = value << shift;
    return true;
}

static bool all_digits(const char *text, char highest)
{
    if (*text == '\0' || strlen(text) > 10)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > highest)
            return false;
    }
    return true;
}

static bool value_fits(enum value kind, const char *value)
{
    uint64_t bytes;
    size_t n = strlen(value);
    switch (kind) {
    case FLAG:
        return false;
    case NUMBER:
        return all_digits(value, '9');
    case OCTAL:
        return all_digits(value, '7') && n <= 5;
    case SIZE:
        if (n > 1 && n < 5 && value[n - 1] == '%')
            return strspn(value, "0123456789") == n - 1;
        return mount_size_bytes(value, &bytes);
    case WORD:
        return n > 0 && n < 256;
    }
    return false;
}

const char *mount_data_problem(struct arena *a, const char *type, const char *option)
{
    for (size_t i = 0; i < COUNT_OF(superblock_flags); i++) {
        if (strcmp(option, superblock_flags[i]) == 0)
            return NULL;
    }
    size_t n = strcspn(option, "=");
    const char *value = option[n] == '=' ? option + n + 1 : NULL;
    for (size_t i = 0; i < COUNT_OF(data_words); i++) {
        if (strcmp(data_words[i].type, type) != 0 || strlen(data_words[i].name) != n ||
            strncmp(data_words[i].name, option, n) != 0)
            continue;
        if (data_words[i].value == FLAG)
            return value == NULL ? NULL : arena_printf(a, "takes no value");
        if (value == NULL || !value_fits(data_words[i].value, value))
            return arena_printf(a, "expected %s",
                                data_words[i].value == SIZE     ? "a size like 65536k or 50%"
                                : data_words[i].value == OCTAL  ? "an octal mode like 1777"
                                : data_words[i].value == NUMBER ? "a number"
                                                                : "a value");
        return NULL;
    }

    const char *names[COUNT_OF(data_words) + COUNT_OF(mount_words) + COUNT_OF(special_words)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(data_words); i++) {
        if (strcmp(data_words[i].type, type) == 0)
            names[count++] = data_words[i].name;
    }
    for (size_t i = 0; mount_words[i].name != NULL; i++)
        names[count++] = mount_words[i].name;
    for (size_t i = 0; i < COUNT_OF(special_words); i++)
        names[count++] = special_words[i].name;
    const char *near = spec_nearest(arena_strndup(a, option, n), names, count);
    if (near != NULL)
        return arena_printf(a, "not an option of a %s mount; did you mean \"%s\"?", type, near);
    return arena_printf(a, "not an option of a %s mount", type);
}

static int apply_special(struct spec *s, struct spec_mount *m, enum special what, const char *word,
                         struct error *err)
{
    switch (what) {
    case NOTHING:
        break;
    case BIND:
    case RBIND:
        if (m->kind != MOUNT_OVERLAY)
            m->kind = MOUNT_BIND;
        m->recursive = what == RBIND;
        break;
    case COPY_UP:
        m->copy_up = true;
        break;
    case IDMAP:
    case RIDMAP:
        m->idmap = true;
        m->idmap_recursive = what == RIDMAP;
        break;
    case OVERLAY:
        m->kind = MOUNT_OVERLAY;
        break;
    case OPTIONAL:
        m->optional = true;
        break;
    case ATIME_DEFAULT:
        m->attr_set &= ~(uint64_t)MOUNT_ATTR__ATIME;
        m->attr_clear |= MOUNT_ATTR__ATIME;
        break;
    case RATIME_DEFAULT:
        m->attr_set_recursive &= ~(uint64_t)MOUNT_ATTR__ATIME;
        m->attr_clear_recursive |= MOUNT_ATTR__ATIME;
        break;
    case SUPERBLOCK:
        strings_add(s->arena, &m->data, word);
        break;
    case REFUSED:
        return error_set(err, "spec.unsupported", 0, "mount option \"%s\" is not supported", word);
    }
    return 0;
}

int spec_mount_option(struct spec *s, struct spec_mount *m, const char *word, struct error *err)
{
    for (const struct mount_word *w = mount_words; w->name != NULL; w++) {
        if (strcmp(w->name, word) != 0)
            continue;
        /* the later word wins; a clear-mask alone would lose against an earlier set */
        m->attr_set = (m->attr_set & ~w->clear) | w->set;
        m->attr_clear = (m->attr_clear & ~w->set) | w->clear;
        m->attr_set_recursive = (m->attr_set_recursive & ~w->clear_recursive) | w->set_recursive;
        m->attr_clear_recursive =
            (m->attr_clear_recursive & ~w->set_recursive) | w->clear_recursive;
        return 0;
    }
    for (const struct json_word *p = propagation_words; p->name != NULL; p++) {
        if (strcmp(p->name, word) == 0) {
            m->propagation = p->value;
            return 0;
        }
    }
    for (size_t i = 0; i < COUNT_OF(special_words); i++) {
        if (strcmp(special_words[i].name, word) == 0)
            return apply_special(s, m, special_words[i].what, word, err);
    }
    if (*word == '\0' || strlen(word) > 4000)
        return error_set(err, "spec.invalid", 0, "a mount option that is empty or too long");
    /* the rest is for the file system; which one it is may be said later, spec_validate() judges */
    strings_add(s->arena, &m->data, word);
    return 0;
}

int spec_mount_word(struct spec *s, struct spec_mount *m, const char *word, struct error *err)
{
    size_t before = m->data.count;
    if (spec_mount_option(s, m, word, err) < 0)
        return -1;
    if (m->data.count == before)
        return 0;
    const char *why = mount_data_problem(s->arena, m->kind == MOUNT_FS ? m->type : "bind", word);
    return why == NULL ? 0 : error_set(err, "spec.invalid", 0, "\"%s\": %s", word, why);
}
