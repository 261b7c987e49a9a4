#include "config/toolchain.h"

#include "base/io.h"
#include "config/builtin.h"
#include "config/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define TOOLCHAIN_FILE_MAX (256 * 1024)

#define F(name_, read_, member_) JSON_FIELD(name_, read_, struct toolchain, member_, .max = 0)

static const struct json_field fields[] = {
    F("name", json_read_string, name),
    F("description", json_read_string, description),
    F("package", json_read_string, package),
    F("extensions", json_read_strings, extensions),
    F("includes", json_read_strings, includes),
    F("programs", json_read_strings, programs),
    F("compile", json_read_strings, compile),
    F("module", json_read_strings, module),
    F("object", json_read_strings, object),
    F("module_object", json_read_strings, module_object),
    F("link", json_read_strings, link),
    F("module_link", json_read_strings, module_link),
    F("run", json_read_strings, run),
    F("version", json_read_strings, version),
    F("diagnostics", json_read_string, diagnostics),
    F("env", json_read_strings, env),
    F("paths", json_read_paths, paths),
    F("identity", json_read_paths, identity),
    F("default_flags", json_read_strings, default_flags),
    F("flags", json_read_strings, flags),
    F("denied_flags", json_read_strings, denied_flags),
    F("warnings_as_errors", json_read_strings, werror),
    F("define", json_read_string, define),
    F("artifact_name", json_read_string, artifact_name),
    F("source_name", json_read_string, source_name),
    F("artifact_is_source", json_read_bool, artifact_is_source),
    JSON_FIELD("memory_bytes", json_read_u64, struct toolchain, memory_bytes, .min = 1,
               .max = UINT64_MAX / 2),
    JSON_FIELD("processes", json_read_u64, struct toolchain, processes, .min = 1, .max = 1u << 22),
};

static bool plain_name(const char *name)
{
    return name != NULL && spec_valid_id(name);
}

static void judge(struct toolchain *tc, struct json_reader *r)
{
    static const char *const formats[] = {"gcc-json", "clang", "plain"};
    if (!plain_name(tc->name))
        problem_add(&r->problems, "name", "expected a short name, found %s",
                    tc->name == NULL ? "nothing" : problem_quote(r->arena, tc->name));
    const struct {
        const char *key;
        const struct strings *list;
    } needed[] = {{"extensions", &tc->extensions}, {"programs", &tc->programs},
                  {"compile", &tc->compile},       {"run", &tc->run},
                  {"version", &tc->version},       {"paths", &tc->paths}};
    for (size_t i = 0; i < COUNT_OF(needed); i++) {
        if (needed[i].list->count == 0)
            problem_add(&r->problems, needed[i].key, "expected a list that is not empty");
    }
    for (size_t i = 0; i < tc->extensions.count; i++) {
        if (tc->extensions.items[i][0] != '.')
            problem_add(&r->problems, "extensions", "expected \".ext\", found %s",
                        problem_quote(r->arena, tc->extensions.items[i]));
    }
    if ((tc->object.count == 0) != (tc->link.count == 0))
        problem_add(&r->problems, "object", "\"object\" and \"link\" need each other");
    bool known = tc->diagnostics == NULL;
    for (size_t i = 0; !known && i < COUNT_OF(formats); i++)
        known = strcmp(tc->diagnostics, formats[i]) == 0;
    if (!known)
        problem_add(&r->problems, "diagnostics", "expected gcc-json, clang or plain, found %s",
                    problem_quote(r->arena, tc->diagnostics));
    if (tc->artifact_name != NULL && !plain_name(tc->artifact_name))
        problem_add(&r->problems, "artifact_name", "expected a file name");
    if (tc->source_name != NULL && !plain_name(tc->source_name))
        problem_add(&r->problems, "source_name", "expected a file name");
    for (size_t i = 0; i < tc->env.count; i++) {
        if (strchr(tc->env.items[i], '=') == NULL)
            problem_add(&r->problems, "env", "expected \"KEY=VALUE\", found %s",
                        problem_quote(r->arena, tc->env.items[i]));
    }
}

int toolchain_parse(struct toolchain **ret, const char *text, size_t size, const char *origin,
                    struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct toolchain *tc = arena_alloc(a, sizeof *tc);
    tc->origin = arena_strdup(a, origin);
    _cleanup_json_ cJSON *root = json_parse(a, text, size, err);
    if (root == NULL) {
        error_wrap(err, "%s", origin);
        if (err != NULL)
            err->code = "toolchain.invalid";
        return -1;
    }
    struct json_reader r = {.arena = a, .problems = {.arena = a}};
    if (json_is_object(&r, NULL, root))
        json_object(&r, NULL, root, tc, fields, COUNT_OF(fields), JSON_STRICT);
    judge(tc, &r);
    if (problems_report(&r.problems, origin, err) < 0) {
        if (err != NULL)
            err->code = "toolchain.invalid";
        return -1;
    }
    if (tc->description == NULL)
        tc->description = tc->name;
    if (tc->package == NULL)
        tc->package = tc->programs.items[0];
    if (tc->diagnostics == NULL)
        tc->diagnostics = "plain";
    if (tc->artifact_name == NULL)
        tc->artifact_name = "program";
    tc->arena = TAKE_PTR(a);
    *ret = tc;
    return 0;
}

/* --- packed --- */

void toolchain_pack(const struct toolchain *tc, FILE *out)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const void *from = (const char *)tc + fields[i].offset;
        if (fields[i].read == json_read_strings || fields[i].read == json_read_paths) {
            const struct strings *list = from;
            fprintf(out, "%zu%c", list->count, '\0');
            for (size_t k = 0; k < list->count; k++)
                fprintf(out, "%s%c", list->items[k], '\0');
        } else if (fields[i].read == json_read_string) {
            const char *text = *(const char *const *)from;
            fprintf(out, "%d%c", text != NULL, '\0');
            if (text != NULL)
                fprintf(out, "%s%c", text, '\0');
        } else {
            fprintf(out, "%llu%c",
                    fields[i].read == json_read_bool ? (unsigned long long)*(const bool *)from
                                                     : (unsigned long long)*(const uint64_t *)from,
                    '\0');
        }
    }
}

static const char *next_text(const char **at)
{
    const char *text = *at;
    *at += strlen(text) + 1;
    return text;
}

static struct toolchain *unpack(const char *at)
{
    struct arena *a = arena_new();
    struct toolchain *tc = arena_alloc(a, sizeof *tc);
    tc->arena = a;
    tc->origin = "built in";
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        void *to = (char *)tc + fields[i].offset;
        uint64_t number = strtoull(next_text(&at), NULL, 10);
        if (fields[i].read == json_read_bool)
            *(bool *)to = number != 0;
        else if (fields[i].read == json_read_u64)
            *(uint64_t *)to = number;
        else if (fields[i].read == json_read_string)
            *(const char **)to = number > 0 ? next_text(&at) : NULL;
        else
            for (; number > 0; number--)
                strings_add(a, to, next_text(&at));
    }
    return tc;
}

void toolchain_free(struct toolchain *tc)
{
    if (tc != NULL)
        arena_free(tc->arena);
}

/* --- where they are --------------------------------------------------------------------------- */

#define DIRECTORIES 2

static const char *directory(struct arena *a, size_t i)
{
    if (i == 1)
        return "/etc/cloche/toolchains";
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config != NULL && config[0] == '/')
        return arena_printf(a, "%s/cloche/toolchains", config);
    if (home != NULL && home[0] == '/')
        return arena_printf(a, "%s/.config/cloche/toolchains", home);
    return NULL;
}

static int load_file(struct toolchain **ret, const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, "toolchain.unreadable", errno, "cannot read toolchain \"%s\"", path);
    _cleanup_free_ char *text = NULL;
    ssize_t size = io_read_to_end(fd, TOOLCHAIN_FILE_MAX, &text);
    if (size < 0)
        return error_set(err, "toolchain.unreadable", errno, "cannot read toolchain \"%s\"", path);
    return toolchain_parse(ret, text, (size_t)size, path, err);
}

static const char *installed(struct arena *a, const char *name)
{
    for (size_t i = 0; i < DIRECTORIES; i++) {
        const char *path = directory(a, i);
        path = path == NULL ? NULL : arena_printf(a, "%s/%s.json", path, name);
        if (path != NULL && access(path, F_OK) == 0)
            return path;
    }
    return NULL;
}

static const char *built_in(struct arena *a, const char *name, size_t *ret_size)
{
    return config_builtin(arena_printf(a, "toolchains/%s.json", name), ret_size);
}

int toolchain_load(struct toolchain **ret, const char *name, struct error *err)
{
    _cleanup_arena_ struct arena *a = arena_new();
    if (spec_valid_id(name)) {
        const char *file = installed(a, name);
        if (file != NULL)
            return load_file(ret, file, err);
        for (const struct packed_toolchain *p = packed_toolchains; p->name != NULL; p++) {
            if (strcmp(p->name, name) == 0) {
                *ret = unpack(p->data);
                return 0;
            }
        }
        size_t size;
        const char *text = built_in(a, name, &size);
        if (text != NULL)
            return toolchain_parse(ret, text, size, "built in", err);
    }
    struct strings names = {0};
    toolchain_names(a, &names);
    const char *list = "";
    for (size_t i = 0; i < names.count; i++)
        list = arena_printf(a, "%s%s%s", list, i > 0 ? ", " : "", names.items[i]);
    error_set(err, "toolchain.unknown", 0, "there is no toolchain %s", problem_quote(a, name));
    return error_hint(err, "one of: %s", list);
}

static int compare(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static void add_name(struct arena *a, struct strings *list, const char *file)
{
    size_t len = strlen(file);
    if (len <= 5 || strcmp(file + len - 5, ".json") != 0)
        return;
    char *name = arena_strndup(a, file, len - 5);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], name) == 0)
            return;
    }
    if (spec_valid_id(name))
        strings_add(a, list, name);
}

void toolchain_names(struct arena *a, struct strings *ret)
{
    for (size_t i = 0; i < DIRECTORIES; i++) {
        const char *path = directory(a, i);
        _cleanup_closedir_ DIR *dir = path == NULL ? NULL : opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
            add_name(a, ret, e->d_name);
    }
    for (const struct builtin_file *f = builtin_files; f->name != NULL; f++) {
        if (strncmp(f->name, "toolchains/", 11) == 0)
            add_name(a, ret, f->name + 11);
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, compare);
}

bool toolchain_has_extension(const struct strings *extensions, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < extensions->count; i++) {
        size_t n = strlen(extensions->items[i]);
        if (len > n && strcmp(path + len - n, extensions->items[i]) == 0 &&
            path[len - n - 1] != '/')
            return true;
    }
    return false;
}

/* False: the built-in toolchain cannot take @base, whose every ending would stand in its text as a
 * string. Nine of ten need not be parsed to know that they are not the one. */
static bool built_in_may_take(struct arena *a, const char *name, const char *base)
{
    size_t size;
    const char *text = built_in(a, name, &size);
    for (const char *p = base; text != NULL && (p = strchr(p, '.')) != NULL; p++) {
        if (strstr(text, arena_printf(a, "\"%s\"", p)) != NULL)
            return true;
    }
    return false;
}

static int no_toolchain(struct arena *a, const struct strings *names, const char *path,
                        struct error *err)
{
    if (err == NULL)
        return -1;
    const char *list = "";
    for (size_t i = 0; i < names->count; i++) {
        _cleanup_toolchain_ struct toolchain *tc = NULL;
        if (toolchain_load(&tc, names->items[i], err) < 0)
            return -1;
        for (size_t k = 0; k < tc->extensions.count; k++) {
            const char *ext = tc->extensions.items[k];
            size_t seen = 0;
            for (const char *p = list; (p = strstr(p, ext)) != NULL; p++)
                seen += p[strlen(ext)] == ' ' || p[strlen(ext)] == '\0';
            if (seen == 0)
                list = arena_printf(a, "%s%s%s", list, list[0] != '\0' ? " " : "", ext);
        }
    }
    struct stat st;
    bool directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    error_set(err, "toolchain.unknown", 0, "no toolchain compiles %s%s", problem_quote(a, path),
              directory ? ": a directory without sources" : "");
    return error_hint(err, "known extensions: %s; or name one with --toolchain", list);
}

/* 1: it takes @base and is in @ret. */
static int try(struct toolchain **ret, struct arena *a, const char *name, const char *base,
               struct error *err)
{
    _cleanup_toolchain_ struct toolchain *tc = NULL;
    if (!built_in_may_take(a, name, base) && installed(a, name) == NULL)
        return 0;
    if (toolchain_load(&tc, name, err) < 0)
        return -1;
    if (!toolchain_has_extension(&tc->extensions, base))
        return 0;
    *ret = TAKE_PTR(tc);
    return 1;
}

/* Several toolchains may take ".c": the plainest (c before clang and tcc) is the one of that name
 * without the dot, then the first by name. */
int toolchain_for_file(struct toolchain **ret, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names = {0};
    int found = dot != NULL && spec_valid_id(dot + 1) ? try(ret, a, dot + 1, base, err) : 0;
    if (found == 0)
        toolchain_names(a, &names);
    for (size_t i = 0; found == 0 && dot != NULL && i < names.count; i++)
        found = try(ret, a, names.items[i], base, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    return no_toolchain(a, &names, path, err);
}

const char *toolchain_find_program(struct arena *a, const char *program)
{
    if (program[0] == '/')
        return access(program, X_OK) == 0 ? program : NULL;
    if (strchr(program, '/') != NULL)
        return NULL;
    for (const char *p = TOOLCHAIN_PATH; *p != '\0';) {
        size_t n = strcspn(p, ":");
        char *path = arena_printf(a, "%.*s/%s", (int)n, p, program);
        if (access(path, X_OK) == 0)
            return path;
        p += n + (p[n] == ':');
    }
    return NULL;
}

int toolchain_check(struct toolchain *tc, struct error *err)
{
    for (size_t i = tc->located.count; i < tc->programs.count; i++) {
        const char *path = toolchain_find_program(tc->arena, tc->programs.items[i]);
        if (path != NULL) {
            strings_add(tc->arena, &tc->located, path);
            continue;
        }
        error_set(err, "toolchain.missing", 0,
                  "toolchain \"%s\" needs %s, which is not installed (looked in %s)", tc->name,
                  tc->programs.items[i], TOOLCHAIN_PATH);
        return error_hint(err, "apt-get install %s", tc->package);
    }
    return 0;
}

/* --- flags and templates ------------------------------------------------------------------------
 */

static bool matches(const struct strings *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->count; i++) {
        const char *pattern = patterns->items[i];
        /* most of the hundred begin otherwise, which needs no fnmatch(3) to see */
        if (strncmp(pattern, text, strcspn(pattern, "*?[\\")) == 0 &&
            fnmatch(pattern, text, 0) == 0)
            return true;
    }
    return false;
}

int toolchain_check_flag(const struct toolchain *tc, const char *flag, struct error *err)
{
    if (matches(&tc->flags, flag) && !matches(&tc->denied_flags, flag))
        return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *list = "";
    for (size_t i = 0; i < tc->flags.count; i++)
        list = arena_printf(a, "%s%s%s", list, i > 0 ? " " : "", tc->flags.items[i]);
    if (tc->define != NULL)
        list =
            arena_printf(a, "%s %.*sNAME[=VALUE]", list, (int)strcspn(tc->define, "{"), tc->define);
    error_set(err, "compile.flag", 0, "toolchain \"%s\" does not allow the flag %s", tc->name,
              problem_quote(a, flag));
    return error_hint(err, "allowed: %s", list[0] != '\0' ? list : "none");
}

static char *replace(struct arena *a, const char *text, const struct toolchain_values *v)
{
    const struct {
        const char *name, *value;
    } scalars[] = {{"{output}", v->output},
                   {"{source}", v->source},
                   {"{depfile}", v->depfile},
                   {"{program}", v->program}};
    const char *out = "";
    while (*text != '\0') {
        size_t i = 0;
        for (; i < COUNT_OF(scalars); i++) {
            if (scalars[i].value != NULL &&
                strncmp(text, scalars[i].name, strlen(scalars[i].name)) == 0)
                break;
        }
        if (i < COUNT_OF(scalars)) {
            out = arena_printf(a, "%s%s", out, scalars[i].value);
            text += strlen(scalars[i].name);
        } else {
            size_t n = 1 + strcspn(text + 1, "{");
            out = arena_printf(a, "%s%.*s", out, (int)n, text);
            text += n;
        }
    }
    return arena_strdup(a, out);
}

int toolchain_expand(struct arena *a, const struct strings *argv_template,
                     const struct toolchain_values *values, struct strings *ret, struct error *err)
{
    const struct {
        const char *name;
        const struct strings *list;
    } lists[] = {{"{sources}", values->sources},
                 {"{objects}", values->objects},
                 {"{flags}", values->flags},
                 {"{libraries}", values->libraries},
                 {"{defines}", values->defines}};
    for (size_t i = 0; i < argv_template->count; i++) {
        const char *word = argv_template->items[i];
        size_t k = 0;
        while (k < COUNT_OF(lists) && strcmp(word, lists[k].name) != 0)
            k++;
        if (k == COUNT_OF(lists)) {
            strings_add(a, ret, replace(a, word, values));
            continue;
        }
        for (size_t j = 0; lists[k].list != NULL && j < lists[k].list->count; j++)
            strings_add(a, ret, lists[k].list->items[j]);
    }
    if (ret->count == 0)
        return error_set(err, "toolchain.invalid", 0, "a command template is empty");
    if (ret->items[0][0] != '/') {
        const char *path = toolchain_find_program(a, ret->items[0]);
        if (path == NULL)
            return error_set(err, "toolchain.missing", 0, "%s is not installed (looked in %s)",
                             ret->items[0], TOOLCHAIN_PATH);
        ret->items[0] = arena_strdup(a, path);
    }
    return 0;
}
