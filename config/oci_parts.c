/* Parts of a file that are kept as JSON text and only checked here: the syscall filter, children
 * and modules. */
#include "config/oci.h"

#include <stdlib.h>
#include <string.h>

/* --- linux.seccomp --------------------------------------------------------------------------- */

static const struct json_word action_words[] = {
    {"SCMP_ACT_ALLOW", 0},       {"SCMP_ACT_ERRNO", 0},
    {"SCMP_ACT_KILL", 0},        {"SCMP_ACT_KILL_PROCESS", 0},
    {"SCMP_ACT_KILL_THREAD", 0}, {"SCMP_ACT_TRAP", 0},
    {"SCMP_ACT_TRACE", 0},       {"SCMP_ACT_LOG", 0},
    {"SCMP_ACT_NOTIFY", 0},      {NULL, 0},
};

static const struct json_word operator_words[] = {
    {"SCMP_CMP_NE", 0}, {"SCMP_CMP_LT", 0}, {"SCMP_CMP_LE", 0},        {"SCMP_CMP_EQ", 0},
    {"SCMP_CMP_GE", 0}, {"SCMP_CMP_GT", 0}, {"SCMP_CMP_MASKED_EQ", 0}, {NULL, 0},
};

static const struct json_word flag_words[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", 0},
    {"SECCOMP_FILTER_FLAG_LOG", 0},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0},
    {NULL, 0},
};

#define ARCH(name)                                                                                 \
    {                                                                                              \
        "SCMP_ARCH_" name, 0                                                                       \
    }
static const struct json_word arch_words[] = {
    ARCH("X86_64"),      ARCH("X86"),    ARCH("X32"),       ARCH("ARM"),     ARCH("AARCH64"),
    ARCH("MIPS"),        ARCH("MIPS64"), ARCH("MIPS64N32"), ARCH("MIPSEL"),  ARCH("MIPSEL64"),
    ARCH("MIPSEL64N32"), ARCH("PPC"),    ARCH("PPC64"),     ARCH("PPC64LE"), ARCH("S390"),
    ARCH("S390X"),       ARCH("PARISC"), ARCH("PARISC64"),  ARCH("RISCV64"), ARCH("LOONGARCH64"),
    ARCH("M68K"),        ARCH("SH"),     ARCH("SHEB"),      {NULL, 0},
};

/* Any word of the table that field->offset cannot carry: it is chosen by the property's name. */
static void check_word(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       const struct json_word *words)
{
    uint64_t ignored;
    json_get_word(r, at, value, words, &ignored);
}

static void check_action(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, action_words);
}

static void check_operator(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, operator_words);
}

static void check_words_of(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           const struct json_word *words)
{
    if (!json_is_array(r, at, value, "an array of strings"))
        return;
    JSON_EACH(item, element, at, value)
    {
        check_word(r, &element, item, words);
    }
}

static void check_flags(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_words_of(r, at, value, flag_words);
}

static void check_architectures(struct json_reader *r, const struct json_at *at, const cJSON *value,
                                void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_words_of(r, at, value, arch_words);
}

static void check_number(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)to;
    uint64_t number;
    json_get_u64(r, at, value, field->min, field->max, field->expect, &number);
}

static void check_string(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)to, (void)field;
    if (!cJSON_IsString(value) || value->valuestring[0] == '\0')
        json_wrong(r, at, value, "a string that is not empty");
}

static void check_strings(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)to, (void)field;
    struct strings list;
    json_get_strings(r, at, value, &list);
}

static void refuse_listener(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    (void)to, (void)field;
    if (!cJSON_IsString(value) || value->valuestring[0] != '\0')
        json_unsupported(r, at, "not supported: Cloche answers notifications itself");
}

static void check_names(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)to, (void)field;
    struct strings list;
    if (!json_get_strings(r, at, value, &list))
        return;
    if (list.count == 0)
        json_problem(r, at, "names no syscall");
}

static void require(struct json_reader *r, const struct json_at *at, const cJSON *object,
                    const char *name)
{
    if (cJSON_IsObject(object) && !json_has(object, name))
        json_problem(r, at, "has no \"%s\"", name);
}

static void check_args(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    (void)to, (void)field;
    static const struct json_field fields[] = {
        {.name = "index", .read = check_number, .max = 5},
        {.name = "value", .read = check_number, .max = UINT64_MAX},
        {.name = "valueTwo", .read = check_number, .max = UINT64_MAX},
        {.name = "op", .read = check_operator},
    };
    if (!json_is_array(r, at, value, "an array of argument rules"))
        return;
    JSON_EACH(item, element, at, value)
    {
        json_object(r, &element, item, NULL, fields, COUNT_OF(fields), JSON_TOLERANT);
        require(r, &element, item, "index");
        require(r, &element, item, "value");
        require(r, &element, item, "op");
    }
}

#define ERRNO_MAX 4095

static void check_syscalls(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)to, (void)field;
    static const struct json_field fields[] = {
        {.name = "names", .read = check_names},
        {.name = "action", .read = check_action},
        {.name = "errnoRet", .read = check_number, .max = ERRNO_MAX},
        {.name = "args", .read = check_args},
        /* words of Docker's and Podman's own files, which tools resolve before they write OCI */
        {.name = "comment", .read = json_ignore},
    };
    if (!json_is_array(r, at, value, "an array of syscall rules"))
        return;
    JSON_EACH(item, element, at, value)
    {
        json_object(r, &element, item, NULL, fields, COUNT_OF(fields), JSON_TOLERANT);
        require(r, &element, item, "names");
        require(r, &element, item, "action");
    }
}

void seccomp_check(struct json_reader *r, const struct json_at *at, const cJSON *value)
{
    static const struct json_field fields[] = {
        {.name = "defaultAction", .read = check_action},
        {.name = "defaultErrnoRet", .read = check_number, .max = ERRNO_MAX},
        {.name = "architectures", .read = check_architectures},
        {.name = "flags", .read = check_flags},
        {.name = "listenerPath", .read = refuse_listener},
        {.name = "listenerMetadata", .read = refuse_listener},
        {.name = "syscalls", .read = check_syscalls},
    };
    json_object(r, at, value, NULL, fields, COUNT_OF(fields), JSON_TOLERANT);
    require(r, at, value, "defaultAction");
}

/* --- cloche.children ------------------------------------------------------------------------- */

static const struct json_word kind_words[] = {
    {"module", 0}, {"command", 1}, {"supervisor", 2}, {NULL, 0}};
static const struct json_word restart_words[] = {
    {"permanent", 0}, {"transient", 1}, {"temporary", 2}, {NULL, 0}};
static const struct json_word ready_words[] = {{"none", 0}, {"line", 1}, {"socket", 2}, {NULL, 0}};
static const struct json_word on_reload_words[] = {
    {"restart", 0}, {"keep", 1}, {"stop", 2}, {NULL, 0}};

static void check_kind(struct json_reader *r, const struct json_at *at, const cJSON *value,
                       void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, kind_words);
}

static void check_restart(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, restart_words);
}

static void check_ready(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, ready_words);
}

static void check_ready_socket(struct json_reader *r, const struct json_at *at, const cJSON *value,
                               void *to, const struct json_field *field)
{
    (void)to, (void)field;
    const char *name = cJSON_IsString(value) ? value->valuestring : "";
    bool tcp = strncmp(name, "tcp:", 4) == 0;
    size_t digits = tcp ? strspn(name + 4, "0123456789") : 0;
    bool number = tcp && digits > 0 && digits < 6 && name[4] != '0' && name[4 + digits] == '\0';
    long port = number ? strtol(name + 4, NULL, 10) : 0;
    /* sun_path: unix(7) */
    if (tcp ? port < 1 || port > 65535 : name[0] != '/' || strlen(name) > 107)
        json_wrong(r, at, value, "a socket's absolute path of at most 107 bytes, or \"tcp:PORT\"");
}

static void check_on_reload(struct json_reader *r, const struct json_at *at, const cJSON *value,
                            void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, on_reload_words);
}

static void check_strategy(struct json_reader *r, const struct json_at *at, const cJSON *value,
                           void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, strategy_words);
}

static void check_id(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                     const struct json_field *field)
{
    (void)to, (void)field;
    if (!cJSON_IsString(value) || !spec_valid_id(value->valuestring))
        json_wrong(r, at, value,
                   "a name of letters, digits, \"_\", \".\" and \"-\", at most 64 of them");
}

static void check_ids(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    if (!json_is_array(r, at, value, "an array of names"))
        return;
    JSON_EACH(item, element, at, value)
    {
        check_id(r, &element, item, to, field);
    }
}

static void check_nested(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)to, (void)field;
    children_check(r, at, value);
}

static void check_command(struct json_reader *r, const struct json_at *at, const cJSON *value,
                          void *to, const struct json_field *field)
{
    (void)to, (void)field;
    struct strings list;
    if (json_get_strings(r, at, value, &list) && list.count == 0)
        json_wrong(r, at, value, "an array with at least the program's name");
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static void check_child(struct json_reader *r, const struct json_at *at, const cJSON *child)
{
    static const struct json_field fields[] = {
        {.name = "id", .read = check_id},
        {.name = "kind", .read = check_kind},
        {.name = "module", .read = check_id},
        {.name = "args", .read = check_command},
        {.name = "restart", .read = check_restart},
        {.name = "shutdown_ms", .read = check_number, .max = 86400000},
        {.name = "ready", .read = check_ready},
        {.name = "ready_socket", .read = check_ready_socket},
        {.name = "ready_ms", .read = check_number, .min = 1, .max = 86400000},
        {.name = "on_reload", .read = check_on_reload},
        {.name = "start_after", .read = check_ids},
        {.name = "strategy", .read = check_strategy},
        {.name = "max_restarts", .read = check_number, .max = 1000000},
        {.name = "max_seconds", .read = check_number, .min = 1, .max = 86400},
        {.name = "children", .read = check_nested},
    };
    /* what each kind of child cannot do without */
    static const char *const needs[][2] = {
        {"module", "module"}, {"command", "args"}, {"supervisor", "children"}};
    json_object(r, at, child, NULL, fields, COUNT_OF(fields), JSON_STRICT);
    require(r, at, child, "id");
    require(r, at, child, "kind");
    for (size_t i = 0; i < COUNT_OF(needs); i++) {
        if (strcmp(text_of(child, "kind"), needs[i][0]) == 0)
            require(r, at, child, needs[i][1]);
    }
    if (strcmp(text_of(child, "ready"), "socket") == 0)
        require(r, at, child, "ready_socket");
}

void children_check(struct json_reader *r, const struct json_at *at, const cJSON *value)
{
    if (!json_is_array(r, at, value, "an array of children"))
        return;
    JSON_EACH(item, element, at, value)
    {
        check_child(r, &element, item);
        const char *id = text_of(item, "id");
        for (const cJSON *other = value->child; other != item; other = other->next) {
            if (*id != '\0' && strcmp(text_of(other, "id"), id) == 0) {
                json_problem(r, &element, "a second child of the id %s",
                             problem_quote(r->problems.arena, id));
                break;
            }
        }
    }
}

/* --- cloche.modules -------------------------------------------------------------------------- */

/* what a compiler of ours may write at most (COMPILE_ARTIFACT_MAX) */
#define MODULE_SIZE_MAX  (256 << 20)
#define MODULE_ARENA_MAX (1ull << 40)

static const struct json_word state_words[] = {
    {"keep", 0}, {"migrate", 1}, {"empty", 2}, {NULL, 0}};

static void check_state(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)to, (void)field;
    check_word(r, at, value, state_words);
}

/* a directory to watch, or true for the source's own */
static void check_watch(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)to, (void)field;
    if (!cJSON_IsBool(value) && !(cJSON_IsString(value) && value->valuestring[0] != '\0'))
        json_wrong(r, at, value, "true, false or a directory");
}

void module_policy_check(struct json_reader *r, const struct json_at *at, const cJSON *value)
{
    static const struct json_field fields[] = {
        {.name = "deny_symbols", .read = check_strings},
        {.name = "allow_libraries", .read = check_strings},
        {.name = "size_bytes", .read = check_number, .min = 1, .max = MODULE_SIZE_MAX},
    };
    json_object(r, at, value, NULL, fields, COUNT_OF(fields), JSON_STRICT);
}

void modules_check(struct json_reader *r, const struct json_at *at, const cJSON *value)
{
    static const struct json_field fields[] = {
        {.name = "source", .read = check_string},
        {.name = "toolchain", .read = check_id},
        {.name = "watch", .read = check_watch},
        {.name = "state", .read = check_state},
        {.name = "probation_ms", .read = check_number, .max = 86400000},
        {.name = "arena_bytes", .read = check_number, .min = 1, .max = MODULE_ARENA_MAX},
        {.name = "keep", .read = check_number, .min = 1, .max = 1000000},
        {.name = "deny_symbols", .read = check_strings},
        {.name = "allow_libraries", .read = check_strings},
        {.name = "size_bytes", .read = check_number, .min = 1, .max = MODULE_SIZE_MAX},
        {.name = "flags", .read = check_strings},
        {.name = "defines", .read = check_strings},
        {.name = "depends", .read = check_ids},
    };
    if (!json_is_object(r, at, value))
        return;
    for (const cJSON *c = value->child; c != NULL; c = c->next) {
        struct json_at here = {at, c->string, 0};
        if (!spec_valid_id(c->string))
            json_problem(r, &here,
                         "a module is named by letters, digits, \"_\", \".\" and \"-\", at most "
                         "64 of them");
        json_object(r, &here, c, NULL, fields, COUNT_OF(fields), JSON_STRICT);
    }
}
