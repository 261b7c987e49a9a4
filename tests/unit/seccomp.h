/**
 * Two independent readings of a syscall list, to compare: what the JSON says, judged rule by rule,
 * and what a BPF program answers, by a small interpreter.
 */
#ifndef CLOCHE_TESTS_UNIT_SECCOMP_H
#define CLOCHE_TESTS_UNIT_SECCOMP_H

#include "isolation/seccomp.h"
#include "isolation/seccomp_private.h"
#include "tests/lib/bpf.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>

static const char *const lists[] = {"tight", "build", "wide"};
enum { LIST_COUNT = 3, LAST_NUMBER = 475 };

static inline const char *list_text(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "seccomp/%s.json", name);
    const char *text = config_builtin(path, NULL);
    cr_assert_not_null(text, "%s", path);
    return text;
}

static inline uint32_t bpf_run(const struct sock_filter *code, size_t count,
                               const struct seccomp_data *d)
{
    uint32_t action = 0;
    cr_assert(bpf_decide(code, count, d, &action));
    return action;
}

static inline uint32_t json_action(const cJSON *rule, const char *key, const char *errno_key)
{
    static const struct {
        const char *name;
        uint32_t value;
    } words[] = {{"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},
                 {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF},
                 {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
                 {"SCMP_ACT_LOG", SECCOMP_RET_LOG},
                 {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
                 {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO}};
    const char *name = cJSON_GetObjectItem(rule, key)->valuestring;
    const cJSON *number = cJSON_GetObjectItem(rule, errno_key);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(name, words[i].name) != 0)
            continue;
        if (words[i].value == SECCOMP_RET_ERRNO)
            return SECCOMP_RET_ERRNO | (number == NULL ? EPERM : (uint32_t)number->valueint);
        return words[i].value;
    }
    cr_assert_fail("action %s", name);
    return 0;
}

static inline uint64_t json_number(const cJSON *arg, const char *key)
{
    const cJSON *j = cJSON_GetObjectItem(arg, key);
    return j == NULL ? 0 : (uint64_t)j->valuedouble;
}

static inline bool json_matches(const cJSON *rule, const uint64_t *args)
{
    const cJSON *arg;
    cJSON_ArrayForEach(arg, cJSON_GetObjectItem(rule, "args"))
    {
        uint64_t v = args[json_number(arg, "index")], a = json_number(arg, "value");
        const char *op = cJSON_GetObjectItem(arg, "op")->valuestring + strlen("SCMP_CMP_");
        bool holds = strcmp(op, "NE") == 0   ? v != a
                     : strcmp(op, "LT") == 0 ? v < a
                     : strcmp(op, "LE") == 0 ? v <= a
                     : strcmp(op, "EQ") == 0 ? v == a
                     : strcmp(op, "GE") == 0 ? v >= a
                     : strcmp(op, "GT") == 0 ? v > a
                                             : (v & a) == json_number(arg, "valueTwo");
        if (!holds)
            return false;
    }
    return true;
}

static inline bool json_names(const cJSON *rule, const char *name)
{
    const cJSON *n;
    cJSON_ArrayForEach(n, cJSON_GetObjectItem(rule, "names"))
    {
        if (strcmp(n->valuestring, name) == 0)
            return true;
    }
    return false;
}

/** What the list says: conditions that refuse, conditions that allow, names, the default. */
static inline uint32_t json_judge(const cJSON *list, const char *name, const uint64_t *args)
{
    const cJSON *rule;
    for (int round = 0; round < 3; round++) {
        cJSON_ArrayForEach(rule, cJSON_GetObjectItem(list, "syscalls"))
        {
            uint32_t action = json_action(rule, "action", "errnoRet");
            bool conditional = cJSON_GetArraySize(cJSON_GetObjectItem(rule, "args")) > 0;
            int class = !conditional ? 2 : action == SECCOMP_RET_ALLOW ? 1 : 0;
            if (class == round && json_names(rule, name) && json_matches(rule, args))
                return action;
        }
    }
    return json_action(list, "defaultAction", "defaultErrnoRet");
}

#endif
