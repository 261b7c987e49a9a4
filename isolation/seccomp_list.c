/* OCI linux.seccomp as text -> struct seccomp_list: words, numbers, every problem of the text at
 * once.
 */
#include "isolation/seccomp_list.h"

#include "base/cleanup.h"
#include "config/spec.h"
#include "isolation/seccomp.h"
#include "isolation/seccomp_private.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

enum { MAX_ERRNO = 4095 };

struct parse {
    struct seccomp_list *list;
    struct seccomp_abilities can;
    struct error *err;
    const char *code; /* of the first problem */
    size_t used;      /* of err->message */
};

static void cleanup_json(cJSON **json)
{
    cJSON_Delete(*json);
}

/* --- words
 * ------------------------------------------------------------------------------------------ */

struct word {
    const char *name;
    uint32_t value;
};

static const struct word actions[] = {
    {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
    {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
    {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
    {"SCMP_ACT_LOG", SCMP_ACT_LOG},
    {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
    {NULL, 0},
};

static const struct word operators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE},
    {"SCMP_CMP_LT", SCMP_CMP_LT},
    {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ},
    {"SCMP_CMP_GE", SCMP_CMP_GE},
    {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    {NULL, 0},
};

/* TSYNC says "all threads": the filter is loaded while there is one */
static const struct word flag_words[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", 0},
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0}, /* used wherever the kernel has it */
    {NULL, 0},
};

static const struct word architectures[] = {
    {"SCMP_ARCH_NATIVE", 0},
    {"SCMP_ARCH_X86", 0},
    {"SCMP_ARCH_X86_64", 0},
    {"SCMP_ARCH_X32", 0},
    {"SCMP_ARCH_ARM", 0},
    {"SCMP_ARCH_AARCH64", 0},
    {"SCMP_ARCH_MIPS", 0},
    {"SCMP_ARCH_MIPS64", 0},
    {"SCMP_ARCH_MIPS64N32", 0},
    {"SCMP_ARCH_MIPSEL", 0},
    {"SCMP_ARCH_MIPSEL64", 0},
    {"SCMP_ARCH_MIPSEL64N32", 0},
    {"SCMP_ARCH_PPC", 0},
    {"SCMP_ARCH_PPC64", 0},
    {"SCMP_ARCH_PPC64LE", 0},
    {"SCMP_ARCH_S390", 0},
    {"SCMP_ARCH_S390X", 0},
    {"SCMP_ARCH_PARISC", 0},
    {"SCMP_ARCH_PARISC64", 0},
    {"SCMP_ARCH_RISCV64", 0},
    {"SCMP_ARCH_LOONGARCH64", 0},
    {"SCMP_ARCH_M68K", 0},
    {"SCMP_ARCH_SH", 0},
    {"SCMP_ARCH_SHEB", 0},
    {NULL, 0},
};

static const struct word *find_word(const struct word *words, const char *name)
{
    for (; words->name != NULL; words++) {
        if (strcmp(words->name, name) == 0)
            return words;
    }
    return NULL;
}

int seccomp_syscall_number(const char *name)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr >= 0)
        return nr < SECCOMP_MAX_NUMBER ? nr : -1;
    return seccomp_young_number(name);
}

uint32_t seccomp_native_arch(void)
{
    return seccomp_arch_native();
}

/* --- JSON
 * ------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void problem(struct parse *p, const char *code,
                                                          const char *fmt, ...)
{
    if (p->code == NULL) {
        p->code = code;
        error_set(p->err, code, 0, "%s", "");
    }
    if (p->err == NULL)
        return;
    size_t room = sizeof p->err->message - p->used;
    if (room < 2)
        return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int n = snprintf(p->err->message + p->used, room, "%slinux.seccomp%s%s",
                     p->used > 0 ? "\n" : "", text[0] == ':' ? "" : ".", text);
    p->used += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

#define INVALID     "seccomp.invalid"
#define UNSUPPORTED "seccomp.unsupported"

static const char *found(const cJSON *j)
{
    if (j == NULL)
        return "nothing";
    if (cJSON_IsString(j))
        return "a string";
    if (cJSON_IsNumber(j))
        return "a number";
    if (cJSON_IsArray(j))
        return "an array";
    if (cJSON_IsObject(j))
        return "an object";
    return cJSON_IsNull(j) ? "null" : "a boolean";
}

static const cJSON *get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* A number of 0 to @max without a fraction. Doubles hold such numbers exactly up to 2^53. */
static bool get_number(struct parse *p, const cJSON *j, const char *path, uint64_t max,
                       uint64_t *ret)
{
    const uint64_t exact = 1ULL << 53;
    if (max > exact)
        max = exact;
    if (!cJSON_IsNumber(j)) {
        problem(p, INVALID, "%s: expected a number, found %s", path, found(j));
        return false;
    }
    if (!(j->valuedouble >= 0 && j->valuedouble <= (double)max)) {
        problem(p, INVALID, "%s: expected 0 to %llu, found %.17g", path, (unsigned long long)max,
                j->valuedouble);
        return false;
    }
    uint64_t value = (uint64_t)j->valuedouble;
    if ((double)value < j->valuedouble) {
        problem(p, INVALID, "%s: expected a whole number, found %.17g", path, j->valuedouble);
        return false;
    }
    *ret = value;
    return true;
}

static const struct word *get_word(struct parse *p, const cJSON *j, const char *path,
                                   const struct word *words)
{
    if (!cJSON_IsString(j)) {
        problem(p, INVALID, "%s: expected a string such as \"%s\", found %s", path, words[1].name,
                found(j));
        return NULL;
    }
    const struct word *w = find_word(words, j->valuestring);
    if (w == NULL) {
        const char *names[32];
        size_t n = 0;
        while (n < 32 && words[n].name != NULL) {
            names[n] = words[n].name;
            n++;
        }
        const char *close_by = spec_nearest(j->valuestring, names, n);
        problem(p, INVALID, "%s: \"%.64s\" is not known here%s%s%s", path, j->valuestring,
                close_by ? ", did you mean \"" : "", close_by ? close_by : "",
                close_by ? "\"?" : "");
    }
    return w;
}

static bool get_action(struct parse *p, const cJSON *j, const char *path, const cJSON *errno_item,
                       const char *errno_path, uint64_t errno_default, uint32_t *ret)
{
    if (cJSON_IsString(j) && strcmp(j->valuestring, "SCMP_ACT_TRACE") == 0) {
        problem(p, UNSUPPORTED, "%s: SCMP_ACT_TRACE needs a tracer, which a sandbox never has",
                path);
        return false;
    }
    const struct word *w = get_word(p, j, path, actions);
    if (w == NULL)
        return false;
    uint64_t number = errno_default;
    if (errno_item != NULL && !get_number(p, errno_item, errno_path, MAX_ERRNO, &number))
        return false;
    *ret = w->value;
    if (w->value == SCMP_ACT_ERRNO(0))
        *ret = SCMP_ACT_ERRNO((uint32_t)number);
    else if (w->value == SCMP_ACT_NOTIFY && !p->can.notify)
        *ret = SCMP_ACT_KILL_PROCESS;
    return true;
}

/* Restrictive ones first; the order of seccomp(2). */
static int severity(uint32_t action)
{
    static const uint32_t order[] = {SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, SCMP_ACT_TRAP,
                                     SCMP_ACT_ERRNO(0),     SCMP_ACT_NOTIFY,      SCMP_ACT_LOG,
                                     SCMP_ACT_ALLOW};
    int i = 0;
    while (order[i] != (action & 0xffff0000U) && order[i] != SCMP_ACT_ALLOW)
        i++;
    return i;
}

static bool add_rule(struct parse *p, const struct seccomp_rule *rule)
{
    struct seccomp_list *l = p->list;
    if (l->rule_count == l->rule_room) {
        size_t room = l->rule_room == 0 ? 32 : 2 * l->rule_room;
        struct seccomp_rule *bigger = reallocarray(l->rules, room, sizeof *bigger);
        if (bigger == NULL) {
            problem(p, "seccomp.failed", ": out of memory");
            return false;
        }
        l->rules = bigger;
        l->rule_room = room;
    }
    l->rules[l->rule_count++] = *rule;
    return true;
}

static void add_call(struct parse *p, int nr, uint32_t action, const struct scmp_arg_cmp *args,
                     unsigned arg_count)
{
    struct seccomp_list *l = p->list;
    if (arg_count == 0) {
        if (!l->given[nr] || severity(action) < severity(l->plain[nr]))
            l->plain[nr] = action;
        l->given[nr] = true;
        return;
    }
    unsigned seen = 0;
    bool twice = false;
    for (unsigned i = 0; i < arg_count; i++) {
        twice = twice || (seen & (1U << args[i].arg)) != 0;
        seen |= 1U << args[i].arg;
    }
    struct seccomp_rule rule = {.nr = nr, .action = action};
    if (!twice) {
        memcpy(rule.args, args, arg_count * sizeof *args);
        rule.arg_count = arg_count;
        add_rule(p, &rule);
        return;
    }
    /* one argument named twice: each condition counts alone, as in runc and crun */
    for (unsigned i = 0; i < arg_count; i++) {
        rule.args[0] = args[i];
        rule.arg_count = 1;
        if (!add_rule(p, &rule))
            return;
    }
}

static unsigned parse_args(struct parse *p, const cJSON *array, const char *where,
                           struct scmp_arg_cmp *args)
{
    if (array == NULL)
        return 0;
    if (!cJSON_IsArray(array)) {
        problem(p, INVALID, "%s.args: expected an array, found %s", where, found(array));
        return 0;
    }
    unsigned n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        char path[96];
        if (n == SECCOMP_MAX_ARGS) {
            problem(p, INVALID, "%s.args: expected at most 6 conditions", where);
            return 0;
        }
        uint64_t index = 0, value = 0, second = 0;
        snprintf(path, sizeof path, "%s.args[%u].op", where, n);
        const struct word *op = get_word(p, get(item, "op"), path, operators);
        snprintf(path, sizeof path, "%s.args[%u].index", where, n);
        bool good = get_number(p, get(item, "index"), path, SECCOMP_MAX_ARGS - 1, &index);
        snprintf(path, sizeof path, "%s.args[%u].value", where, n);
        good = get_number(p, get(item, "value"), path, UINT64_MAX, &value) && good;
        if (get(item, "valueTwo") != NULL) {
            snprintf(path, sizeof path, "%s.args[%u].valueTwo", where, n);
            good = get_number(p, get(item, "valueTwo"), path, UINT64_MAX, &second) && good;
        }
        if (op != NULL && good)
            args[n] =
                (struct scmp_arg_cmp){(unsigned)index, (enum scmp_compare)op->value, value, second};
        n++;
    }
    return n;
}

/* Engines keep templates whose rules hold only with some capability or on some kernel. Reading one
 * as a filter would allow what the template allows to the privileged. */
static void refuse_template(struct parse *p, const cJSON *entry, const char *where)
{
    static const char *const keys[] = {"includes", "excludes"};
    for (size_t i = 0; i < 2; i++) {
        const cJSON *j = get(entry, keys[i]);
        if (j != NULL && j->child != NULL)
            problem(p, UNSUPPORTED,
                    "%s.%s: this is a container engine's template, not an OCI filter: its "
                    "conditions must be resolved first",
                    where, keys[i]);
    }
}

static void parse_entry(struct parse *p, const cJSON *entry, unsigned number,
                        uint64_t errno_default)
{
    char where[32], path[64], errno_path[64];
    snprintf(where, sizeof where, "syscalls[%u]", number);
    if (!cJSON_IsObject(entry)) {
        problem(p, INVALID, "%s: expected an object, found %s", where, found(entry));
        return;
    }
    refuse_template(p, entry, where);
    uint32_t action = SCMP_ACT_KILL_PROCESS;
    snprintf(path, sizeof path, "%s.action", where);
    snprintf(errno_path, sizeof errno_path, "%s.errnoRet", where);
    get_action(p, get(entry, "action"), path, get(entry, "errnoRet"), errno_path, errno_default,
               &action);
    struct scmp_arg_cmp args[SECCOMP_MAX_ARGS] = {0};
    unsigned arg_count = parse_args(p, get(entry, "args"), where, args);
    const cJSON *names = get(entry, "names"), *name;
    if (!cJSON_IsArray(names) || names->child == NULL) {
        problem(p, INVALID, "%s.names: expected an array of names, found %s", where,
                names != NULL && cJSON_IsArray(names) ? "an empty one" : found(names));
        return;
    }
    cJSON_ArrayForEach(name, names)
    {
        if (!cJSON_IsString(name)) {
            problem(p, INVALID, "%s.names: expected strings, found %s", where, found(name));
            continue;
        }
        int nr = seccomp_syscall_number(name->valuestring);
        if (nr >= 0 && p->code == NULL)
            add_call(p, nr, action, args, arg_count);
    }
}

static void parse_flags(struct parse *p, const cJSON *array, const char *key,
                        const struct word *words, unsigned *ret)
{
    if (array == NULL)
        return;
    if (!cJSON_IsArray(array)) {
        problem(p, INVALID, "%s: expected an array of strings, found %s", key, found(array));
        return;
    }
    unsigned n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        char path[64];
        snprintf(path, sizeof path, "%s[%u]", key, n++);
        const struct word *w = get_word(p, item, path, words);
        if (w != NULL)
            *ret |= w->value;
    }
}

static void parse_list(struct parse *p, const cJSON *json)
{
    unsigned ignored = 0, n = 0;
    uint64_t errno_default = EPERM;
    if (!cJSON_IsObject(json)) {
        problem(p, INVALID, ": expected an object, found %s", found(json));
        return;
    }
    if (get(json, "listenerPath") != NULL)
        problem(p, UNSUPPORTED,
                "listenerPath: notifications go to Cloche itself, not to another agent");
    const cJSON *errno_item = get(json, "defaultErrnoRet");
    if (get_action(p, get(json, "defaultAction"), "defaultAction", errno_item, "defaultErrnoRet",
                   errno_default, &p->list->default_action) &&
        p->list->default_action == SCMP_ACT_NOTIFY)
        problem(p, INVALID, "defaultAction: SCMP_ACT_NOTIFY can only stand in a rule");
    parse_flags(p, get(json, "architectures"), "architectures", architectures, &ignored);
    parse_flags(p, get(json, "flags"), "flags", flag_words, &p->list->flags);

    const cJSON *calls = get(json, "syscalls"), *entry;
    if (calls != NULL && !cJSON_IsArray(calls))
        problem(p, INVALID, "syscalls: expected an array, found %s", found(calls));
    cJSON_ArrayForEach(entry, calls)
    {
        parse_entry(p, entry, n++, errno_default);
    }
}

/* The process that loads a filter with a listener still has to hand the listener over and to exec:
 * none of these calls may wait for an answer that nobody can give yet. */
static bool check_notifies(struct parse *p)
{
    static const int used[] = {SYS_sendmsg, SYS_close, SYS_write,      SYS_read,
                               SYS_execve,  SYS_exit,  SYS_exit_group, SYS_execveat};
    const struct seccomp_list *l = p->list;
    bool notifies = false;
    for (int nr = 0; nr < SECCOMP_MAX_NUMBER; nr++)
        notifies = notifies || (l->given[nr] && l->plain[nr] == SCMP_ACT_NOTIFY);
    for (size_t i = 0; i < l->rule_count; i++)
        notifies = notifies || l->rules[i].action == SCMP_ACT_NOTIFY;
    for (size_t u = 0; notifies && u < sizeof used / sizeof used[0]; u++) {
        int nr = used[u];
        bool waits = l->given[nr] && l->plain[nr] == SCMP_ACT_NOTIFY;
        for (size_t i = 0; i < l->rule_count; i++)
            waits = waits || (l->rules[i].nr == nr && l->rules[i].action == SCMP_ACT_NOTIFY);
        uint32_t action = l->given[nr] ? l->plain[nr] : l->default_action;
        if (waits)
            problem(p, INVALID, "syscalls: %s cannot be SCMP_ACT_NOTIFY: the launch itself uses it",
                    seccomp_syscall_name(nr));
        else if (nr == SYS_sendmsg && !seccomp_allows(action))
            problem(p, INVALID,
                    "syscalls: a list with SCMP_ACT_NOTIFY must allow sendmsg: the launch hands "
                    "the listener over with it");
    }
    return notifies;
}

int seccomp_list_read(struct seccomp_list *ret, const char *json, size_t size,
                      struct seccomp_abilities can, struct error *err)
{
    __attribute__((cleanup(cleanup_json))) cJSON *root = cJSON_ParseWithLength(json, size);
    if (root == NULL) {
        error_set(err, INVALID, 0, "linux.seccomp: not JSON");
        return error_hint(err, "an OCI seccomp object, in the spec or in the file of --seccomp");
    }
    struct parse p = {.list = ret, .can = can, .err = err};
    parse_list(&p, root);
    if (p.code == NULL)
        ret->notifies = check_notifies(&p);
    return p.code == NULL ? 0 : -1;
}
