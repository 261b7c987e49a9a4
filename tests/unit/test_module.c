/* The ABI as a worker uses it: modules of every compiler, loaded and driven. */
#include "tests/unit/modules.h"
#include "versions/state.h"

#include <criterion/criterion.h>
#include <dlfcn.h>

struct answer {
    struct cloche_reply api;
    char text[256];
    size_t used;
};

static int answer_write(struct cloche_reply *api, const void *data, size_t size)
{
    struct answer *a = api->opaque;
    if (size > sizeof a->text - 1 - a->used)
        return -1;
    memcpy(a->text + a->used, data, size);
    a->used += size;
    a->text[a->used] = '\0';
    return 0;
}

static const char *ask(const struct cloche_module *m, void *self, const char *data)
{
    static struct answer a;
    a = (struct answer){.api = {.struct_size = sizeof a.api, .opaque = &a, .write = answer_write}};
    const struct cloche_request q = {
        .struct_size = sizeof q, .id = 1, .data = data, .size = strlen(data)};
    cr_expect_eq(m->handle(self, &q, &a.api), 0);
    return a.text;
}

/* each load is a file of its own, as each version is */
static const struct cloche_module *load(const char *name, const char *command)
{
    char path[512], file[64];
    _cleanup_free_ char *data = NULL;
    snprintf(file, sizeof file, "loaded-%s-%d.so", name, getpid());
    modules_build(file, command, &data);
    snprintf(path, sizeof path, "./%.400s/%s", modules_dir(), file);
    void *library = dlopen(path[2] == '/' ? path + 2 : path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(library, "%s", dlerror());
    unlink(path[2] == '/' ? path + 2 : path);
    const struct cloche_module *m = dlsym(library, CLOCHE_MODULE_SYMBOL);
    cr_assert_not_null(m);
    return m;
}

static const struct {
    const char *name, *command;
} compilers[] = {
    {"gcc", GCC "@D/"},
    {"clang", "clang -O2 " SHARED "@I -o @O @D/"},
    {"g++", "g++ -O2 " SHARED "@I -o @O -x c++ @D/"},
    {"tcc", "tcc -c -fPIC @I -o @O.o @D/counter.c && ld -shared -z noexecstack -o @O @O.o && "
            "rm @O.o && true @D/"},
};

static int snapshot(const struct cloche_module *m, void *self, uint32_t version)
{
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd;
    cr_assert_eq(state_writer_open(&w, m->name, version, m->abi.state_schema, 0, &err), 0);
    cr_assert_eq(m->save_state(self, &w.api), 0);
    cr_assert_eq(state_writer_seal(&w, 0, &fd, &err), 0, "%s", err.message);
    return fd;
}

/* through migrate of @m, from one schema to another */
static int migrated(const struct cloche_module *m, int from, uint32_t to)
{
    struct state_reader r;
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd;
    const struct state_expect e = {.module = "counter", .any_schema = true};
    cr_assert_eq(state_reader_open(&r, from, &e, &err), 0, "%s", err.message);
    cr_assert_eq(state_writer_open(&w, "counter", 1, to, 0, &err), 0);
    cr_assert_eq(m->migrate(r.header.schema, to, &r.api, &w.api), 0);
    cr_expect_eq(r.api.remaining, 0);
    cr_assert_eq(state_writer_seal(&w, 0, &fd, &err), 0);
    state_reader_close(&r);
    close(from);
    return fd;
}

static void restore(const struct cloche_module *m, void *self, int fd)
{
    struct state_reader r;
    struct error err = ERROR_INIT;
    const struct state_expect e = {.module = "counter", .schema = m->abi.state_schema};
    cr_assert_eq(state_reader_open(&r, fd, &e, &err), 0, "%s", err.message);
    cr_assert_eq(m->load_state(self, &r.api), 0);
    state_reader_close(&r);
    close(fd);
}

Test(module, counts_and_migrates_there_and_back)
{
    const struct cloche_host host = {.struct_size = sizeof host};
    for (size_t i = 0; i < sizeof compilers / sizeof *compilers; i++) {
        if (!modules_have(compilers[i].name))
            continue;
        char command[1024];
        void *self = NULL, *other = NULL;
        snprintf(command, sizeof command, "%scounter.c", compilers[i].command);
        const struct cloche_module *m = load(compilers[i].name, command);
        cr_expect_str_eq(m->name, "counter");
        cr_assert_eq(m->init(&host, &self), 0);
        cr_expect_str_eq(ask(m, self, ""), "1", "%s", compilers[i].name);
        cr_expect_str_eq(ask(m, self, ""), "2");

        /* 2 -> 1 -> 2, into a second copy of it */
        int fd = migrated(m, migrated(m, snapshot(m, self, 2), 1), 2);
        snprintf(command, sizeof command, "%s-again", compilers[i].name);
        const struct cloche_module *n = load(command, GCC "@D/counter.c");
        cr_assert_eq(n->init(&host, &other), 0);
        restore(n, other, fd);
        cr_expect_str_eq(ask(n, other, ""), "3", "%s", compilers[i].name);
        cr_expect_str_eq(ask(m, self, ""), "3", "the first one does not notice");
    }
}

Test(module, smallest_one_answers)
{
    const struct cloche_module *m = load("smallest", GCC "@D/smallest.c");
    const struct cloche_host host = {.struct_size = sizeof host};
    void *self = NULL;
    cr_assert_eq(m->init(&host, &self), 0);
    cr_expect_str_eq(ask(m, self, "hello"), "hello");
    cr_expect_null(m->save_state);
    cr_expect_eq(m->abi.state_schema, 0);
}

Test(module, numbers_are_written_whole)
{
    static const struct {
        int64_t number;
        const char *text;
    } cases[] = {{0, "0"},
                 {7, "7"},
                 {-1, "-1"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a = {.api = {.opaque = &a, .write = answer_write}};
        cr_expect_eq(cloche_reply_number(&a.api, cases[i].number), 0);
        cr_expect_str_eq(a.text, cases[i].text);
    }
}
