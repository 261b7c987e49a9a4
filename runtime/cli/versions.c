/* What is stored of a module: versions, history, pin and unpin, export and import. */
#include "runtime/cli/cli.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "runtime/cli/sandboxes.h"
#include "runtime/client.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

struct versions_options {
    bool json, all;
    uint64_t limit;
    const char *output;
};

static int set_json(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct versions_options *)context)->json = true;
    return 0;
}

static int set_all(void *context, const char *text, struct error *err)
{
    (void)text;
    (void)err;
    ((struct versions_options *)context)->all = true;
    return 0;
}

static int set_limit(void *context, const char *text, struct error *err)
{
    struct versions_options *o = context;
    if (io_parse_u64(text, &o->limit) && o->limit > 0 && o->limit <= INT32_MAX)
        return 0;
    return error_set(err, "usage.value", 0, "expected a number from 1 on, found \"%s\"", text);
}

static int set_output(void *context, const char *text, struct error *err)
{
    (void)err;
    ((struct versions_options *)context)->output = text;
    return 0;
}

#define JSON_OPTION                                                                                \
    {                                                                                              \
        0, "json", NULL, "results and errors as JSON", set_json                                    \
    }
#define END_OPTION                                                                                 \
    {                                                                                              \
        0, NULL, NULL, NULL, NULL                                                                  \
    }

static const struct cli_option plain[] = {JSON_OPTION, END_OPTION};
static const struct cli_option versions_options[] = {
    {'a', "all", NULL, "also those whose bytes are no longer kept", set_all},
    JSON_OPTION,
    END_OPTION};
static const struct cli_option history_options[] = {
    {'a', "all", NULL, "every attempt (the last 20)", set_all},
    {'n', "limit", "N", "the last N attempts", set_limit},
    JSON_OPTION,
    END_OPTION};
static const struct cli_option export_options[] = {
    {'o', "output", "FILE", "the archive; - is stdout (MODULE.tar)", set_output},
    JSON_OPTION,
    END_OPTION};

/** Options and operands; the exit status when the command is over with that, else -1. */
static int parse(const char *name, const char *usage, const struct cli_option *options, size_t min,
                 size_t max, struct versions_options *o, int argc, char **argv, struct arena *a,
                 struct strings *ret)
{
    struct error err = ERROR_INIT;
    if (cli_wants_help(name, options, argc, argv))
        return 0;
    if (cli_parse_all(options, o, argc, argv, a, ret, &err) < 0)
        return cli_fail(&err, o->json, EXIT_USAGE);
    if (ret->count >= min && ret->count <= max)
        return -1;
    error_set(&err, "usage.operand", 0, "%s takes %s", name, usage);
    error_hint(&err, "cloche %s %s", name, usage);
    return cli_fail(&err, o->json, EXIT_USAGE);
}

/** Asked of the keeper, or of the store when there is none. NULL with @err. */
static cJSON *ask(const char *id, const char *operation, const struct fields *fields,
                  struct error *err)
{
    _cleanup_free_ char *text = client_json(id, operation, fields, err);
    if (text == NULL && client_without_keeper(err))
        text = client_stored(id, operation, fields, -1, err);
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    if (text != NULL && o == NULL)
        error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    return o;
}

static const char *time_text(char *buf, size_t size, double ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (ms <= 0 || strftime(buf, size, "%F %T", localtime_r(&t, &tm)) == 0)
        snprintf(buf, size, "-");
    return buf;
}

static bool truth(const cJSON *o, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static void print_version(const cJSON *v)
{
    char size[24], at[32];
    const char *reason = sandboxes_text(v, "reason"), *label = sandboxes_text(v, "label");
    printf("%7.0f  %-9s  %-6s  %-6s  %6.0f  %8s  %-19s  %.12s%s%s%s%s\n",
           sandboxes_number(v, "version"),
           truth(v, "collected") ? "collected" : sandboxes_text(v, "status"),
           truth(v, "active") ? "active" : "-", truth(v, "pinned") ? "pinned" : "-",
           sandboxes_number(v, "schema"),
           sandboxes_size(size, sizeof size, sandboxes_number(v, "size_bytes")),
           time_text(at, sizeof at, sandboxes_number(v, "published_ms")),
           sandboxes_text(v, "sha256"), label[0] != '\0' ? "  " : "", label,
           reason[0] != '\0' ? "  " : "", reason);
}

int cli_versions(int argc, char **argv)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct versions_options o = {0};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    int status = parse("versions", "ID MODULE", versions_options, 2, 2, &o, argc, argv, a, &words);
    if (status >= 0)
        return status;
    fields_add(&fields, "module", words.items[1]);
    fields_add_int(&fields, "all", o.all);
    cJSON *found = ask(words.items[0], "versions", &fields, &err);
    if (found == NULL)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    if (o.json) {
        sandboxes_print(found);
        putchar('\n');
    } else {
        const cJSON *v, *list = cJSON_GetObjectItemCaseSensitive(found, "versions");
        printf("%7s  %-9s  %-6s  %-6s  %6s  %8s  %-19s  %s\n", "VERSION", "STATUS", "ACTIVE",
               "PINNED", "SCHEMA", "SIZE", "PUBLISHED", "SHA256");
        cJSON_ArrayForEach(v, list)
        {
            print_version(v);
        }
    }
    cJSON_Delete(found);
    return 0;
}

static const char *number_or_dash(char *buf, size_t size, const cJSON *o, const char *name)
{
    double n = sandboxes_number(o, name);
    if (n > 0)
        snprintf(buf, size, "%.0f", n);
    else
        snprintf(buf, size, "-");
    return buf;
}

static void print_attempt(const cJSON *h)
{
    char from[16], to[16], at[32];
    const char *reason = sandboxes_text(h, "reason"), *detail = sandboxes_text(h, "detail");
    printf("%7.0f  %-16s  %-8s  %-9s  %4s  %4s  %-11s  %-19s  %7.0f ms%s%s%s%s\n",
           sandboxes_number(h, "attempt"), sandboxes_text(h, "module"), sandboxes_text(h, "kind"),
           sandboxes_text(h, "cause"), number_or_dash(from, sizeof from, h, "from"),
           number_or_dash(to, sizeof to, h, "to"), sandboxes_text(h, "state"),
           time_text(at, sizeof at, sandboxes_number(h, "started_ms")),
           sandboxes_number(h, "ended_ms") - sandboxes_number(h, "started_ms"),
           reason[0] != '\0' ? "  " : "", reason, detail[0] != '\0' ? "  " : "", detail);
}

int cli_history(int argc, char **argv)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct versions_options o = {.limit = 20};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    int status = parse("history", "ID [MODULE]", history_options, 1, 2, &o, argc, argv, a, &words);
    if (status >= 0)
        return status;
    if (words.count == 2)
        fields_add(&fields, "module", words.items[1]);
    fields_add_int(&fields, "limit", o.all ? 0 : (int64_t)o.limit);
    cJSON *found = ask(words.items[0], "history", &fields, &err);
    if (found == NULL)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    if (o.json) {
        sandboxes_print(found);
        putchar('\n');
    } else {
        const cJSON *h, *list = cJSON_GetObjectItemCaseSensitive(found, "attempts");
        printf("%7s  %-16s  %-8s  %-9s  %4s  %4s  %-11s  %-19s  %10s  %s\n", "ATTEMPT", "MODULE",
               "KIND", "CAUSE", "FROM", "TO", "OUTCOME", "STARTED", "TOOK", "REASON");
        cJSON_ArrayForEach(h, list)
        {
            print_attempt(h);
        }
    }
    cJSON_Delete(found);
    return 0;
}

/* --- changes ------------------------------------------------------------------------------------
 */

static int pin(const char *name, int argc, char **argv)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    struct versions_options o = {0};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    uint64_t number;
    int status = parse(name, "ID MODULE VERSION", plain, 3, 3, &o, argc, argv, a, &words);
    if (status >= 0)
        return status;
    if (!io_parse_u64(words.items[2], &number) || number == 0 || number > UINT32_MAX) {
        error_set(&err, "usage.version", 0, "expected the number of a version, found \"%.80s\"",
                  words.items[2]);
        error_hint(&err, "cloche versions %s %s", words.items[0], words.items[1]);
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    fields_add(&fields, "module", words.items[1]);
    fields_add_int(&fields, "version", (int64_t)number);
    _cleanup_free_ char *text = client_json(words.items[0], name, &fields, &err);
    if (text == NULL)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    if (o.json)
        puts(text);
    else
        printf("%s %s %s\n", words.items[0], words.items[1], words.items[2]);
    return 0;
}

int cli_pin(int argc, char **argv)
{
    return pin("pin", argc, argv);
}

int cli_unpin(int argc, char **argv)
{
    return pin("unpin", argc, argv);
}

/* Beside its place, then renamed: half an archive never has its name. */
static int export_to(const char *id, const char *module, const char *path, struct error *err)
{
    char stage[PATH_MAX];
    struct stat st;
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    bool staged = stat(path, &st) < 0 || S_ISREG(st.st_mode);
    int n = snprintf(stage, sizeof stage, staged ? "%s.%d.new" : "%s", path, (int)getpid());
    bool to_stdout = strcmp(path, "-") == 0;
    if (n < 0 || (size_t)n >= sizeof stage)
        return error_set(err, "archive.output", ENAMETOOLONG, "cannot write \"%s\"", path);
    _cleanup_close_ int fd =
        to_stdout ? fcntl(1, F_DUPFD_CLOEXEC, 3)
                  : open(stage, O_WRONLY | O_CREAT | (staged ? O_EXCL : 0) | O_CLOEXEC, 0644);
    if (fd < 0) {
        error_set(err, "archive.output", errno, "cannot write \"%s\"", path);
        return error_path(err, path);
    }
    fields_add(&fields, "module", module);
    _cleanup_free_ char *text = client_stored(id, "export", &fields, fd, err);
    if (text != NULL && (to_stdout || !staged || rename(stage, path) == 0))
        return 0;
    if (text != NULL)
        error_set(err, "archive.output", errno, "cannot write \"%s\"", path);
    if (!to_stdout && staged)
        unlink(stage);
    return -1;
}

int cli_export(int argc, char **argv)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct versions_options o = {0};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    int status = parse("export", "ID MODULE", export_options, 2, 2, &o, argc, argv, a, &words);
    if (status >= 0)
        return status;
    const char *output = o.output != NULL ? o.output : arena_printf(a, "%s.tar", words.items[1]);
    if (o.output == NULL && !spec_valid_id(words.items[1])) {
        error_set(&err, "module.bad_name", 0, "\"%.80s\" cannot be the name of a module",
                  words.items[1]);
        return cli_fail(&err, o.json, 1);
    }
    if (strcmp(output, "-") == 0 && isatty(1)) {
        error_set(&err, "usage.terminal", 0, "an archive is not for a terminal");
        error_hint(&err, "cloche export -o FILE %s %s", words.items[0], words.items[1]);
        return cli_fail(&err, o.json, EXIT_USAGE);
    }
    if (export_to(words.items[0], words.items[1], output, &err) < 0)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    if (strcmp(output, "-") == 0)
        return 0;
    if (!o.json) {
        puts(output);
        return 0;
    }
    fputs("{\"output\":", stdout);
    cli_print_json_string(stdout, output);
    puts("}");
    return 0;
}

/** An archive may come through a pipe; the store wants to read it more than once. */
static int open_archive(const char *path, struct error *err)
{
    struct stat st;
    bool from_stdin = strcmp(path, "-") == 0;
    _cleanup_close_ int fd =
        from_stdin ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set(err, "archive.unreadable", errno, "cannot read \"%s\"", path);
        return error_path(err, path);
    }
    if (S_ISREG(st.st_mode))
        return TAKE_FD(fd);
    _cleanup_close_ int copy = memfd_create("archive", MFD_CLOEXEC);
    char buf[65536];
    ssize_t n;
    while (copy >= 0 && (n = io_read_full(fd, buf, sizeof buf)) > 0) {
        if (io_write_all(copy, buf, (size_t)n) < 0)
            n = -1;
        if (n < 0)
            break;
    }
    if (copy < 0 || n < 0 || lseek(copy, 0, SEEK_SET) < 0)
        return error_set(err, "archive.unreadable", errno, "cannot read \"%s\"", path);
    return TAKE_FD(copy);
}

static cJSON *import_from(const char *id, const char *module, int archive, struct error *err)
{
    _cleanup_fields_ struct fields fields = FIELDS_INIT;
    _cleanup_close_ int fd = client_connect(id, err);
    _cleanup_free_ struct frame *f = client_frame_new();
    fields_add(&fields, "module", module);
    if (fd < 0 || client_send(fd, "import", &fields, &archive, 1, err) < 0 ||
        client_next(fd, id, f, err) < 0)
        return NULL;
    _cleanup_free_ char *text = frame_take_json(f);
    frame_close_fds(f);
    cJSON *o = text != NULL ? cJSON_Parse(text) : NULL;
    if (o == NULL)
        error_set(err, "protocol.frame", 0, "the keeper of \"%s\" sent nonsense", id);
    return o;
}

int cli_import(int argc, char **argv)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct versions_options o = {0};
    struct strings words = {0};
    struct error err = ERROR_INIT;
    int status = parse("import", "ID MODULE FILE", plain, 3, 3, &o, argc, argv, a, &words);
    if (status >= 0)
        return status;
    _cleanup_close_ int archive = open_archive(words.items[2], &err);
    cJSON *found = archive < 0 ? NULL : import_from(words.items[0], words.items[1], archive, &err);
    if (found == NULL)
        return cli_fail(&err, o.json, sandboxes_status(&err));
    if (o.json) {
        sandboxes_print(found);
        putchar('\n');
    } else {
        const cJSON *v, *list = cJSON_GetObjectItemCaseSensitive(found, "versions");
        cJSON_ArrayForEach(v, list)
        {
            printf("%.0f -> %.0f%s\n", sandboxes_number(v, "from"), sandboxes_number(v, "version"),
                   truth(v, "known") ? " (was here already)" : "");
        }
    }
    cJSON_Delete(found);
    return 0;
}
