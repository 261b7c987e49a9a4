/* Profiles: those built in against the table that users are promised, and those installed. */
#include "base/cleanup.h"
#include "config/spec.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MIB          (1ULL << 20)

static char home[PATH_MAX];

/* A configuration directory of this test's own, so that the machine's is not seen. */
static void setup(void)
{
    snprintf(home, sizeof home, "/tmp/cloche-profiles-XXXXXX");
    cr_assert_not_null(mkdtemp(home));
    setenv("XDG_CONFIG_HOME", home, 1);
    static const char *const below[] = {"cloche", "cloche/profiles"};
    for (size_t i = 0; i < COUNT(below); i++) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/%s", home, below[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
}

static void teardown(void)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -r %s", home);
    cr_expect_eq(system(command), 0);
}

static void install(const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/cloche/profiles/%s.json", home, name);
    _cleanup_fclose_ FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    fputs(text, f);
}

TestSuite(spec_profiles, .init = setup, .fini = teardown);

Test(spec_profiles, built_in)
{
    static const struct {
        const char *name;
        uint64_t memory, processes, cpu_ms, wall_ms;
        enum spec_network network;
        const char *seccomp;
    } table[] = {
        {"student", 256 * MIB, 64, 2000, 10000, NETWORK_NONE, "tight"},
        {"compile", 1024 * MIB, 128, 10000, 30000, NETWORK_NONE, "build"},
        {"ci", 4096 * MIB, 4096, LIMIT_NONE, 3600000, NETWORK_NONE, "wide"},
        {"plugin", 128 * MIB, 100, LIMIT_NONE, LIMIT_NONE, NETWORK_NONE, "tight"},
        {"strict", 64 * MIB, 50, 60000, LIMIT_NONE, NETWORK_NONE, "tight"},
        {"standard", 256 * MIB, 100, 300000, LIMIT_NONE, NETWORK_NONE, "wide"},
        {"relaxed", 1024 * MIB, 1000, LIMIT_NONE, LIMIT_NONE, NETWORK_LOOPBACK, "wide"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        struct error err = ERROR_INIT;
        cr_assert_eq(spec_apply_profile(s, table[i].name, &err), 0, "%s", err.message);
        cr_expect_eq(spec_validate(s, &err), 0, "%s: %s", table[i].name, err.message);
        cr_expect_str_eq(s->profile, table[i].name);
        cr_expect_eq(s->resources.memory_bytes, table[i].memory, "%s", table[i].name);
        cr_expect_eq(s->resources.processes, table[i].processes, "%s", table[i].name);
        cr_expect_eq(s->cpu_time_ms, table[i].cpu_ms, "%s", table[i].name);
        cr_expect_eq(s->wall_ms, table[i].wall_ms, "%s", table[i].name);
        cr_expect_eq(s->network, table[i].network, "%s", table[i].name);
        cr_expect_str_eq(s->seccomp.name, table[i].seccomp, "%s", table[i].name);
        cr_expect(s->enforce_required && s->rootfs == ROOTFS_HOST && s->rootfs_readonly &&
                      s->no_new_privileges && s->capabilities.bounding == 0,
                  "%s", table[i].name);
        cr_expect_eq(s->args.count, 0, "%s", table[i].name);
    }
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(spec_apply_profile(s, "student", &err), 0);
    cr_expect_eq(s->output_bytes, 16 * MIB);
}

/* every /proc that shows more than processes has moby's list over it */
Test(spec_profiles, a_full_proc_is_masked)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names;
    spec_profile_names(a, &names);
    size_t full = 0;
    for (size_t i = 0; i < names.count; i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        cr_assert_eq(spec_apply_profile(s, names.items[i], NULL), 0);
        for (size_t k = 0; k < s->mount_count; k++) {
            const struct strings *data = &s->mounts[k].data;
            if (strcmp(s->mounts[k].destination, "/proc") != 0)
                continue;
            bool subset = false;
            for (size_t n = 0; n < data->count; n++)
                subset |= strcmp(data->items[n], "subset=pid") == 0;
            full += !subset;
            cr_expect(subset || (s->masked_paths.count >= 12 && s->readonly_paths.count >= 5), "%s",
                      names.items[i]);
        }
    }
    cr_expect_gt(full, 0, "nothing was compared");
}

Test(spec_profiles, names_and_descriptions)
{
    static const char *const expected[] = {"ci",      "compile",  "mine",   "plugin",
                                           "relaxed", "standard", "strict", "student"};
    install("mine", "{\"cloche\":{\"description\":\"my own\"}}");
    install("student", "{\"cloche\":{\"description\":\"another\"}}");
    install("not a name", "{}");
    _cleanup_arena_ struct arena *a = arena_new();
    struct strings names;
    spec_profile_names(a, &names);
    cr_assert_eq(names.count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        cr_expect_str_eq(names.items[i], expected[i]);
        const char *description = spec_profile_description(a, expected[i]);
        cr_assert_not_null(description, "%s", expected[i]);
        cr_expect_gt(strlen(description), 5, "%s", expected[i]);
    }
    cr_expect_str_eq(spec_profile_description(a, "mine"), "my own");
    cr_expect_str_eq(spec_profile_description(a, "student"), "another");
    cr_expect_null(spec_profile_description(a, "nothing"));
    cr_expect_null(spec_profile_description(a, "../../etc/passwd"));
}

Test(spec_profiles, unknown)
{
    static const struct {
        const char *name, *message;
    } table[] = {
        {"studnet", "there is no profile \"studnet\"; did you mean \"student\"?"},
        {"zzzzzzzz", "there is no profile \"zzzzzzzz\""},
        {"", "there is no profile \"\""},
        {"../profiles/student", "there is no profile \"../profiles/student\""},
        {"student.json", "there is no profile \"student.json\""},
        {"a\nb", "there is no profile \"a\\x0ab\""},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        _cleanup_spec_ struct spec *s = spec_new();
        struct error err = ERROR_INIT;
        cr_expect_eq(spec_apply_profile(s, table[i].name, &err), -1, "%s", table[i].name);
        cr_expect_str_eq(err.code, "spec.unknown_profile");
        cr_expect_str_eq(err.message, table[i].message);
        cr_expect_str_eq(err.hint, "use one of ci, compile, plugin, relaxed, standard, strict, "
                                   "student");
    }
}

Test(spec_profiles, the_users_own_comes_first)
{
    install("student", "{\"cloche\":{\"extends\":\"student\",\"limits\":{\"wall_ms\":7}}}");
    install("mine", "{\"cloche\":{\"extends\":\"student\",\"limits\":{\"cpu_ms\":5}}}");
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(spec_apply_profile(s, "mine", &err), 0, "%s", err.message);
    cr_expect_eq(s->wall_ms, 7, "the installed student");
    cr_expect_eq(s->cpu_time_ms, 5);
    cr_expect_eq(s->resources.memory_bytes, 256 * MIB, "the built-in student below it");
    cr_expect_str_eq(s->profile, "mine");

    _cleanup_spec_ struct spec *t = spec_new();
    static const char file[] = "{\"cloche\":{\"extends\":\"mine\",\"limits\":{\"cpu_ms\":6}}}";
    cr_assert_eq(spec_apply_json(t, file, strlen(file), NULL, &err), 0, "%s", err.message);
    cr_expect(t->wall_ms == 7 && t->cpu_time_ms == 6, "a file extends a profile, too");
}

Test(spec_profiles, broken_ones)
{
    static const struct {
        const char *name, *text, *code, *message;
    } table[] = {
        {"circle", "{\"cloche\":{\"extends\":\"ring\"}}", "spec.invalid",
         "extend each other in a circle"},
        {"itself", "{\"cloche\":{\"extends\":\"itself\"}}", "spec.unknown_profile",
         "there is no profile \"itself\""},
        {"orphan", "{\"cloche\":{\"extends\":\"nobody\"}}", "spec.unknown_profile",
         "there is no profile \"nobody\""},
        {"syntax", "{\n\"cloche\":}", "spec.syntax", "line 2, column 10"},
        {"wrong", "{\"cloche\":{\"limits\":{\"wall_ms\":0}}}", "spec.invalid",
         "cloche.limits.wall_ms: expected a number of milliseconds > 0, found 0"},
    };
    install("ring", "{\"cloche\":{\"extends\":\"circle\"}}");
    for (size_t i = 0; i < COUNT(table); i++) {
        install(table[i].name, table[i].text);
        _cleanup_spec_ struct spec *s = spec_new();
        struct error err = ERROR_INIT;
        char file[64];
        snprintf(file, sizeof file, "/%s.json: ", table[i].name);
        cr_expect_eq(spec_apply_profile(s, table[i].name, &err), -1, "%s", table[i].name);
        cr_expect_str_eq(err.code, table[i].code, "%s", table[i].name);
        cr_expect_not_null(strstr(err.message, table[i].message), "%s", err.message);
        cr_expect_not_null(strstr(err.message, file), "which file? %s", err.message);
    }
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/cloche/profiles/folder.json", home);
    cr_assert_eq(mkdir(path, 0700), 0);
    _cleanup_spec_ struct spec *s = spec_new();
    struct error err = ERROR_INIT;
    cr_expect_eq(spec_apply_profile(s, "folder", &err), -1);
    cr_expect_str_eq(err.code, "spec.unreadable");
}

/* A start pays for this. The bound is ten times what it takes, for slow machines. */
Test(spec_profiles, applying_one_is_fast)
{
    unsetenv("XDG_CONFIG_HOME");
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 200; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        struct spec *s = spec_new();
        int r = spec_apply_profile(s, "student", NULL) | spec_validate(s, NULL);
        clock_gettime(CLOCK_MONOTONIC, &end);
        cr_assert_eq(r, 0);
        spec_free(s);
        uint64_t ns = (uint64_t)(end.tv_sec - start.tv_sec) * 1000000000U +
                      (uint64_t)(end.tv_nsec - start.tv_nsec);
        if (ns < best)
            best = ns;
    }
#if !defined(__SANITIZE_ADDRESS__)
    cr_expect_lt(best, 100000U, "%llu ns", (unsigned long long)best);
#endif
}
