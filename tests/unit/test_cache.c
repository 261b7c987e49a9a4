#include "base/io.h"
#include "compiler/cache.h"
#include "compiler/depfile.h"
#include "compiler/sources.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[] = "/tmp/cloche-cache-XXXXXX";

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
    setenv("CLOCHE_ROOT", root, 1);
    unsetenv("CLOCHE_CACHE_BYTES");
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(cache, .init = setup, .fini = teardown);

static void key_of(unsigned n, char key[65])
{
    digest_bytes(&n, sizeof n, key);
}

static int artifact_of(unsigned n, size_t size)
{
    int fd = memfd_create("a", MFD_CLOEXEC);
    for (size_t i = 0; i < size; i += sizeof n)
        cr_assert_eq(write(fd, &n, sizeof n), (ssize_t)sizeof n);
    return fd;
}

static void store(struct cache *c, unsigned n, size_t size, enum verdict verdict,
                  struct cache_dep *deps, size_t dep_count)
{
    char key[65];
    key_of(n, key);
    _cleanup_close_ int fd = verdict == VERDICT_OK ? artifact_of(n, size) : -1;
    struct cache_entry e = {.verdict = verdict,
                            .artifact_fd = fd,
                            .wall_ms = 1.5,
                            .cpu_ms = 0.1,
                            .memory_peak_bytes = 4096,
                            .deps = deps,
                            .dep_count = dep_count,
                            .diagnostics = "[]",
                            .diagnostics_size = 2,
                            .log = "a\0b\n",
                            .log_size = 4,
                            .detail = "why"};
    if (fd >= 0)
        digest_fd(fd, e.digest, &e.artifact_bytes);
    cache_store(c, key, &e);
}

static int lookup(struct cache *c, struct arena *a, unsigned n, struct cache_entry *e)
{
    char key[65];
    key_of(n, key);
    int r = cache_lookup(c, a, key, NULL, NULL, e);
    if (r == 1 && e->artifact_fd >= 0) {
        unsigned first = 0;
        cr_expect_eq(pread(e->artifact_fd, &first, sizeof first, 0), (ssize_t)sizeof first);
        cr_expect_eq(first, n);
        close(e->artifact_fd);
    }
    return r;
}

static struct cache_stats stats(void)
{
    struct cache_stats s;
    struct error err = ERROR_INIT;
    cr_assert_eq(cache_stats(&s, &err), 0, "%s", err.message);
    return s;
}

Test(cache, what_is_stored_comes_back)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    struct cache_entry e;
    cr_expect_eq(lookup(c, a, 1, &e), 0);
    store(c, 1, 5000, VERDICT_OK, NULL, 0);
    store(c, 2, 0, VERDICT_COMPILE_ERROR, NULL, 0);
    cr_assert_eq(lookup(c, a, 1, &e), 1);
    cr_expect_eq(e.artifact_bytes, 5000);
    double cost[] = {1.5, 0.1};
    cr_expect(memcmp(&e.wall_ms, cost, sizeof cost) == 0 && e.memory_peak_bytes == 4096);
    cr_expect(e.log_size == 4 && memcmp(e.log, "a\0b\n", 4) == 0);
    cr_expect_str_eq(e.diagnostics, "[]");
    cr_expect_str_eq(e.detail, "why");
    cr_assert_eq(lookup(c, a, 2, &e), 1);
    cr_expect(e.verdict == VERDICT_COMPILE_ERROR && e.artifact_fd == -1);
    store(c, 1, 6000, VERDICT_OK, NULL, 0);
    cr_expect_eq(lookup(c, a, 1, &e), 1);
    cr_expect_eq(e.artifact_bytes, 6000);
    store(c, 3, 10, VERDICT_TIME_LIMIT, NULL, 0);
    cr_expect_eq(lookup(c, a, 3, &e), 0, "timeouts are not kept");

    struct cache_stats s = stats();
    cr_expect(s.entries == 2 && s.hits == 3 && s.misses == 2 && s.stored == 3 && s.poisoned == 0);
}

static size_t file_size(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return (size_t)st.st_size;
}

/* Every byte of an entry and some of the artifact, flipped one at a time. */
Test(cache, a_flipped_byte_is_never_served)
{
    char key[65], path[2][256];
    key_of(7, key);
    snprintf(path[0], 256, "%s/cache/artifacts/%s/entry", root, key);
    snprintf(path[1], 256, "%s/cache/artifacts/%s/artifact", root, key);
    struct cache_dep dep = {.path = "/usr/include/stdio.h"};
    cr_assert(depfile_stamp(&dep));
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    store(c, 7, 4096, VERDICT_OK, &dep, 1);
    size_t flips = 0;
    for (int f = 0; f < 2; f++) {
        size_t size = file_size(path[f]), step = f == 0 ? 1 : 97;
        for (size_t at = 0; at < size; at += step, flips++) {
            _cleanup_arena_ struct arena *a = arena_new();
            struct cache_entry e;
            chmod(path[f], 0600);
            int fd = open(path[f], O_RDWR);
            char byte;
            cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
            byte ^= 0x20;
            cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
            close(fd);
            cr_expect_eq(lookup(c, a, 7, &e), 0, "%s, byte %zu", path[f], at);
            store(c, 7, 4096, VERDICT_OK, &dep, 1);
            cr_assert_eq(lookup(c, a, 7, &e), 1);
        }
    }
    cr_expect_eq(stats().poisoned, flips);
}

Test(cache, torn_and_foreign_entries_are_misses)
{
    static const char *const commands[] = {
        ": > entry",
        "truncate -s -1 entry",
        "truncate -s 100M entry",
        "rm artifact",
        "rm entry",
        "rm artifact; mkfifo artifact",
        "rm entry; mkdir entry",
        "rm artifact; ln -s /etc/passwd artifact",
        "echo x >> artifact",
        "rm entry; ln -s /etc/passwd entry",
    };
    char key[65], command[512];
    key_of(9, key);
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct cache_entry e;
        store(c, 9, 400, VERDICT_OK, NULL, 0);
        cr_assert_eq(lookup(c, a, 9, &e), 1);
        snprintf(command, sizeof command, "cd %s/cache/artifacts/%s && chmod 600 * && %s", root,
                 key, commands[i]);
        cr_assert_eq(system(command), 0);
        cr_expect_eq(lookup(c, a, 9, &e), 0, "%s", commands[i]);
        snprintf(command, sizeof command, "rm -rf %s/cache/artifacts/%s", root, key);
        cr_assert_eq(system(command), 0);
    }
}

Test(cache, system_headers_are_compared)
{
    char header[256];
    snprintf(header, sizeof header, "%s/h.h", root);
    int fd = open(header, O_CREAT | O_WRONLY, 0600);
    struct cache_dep dep = {.path = header};
    cr_assert(depfile_stamp(&dep));
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    _cleanup_arena_ struct arena *a = arena_new();
    struct cache_entry e;
    store(c, 4, 40, VERDICT_OK, &dep, 1);
    cr_expect_eq(lookup(c, a, 4, &e), 1);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
    cr_expect_eq(lookup(c, a, 4, &e), 0);
    cr_expect_eq(stats().poisoned, 0);
}

Test(cache, stays_below_its_size_and_drops_the_longest_unused)
{
    setenv("CLOCHE_CACHE_BYTES", "100000", 1);
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    _cleanup_arena_ struct arena *a = arena_new();
    struct cache_entry e;
    for (unsigned i = 0; i < 40; i++) {
        store(c, i, 8000, VERDICT_OK, NULL, 0);
        cr_expect_eq(lookup(c, a, 0, &e), 1, "the one in use is kept (%u)", i);
        cr_expect_leq(stats().bytes, 100000);
    }
    cr_expect_eq(lookup(c, a, 39, &e), 1);
    cr_expect_eq(lookup(c, a, 1, &e), 0);
    cr_expect_gt(stats().evicted, 20);
    store(c, 99, 60000, VERDICT_OK, NULL, 0);
    cr_expect_eq(lookup(c, a, 99, &e), 0, "one that would crowd out the rest is not kept");
    struct error err = ERROR_INIT;
    cr_expect_gt(cache_clear(&err), 5);
    cr_expect_eq(stats().entries, 0);
    cr_expect_eq(stats().bytes, 0);
}

Test(cache, verify_finds_and_removes_what_is_bad)
{
    _cleanup_cache_ struct cache *c = cache_open(NULL);
    for (unsigned i = 0; i < 5; i++)
        store(c, i, 100, VERDICT_OK, NULL, 0);
    char key[65], path[256];
    key_of(3, key);
    snprintf(path, sizeof path, "%s/cache/artifacts/%s/artifact", root, key);
    chmod(path, 0600);
    cr_assert_eq(truncate(path, 50), 0);
    struct cache_stats s;
    struct error err = ERROR_INIT;
    cr_expect_eq(cache_verify(&s, &err), 1);
    cr_expect_eq(s.entries, 4);
    cr_expect_eq(cache_verify(&s, &err), 0);
}

/* Eight writers and readers on the same keys: every hit is whole. */
Test(cache, many_processes_at_once)
{
    pid_t pids[8];
    for (int p = 0; p < 8; p++) {
        if ((pids[p] = fork()) != 0)
            continue;
        struct cache *c = cache_open(NULL);
        int bad = 0, hits = 0;
        for (unsigned i = 0; i < 200; i++) {
            struct arena *a = arena_new();
            struct cache_entry e;
            char key[65];
            unsigned n = (i * 7 + (unsigned)p) % 5, first = 0;
            key_of(n, key);
            if (cache_lookup(c, a, key, NULL, NULL, &e) == 1) {
                hits++;
                bad += pread(e.artifact_fd, &first, sizeof first, 0) != sizeof first || first != n;
                close(e.artifact_fd);
            }
            if (i % 3 == 0)
                store(c, n, 4000 + n, VERDICT_OK, NULL, 0);
            arena_free(a);
        }
        cache_close(c);
        _exit(bad != 0 || hits == 0);
    }
    for (int p = 0; p < 8; p++) {
        int status;
        waitpid(pids[p], &status, 0);
        cr_expect_eq(status, 0);
    }
    cr_expect_eq(stats().poisoned, 0);
    cr_expect_eq(stats().entries, 5);
}

Test(cache, without_a_place_nothing_is_kept_and_nothing_fails)
{
    setenv("CLOCHE_ROOT", "/proc/nowhere", 1);
    struct error err = ERROR_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    struct cache_entry e;
    struct cache *c = cache_open(&err);
    cr_assert_null(c);
    store(c, 1, 10, VERDICT_OK, NULL, 0);
    cr_expect_eq(lookup(c, a, 1, &e), 0);
    cr_expect_eq(cache_clear(&err), -1);
}

/* --- dependency lists
 * ------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    bool keep;
    size_t deps, project;
} depfiles[] = {
    {"/proc/self/fd/3: /src/a.c /usr/include/stdio.h \\\n /usr/include/stdlib.h\n", true, 3, 1},
    {"x: /src/a.c /src/sub/../b.h inc/../b.h\n", true, 3, 3},
    {"x: /src/a.c /src/with\\ blank.h\n", true, 2, 2},
    {"x: /src/a.c /proc/self/maps\n", false, 0, 0},
    {"x: /src/a.c /dev/zero\n", false, 0, 0},
    {"x: /src/a.c /etc/passwd\n", false, 0, 0},
    {"x: /src/a.c /include/cloche/module.h\n", true, 1, 1},
    {"x: /src/a.c /usr/include/none-such.h\n", false, 0, 0},
    {"x: /src/a.c /lib/../etc/passwd\n", false, 0, 0},
    {"x: /src/a.c ../../etc/passwd\n", false, 0, 0},
    {"x: /src/missing.c\n", false, 0, 0},
    {"", false, 0, 0},
    {"no rule at all", false, 0, 0},
    {"x: \\", false, 0, 0},
    {"x: a\\", false, 0, 0},
    {":", true, 0, 0},
};

Test(depfile, is_data_and_nothing_else)
{
    struct source_file files[] = {{.inside = "a.c", .digest = "1"},
                                  {.inside = "b.h", .digest = "2"},
                                  {.inside = "with blank.h", .digest = "3"}};
    struct sources s = {.files = files, .count = 3};
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings roots = {0};
    strings_add(a, &roots, "/usr/include");
    strings_add(a, &roots, "/lib");
    for (size_t i = 0; i < sizeof depfiles / sizeof *depfiles; i++) {
        struct cache_dep *deps = NULL;
        size_t count = 0, project = 0;
        bool keep = depfile_parse(a, depfiles[i].text, strlen(depfiles[i].text), &s, &roots, true,
                                  &deps, &count);
        cr_expect_eq(keep, depfiles[i].keep, "%s", depfiles[i].text);
        for (size_t k = 0; k < count; k++)
            project += deps[k].digest != NULL;
        if (keep)
            cr_expect(count == depfiles[i].deps && project == depfiles[i].project, "%s: %zu, %zu",
                      depfiles[i].text, count, project);
    }
}
