/* A tests directory as data: NAME.in with NAME.out or NAME.ans, and tests.json over it. */
#include "runtime/judge.h"

#include "base/io.h"
#include "config/json.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TESTS_MAX      10000
#define TESTS_JSON_MAX (4U << 20)
#define ANSWER_MAX     (256U << 20)
#define INPUT_MAX      (1ULL << 30)

struct loader {
    struct judge_tests *t;
    struct arena *a;
    int dir;
    struct json_reader reader;
    struct strings *files; /* names in the directory, sorted */
    struct judge_limits limits;
    struct strings arguments;
    double points;
    const cJSON *list;
};

/* --- tests.json --- */

static void read_real(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble) || value->valuedouble < 0)
        json_wrong(r, at, value, "a number of at least 0");
    else
        *(double *)to = value->valuedouble;
}

static const struct json_field limit_fields[] = {
    JSON_FIELD("cpu_ms", json_read_u64, struct judge_limits, cpu_ms, .min = 1, .max = 86400000),
    JSON_FIELD("wall_ms", json_read_u64, struct judge_limits, wall_ms, .min = 1, .max = 86400000),
    JSON_FIELD("memory_bytes", json_read_u64, struct judge_limits, memory_bytes, .min = 1,
               .max = UINT64_MAX / 2),
    JSON_FIELD("output_bytes", json_read_u64, struct judge_limits, output_bytes, .min = 1,
               .max = 1U << 30),
    JSON_FIELD("processes", json_read_u64, struct judge_limits, processes, .min = 1,
               .max = 1 << 22),
};

static void read_limits(struct json_reader *r, const struct json_at *at, const cJSON *value,
                        void *to, const struct json_field *field)
{
    (void)field;
    if (json_is_object(r, at, value))
        json_object(r, at, value, to, limit_fields, COUNT_OF(limit_fields), JSON_STRICT);
}

static void read_checker(struct json_reader *r, const struct json_at *at, const cJSON *value,
                         void *to, const struct json_field *field)
{
    (void)field;
    struct checker *c = to;
    const char *word;
    if (!json_get_string(r, at, value, &word))
        return;
    if (checker_parse(word, &c->kind))
        return;
    c->kind = CHECKER_PROGRAM;
    c->program = word;
}

static void read_list(struct json_reader *r, const struct json_at *at, const cJSON *value, void *to,
                      const struct json_field *field)
{
    (void)field;
    if (json_is_array(r, at, value, "a list of tests"))
        *(const cJSON **)to = value;
}

struct head {
    struct checker checker;
    const char *interactor;
    struct judge_limits limits;
    struct strings arguments;
    double points;
    const cJSON *list;
};

static const struct json_field head_fields[] = {
    JSON_FIELD("checker", read_checker, struct head, checker, .max = 0),
    JSON_FIELD("absolute", read_real, struct head, checker.absolute, .max = 0),
    JSON_FIELD("relative", read_real, struct head, checker.relative, .max = 0),
    JSON_FIELD("interactor", json_read_string, struct head, interactor, .max = 0),
    JSON_FIELD("limits", read_limits, struct head, limits, .max = 0),
    JSON_FIELD("arguments", json_read_strings, struct head, arguments, .max = 0),
    JSON_FIELD("points", read_real, struct head, points, .max = 0),
    JSON_FIELD("tests", read_list, struct head, list, .max = 0),
};

static const struct json_field test_fields[] = {
    JSON_FIELD("name", json_read_string, struct judge_test, name, .max = 0),
    JSON_FIELD("input", json_read_string, struct judge_test, input_path, .max = 0),
    JSON_FIELD("answer", json_read_string, struct judge_test, answer_path, .max = 0),
    JSON_FIELD("points", read_real, struct judge_test, points, .max = 0),
    JSON_FIELD("arguments", json_read_strings, struct judge_test, arguments, .max = 0),
    JSON_FIELD("limits", read_limits, struct judge_test, limits, .max = 0),
};

/* --- the directory --- */

static struct judge_test *add_test(struct loader *l, const char *name)
{
    struct judge_tests *t = l->t;
    t->items = arena_grow(l->a, t->items, t->count, sizeof *t->items);
    struct judge_test *test = &t->items[t->count++];
    test->name = name;
    test->input_fd = -1;
    test->points = l->points;
    test->limits = l->limits;
    test->arguments = l->arguments;
    return test;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static bool has_file(const struct loader *l, const char *name)
{
    for (size_t i = 0; i < l->files->count; i++) {
        if (strcmp(l->files->items[i], name) == 0)
            return true;
    }
    return false;
}

static const char *answer_of(struct loader *l, const char *stem)
{
    static const char *const ends[] = {".out", ".ans", ".a"};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        const char *name = arena_printf(l->a, "%s%s", stem, ends[i]);
        if (has_file(l, name))
            return name;
    }
    return NULL;
}

static void scan_tests(struct loader *l)
{
    for (size_t i = 0; i < l->files->count; i++) {
        const char *name = l->files->items[i];
        if (ends_with(name, ".in")) {
            const char *stem = arena_strndup(l->a, name, strlen(name) - 3);
            struct judge_test *test = add_test(l, stem);
            test->input_path = name;
            test->answer_path = answer_of(l, stem);
        }
        if (ends_with(name, ".out") || ends_with(name, ".ans")) {
            const char *stem = arena_strndup(l->a, name, strlen(name) - 4);
            if (!has_file(l, arena_printf(l->a, "%s.in", stem)))
                problem_add(&l->reader.problems, name,
                            "an answer without a test: there is no %s.in", stem);
        }
    }
}

static void listed_tests(struct loader *l)
{
    struct json_at root = {.key = "tests"};
    JSON_EACH(item, at, &root, l->list)
    {
        struct judge_test *test = add_test(l, NULL);
        if (!json_is_object(&l->reader, &at, item))
            continue;
        json_object(&l->reader, &at, item, test, test_fields, COUNT_OF(test_fields), JSON_STRICT);
        if (test->input_path != NULL && ends_with(test->input_path, ".in") &&
            test->answer_path == NULL)
            test->answer_path =
                answer_of(l, arena_strndup(l->a, test->input_path, strlen(test->input_path) - 3));
        if (test->name == NULL)
            test->name = test->input_path != NULL ? test->input_path
                                                  : arena_printf(l->a, "%zu", l->t->count);
    }
}

/* --- contents --- */

static int open_file(struct loader *l, const char *name, uint64_t max, uint64_t *ret_size)
{
    struct stat st;
    int fd = openat(l->dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        problem_add(&l->reader.problems, name, "cannot be read: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        problem_add(&l->reader.problems, name, "is not a regular file");
    } else if ((uint64_t)st.st_size > max) {
        problem_add(&l->reader.problems, name, "is larger than %llu MiB",
                    (unsigned long long)(max >> 20));
    } else {
        *ret_size = (uint64_t)st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void load_input(struct loader *l, struct judge_test *test)
{
    uint64_t size;
    _cleanup_close_ int fd = open_file(l, test->input_path, INPUT_MAX, &size);
    if (fd < 0)
        return;
    _cleanup_close_ int memory = memfd_create("input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char buf[65536];
    ssize_t n = memory < 0 ? -1 : 1;
    while (n > 0) {
        n = io_read_full(fd, buf, sizeof buf);
        if (n > 0 && io_write_all(memory, buf, (size_t)n) < 0)
            n = -1;
    }
    if (n < 0 || fchmod(memory, 0444) < 0 ||
        io_seal(memory, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        problem_add(&l->reader.problems, test->input_path, "cannot be read: %s", strerror(errno));
        return;
    }
    test->input_fd = TAKE_FD(memory);
}

static void load_answer(struct loader *l, struct judge_test *test)
{
    uint64_t size;
    _cleanup_close_ int fd = open_file(l, test->answer_path, ANSWER_MAX, &size);
    if (fd < 0)
        return;
    char *text = arena_alloc(l->a, (size_t)size + 1);
    ssize_t n = io_read_full(fd, text, (size_t)size);
    if (n < 0) {
        problem_add(&l->reader.problems, test->answer_path, "cannot be read: %s", strerror(errno));
        return;
    }
    test->answer = text;
    test->answer_size = (size_t)n;
}

static int by_version(const void *x, const void *y)
{
    return strverscmp(*(char *const *)x, *(char *const *)y);
}

static int list_files(struct loader *l, struct error *err)
{
    int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL)
        return error_set(err, "judge.tests", errno, "cannot read the tests in \"%s\"",
                         l->t->directory);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] != '.')
            strings_add(l->a, l->files, e->d_name);
    }
    if (l->files->count > 0)
        qsort(l->files->items, l->files->count, sizeof *l->files->items, by_version);
    return 0;
}

/* A program named in tests.json stands in the tests directory. */
static const char *program_path(struct loader *l, const char *key, const char *name)
{
    if (name == NULL)
        return NULL;
    if (strchr(name, '/') != NULL || !has_file(l, name)) {
        problem_add(&l->reader.problems, key,
                    "expected tokens, exact, float, unordered, or a file of this directory, found "
                    "%s",
                    problem_quote(l->a, name));
        return NULL;
    }
    return arena_printf(l->a, "%s/%s", l->t->directory, name);
}

static void judge_all(struct loader *l)
{
    struct judge_tests *t = l->t;
    bool answers_needed = t->checker.kind != CHECKER_PROGRAM && t->interactor == NULL;
    if (t->count == 0)
        problem_add(&l->reader.problems, "tests",
                    "there are none: NAME.in with NAME.out or NAME.ans");
    if (t->count > TESTS_MAX) {
        problem_add(&l->reader.problems, "tests", "more than %d", TESTS_MAX);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        struct judge_test *test = &t->items[i];
        t->max_points += test->points;
        if (test->input_path != NULL)
            load_input(l, test);
        if (test->answer_path != NULL)
            load_answer(l, test);
        else if (answers_needed)
            problem_add(&l->reader.problems, test->name,
                        "a test without an answer: there is no "
                        "NAME.out or NAME.ans beside it");
    }
}

int judge_tests_load(struct judge_tests **ret, const char *directory, struct error *err)
{
    struct arena *a = arena_new();
    struct judge_tests *t = arena_alloc(a, sizeof *t);
    *t = (struct judge_tests){.arena = a, .directory = arena_strdup(a, directory)};
    struct strings files = {0};
    struct loader l = {.t = t, .a = a, .files = &files, .points = 1};
    l.reader = (struct json_reader){.arena = a, .problems = {.arena = a}};
    _cleanup_close_ int dir = l.dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        error_set(err, "judge.tests", errno, "cannot open the tests directory \"%s\"", directory);
        error_path(err, directory);
        arena_free(a);
        return -1;
    }
    _cleanup_json_ cJSON *root = NULL;
    int result = list_files(&l, err);
    struct head head = {.checker = {.absolute = 1e-6, .relative = 1e-6}, .points = 1};
    if (result == 0 && has_file(&l, "tests.json")) {
        uint64_t size = 0;
        _cleanup_close_ int fd = open_file(&l, "tests.json", TESTS_JSON_MAX, &size);
        char *text = arena_alloc(a, (size_t)size + 1);
        ssize_t n = fd < 0 ? 0 : io_read_full(fd, text, (size_t)size);
        root = fd < 0 || n < 0 ? NULL : json_parse(a, text, (size_t)n, err);
        if (root == NULL)
            result = error_wrap(err, "%s/tests.json", directory);
        else if (json_is_object(&l.reader, NULL, root))
            json_object(&l.reader, NULL, root, &head, head_fields, COUNT_OF(head_fields),
                        JSON_STRICT);
    }
    if (result == 0) {
        t->checker = head.checker;
        t->checker.program = program_path(&l, "checker", head.checker.program);
        t->interactor = program_path(&l, "interactor", head.interactor);
        l.limits = head.limits;
        l.arguments = head.arguments;
        l.points = head.points;
        l.list = head.list;
        if (l.list != NULL)
            listed_tests(&l);
        else
            scan_tests(&l);
        judge_all(&l);
        result = problems_report(&l.reader.problems, directory, err);
    }
    if (result < 0) {
        if (err != NULL)
            err->code = "judge.tests";
        cJSON_Delete(TAKE_PTR(root));
        judge_tests_free(t);
        return -1;
    }
    cJSON_Delete(TAKE_PTR(root));
    *ret = t;
    return 0;
}

void judge_tests_free(struct judge_tests *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].input_fd >= 0)
            close(t->items[i].input_fd);
    }
    arena_free(t->arena);
}
