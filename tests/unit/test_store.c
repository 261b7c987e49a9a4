#include "tests/unit/modules.h"
#include "tests/unit/sandbox_dir.h"
#include "versions/db.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

/* --- what must always hold ------------------------------------------------------------------- */

static void expect_file(const struct sandbox_dir *d, const char *path, const char *text)
{
    char buf[4096];
    cr_assert(io_read_file_at(d->fd, path, buf, sizeof buf) >= 0, "%s: %s", path, strerror(errno));
    if (text != NULL)
        cr_expect_str_eq(buf, text, "%s", path);
}

static size_t entries(const struct sandbox_dir *d, const char *path)
{
    size_t count = 0;
    int fd = openat(d->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.' && strcmp(e->d_name, "current") != 0;
    return count;
}

/* every row has its bytes, every directory its row, nothing is left in the stage */
static size_t expect_consistent(struct versions *v, const struct sandbox_dir *d, const char *when)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct version *rows;
    size_t count;
    struct error err = ERROR_INIT;
    cr_assert_eq(store_list(v, a, "m", false, &rows, &count, &err), 0, "%s", err.message);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(store_check(v, "m", rows[i].number, &err), 0, "%s: %s", when, err.message);
    cr_expect_eq(entries(d, "modules/m"), count, "%s: %zu directories, %zu rows", when,
                 entries(d, "modules/m"), count);
    cr_expect_eq(entries(d, "stage"), 0, "%s: something is left in the stage", when);
    return count;
}

/* history: sequence 1, 2, 3, ..., one terminal row an attempt */
static void expect_history(struct versions *v, const char *when)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct history_row *rows;
    size_t count;
    struct error err = ERROR_INIT;
    bool ended[64] = {false};
    cr_assert_eq(history_list(v, a, NULL, 0, &rows, &count, &err), 0, "%s", err.message);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(rows[i].sequence, i + 1, "%s", when);
        cr_assert_lt(rows[i].attempt, 64);
        cr_expect_not(ended[rows[i].attempt], "%s: a row behind the end", when);
        ended[rows[i].attempt] = attempt_state_terminal(rows[i].state);
    }
    for (size_t i = 0; i < count; i++)
        cr_expect(ended[rows[i].attempt], "%s: attempt %zu has no end", when,
                  (size_t)rows[i].attempt);
}

/* --- publish --------------------------------------------------------------------------------- */

Test(store, publishes_immutable_numbered_files)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct made_artifact m;
    struct error err = ERROR_INIT;
    struct version row;
    uint32_t number;
    umask(077);
    char *depends[] = {(char[]){"prices"}, (char[]){"users"}, NULL};
    const struct strings needs = {.items = depends, .count = 2};
    make_artifact(&m, 1, 5);
    m.artifact.depends = &needs;
    cr_assert_eq(store_publish(v, "m", &m.artifact, 0, &number, &err), 0, "%s", err.message);
    cr_expect_eq(number, 1);
    cr_assert_eq(store_set_current(v, "m", 1, &err), 0, "%s", err.message);

    expect_file(&d, "modules/m/1/module.so", "artifact number 1");
    expect_file(&d, "modules/m/1/build.log", "no warnings");
    char manifest[4096], target[16] = "";
    cr_assert_gt(io_read_file_at(d.fd, "modules/m/1/manifest.json", manifest, sizeof manifest), 0);
    cJSON *json = cJSON_Parse(manifest);
    cr_assert_not_null(json);
    cr_expect_eq((int)cJSON_GetObjectItem(json, "version")->valuedouble, 1);
    cr_expect_eq((int)cJSON_GetObjectItem(json, "state_schema")->valuedouble, 5);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "depends")), 2);
    cr_expect_eq(readlinkat(d.fd, "modules/m/current", target, sizeof target - 1), 1);
    cr_expect_str_eq(target, "1");
    struct stat st;
    cr_assert_eq(fstatat(d.fd, "modules/m/1/module.so", &st, 0), 0);
    cr_expect_eq(st.st_mode & 07777, 0444, "the worker is another user");
    cr_assert_eq(fstatat(d.fd, "modules/m/1", &st, 0), 0);
    cr_expect_eq(st.st_mode & 07777, 0755);

    cr_assert_eq(store_find(v, a, "m", 1, &row, &err), 0);
    cr_expect_str_eq(row.sha256, cJSON_GetObjectItem(json, "sha256")->valuestring);
    cr_expect(row.schema == 5 && row.status == VERSION_PUBLISHED && !row.pinned);
    cr_assert_eq(row.depends.count, 2);
    cr_expect_str_eq(row.depends.items[1], "users");
    cJSON_Delete(json);
    char command[700];
    snprintf(command, sizeof command, "echo '%s  %s/modules/m/1/module.so' | sha256sum -c --quiet",
             row.sha256, d.path);
    cr_expect_eq(system(command), 0);
}

Test(store, same_bytes_take_no_number)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    struct made_artifact m;
    struct error err = ERROR_INIT;
    uint32_t number;
    publish_version(v, 1, false);
    publish_version(v, 2, false);
    cr_expect_eq(store_publish(v, "m", make_artifact(&m, 2, 0), 0, &number, &err), 1);
    cr_expect_eq(number, 2);
    cr_expect_eq(store_publish(v, "m", make_artifact(&m, 1, 0), 0, &number, &err), 0,
                 "only the newest counts");
    cr_expect_eq(number, 3);
    cr_expect_eq(store_publish(v, "n", make_artifact(&m, 1, 0), 0, &number, &err), 0,
                 "another module");
    cr_expect_eq(number, 1);
    expect_consistent(v, &d, "unchanged");
}

Test(store, refuses_names_that_are_paths)
{
    static const char *const names[] = {"", "..", "../m", "a/b", ".hidden", "m\n"};
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    struct made_artifact m;
    uint32_t number;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct error err = ERROR_INIT;
        cr_expect_eq(store_publish(v, names[i], make_artifact(&m, 1, 0), 0, &number, &err), -1);
        cr_expect_str_eq(err.code, "store.unknown_module");
    }
}

Test(store, unknown_versions_are_told_with_the_known)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct version row;
    cr_expect_eq(store_find(v, a, "m", 1, &row, &err), -1);
    cr_expect_str_eq(err.code, "store.unknown_module");
    publish_version(v, 1, false);
    publish_version(v, 2, false);
    err = (struct error)ERROR_INIT;
    cr_expect_eq(store_open(v, "m", 9, &err), -1);
    cr_expect_str_eq(err.code, "store.unknown_version");
    cr_expect_str_eq(err.hint, "it has 2, 1");
}

/* Whatever fails: a clear error, version 1 untouched, nothing left, and the next publish works. */
Test(store, failed_publishes_leave_nothing)
{
    static const int errnos[] = {ENOSPC, EIO};
    for (size_t e = 0; e < 2; e++) {
        long at = 1;
        for (;; at++) {
            _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
            _cleanup_versions_ struct versions *v = open_versions(&d);
            struct made_artifact m;
            struct error err = ERROR_INIT;
            uint32_t number = 0;
            publish_version(v, 1, true);
            fault_set(at, errnos[e]);
            int r = store_publish(v, "m", make_artifact(&m, 2, 0), 0, &number, &err);
            fault_clear();
            if (fault_name[0] == '\0') {
                cr_expect_eq(r, 0);
                break;
            }
            bool harmless = strcmp(fault_name, "commit after") == 0; /* only there to be killed */
            if (!harmless) {
                cr_expect_eq(r, -1, "after %s", fault_name);
                cr_expect_str_eq(err.code,
                                 errnos[e] == ENOSPC                        ? "store.full"
                                 : strcmp(fault_name, "commit before") == 0 ? "store.io"
                                                                            : "store.unwritable",
                                 "after %s: %s", fault_name, err.message);
            }
            cr_expect_eq(expect_consistent(v, &d, fault_name), harmless ? 2 : 1, "after %s",
                         fault_name);
            uint32_t next = publish_version(v, 3, true);
            cr_expect_geq(next, 2);
            expect_consistent(v, &d, fault_name);
        }
        cr_expect_gt(at, 15, "only %ld steps", at);
    }
}

/* --- collection ------------------------------------------------------------------------------ */

Test(store, collects_by_rule)
{
    static const struct {
        const char *what;
        const char *versions; /* one letter a version: g(ood), b(ad or unjudged), p(inned) */
        uint32_t in_use;
        unsigned good, total;
        const char *kept;
    } cases[] = {
        {"nothing to do", "gbgbg", 5, 0, 0, "1,2,3,4,5"},
        {"ten in all", "bbbbbbbbbbbb", 12, 0, 0, "3,4,5,6,7,8,9,10,11,12"},
        {"five GOOD ones survive", "gggggggbbbbbbbbbb", 17, 0, 0, "3,4,5,6,7,13,14,15,16,17"},
        {"serving is old", "bbbbbbbbbbbb", 1, 0, 0, "1,4,5,6,7,8,9,10,11,12"},
        {"pinned", "pbpbbbbbbbbb", 12, 0, 0, "1,3,5,6,7,8,9,10,11,12"},
        {"few", "gggbbb", 3, 1, 2, "3,6"},
        {"protected are more than the total", "ggggg", 5, 4, 1, "2,3,4,5"},
        {"one", "bbb", 2, 1, 1, "2,3"},
        {"the newest, which pins leave no room", "ppb", 1, 1, 2, "1,2,3"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
        _cleanup_versions_ struct versions *v = open_versions(&d);
        _cleanup_arena_ struct arena *a = arena_new();
        struct error err = ERROR_INIT;
        struct version *rows;
        size_t count, removed, all = strlen(cases[c].versions);
        for (size_t i = 0; i < all; i++) {
            uint32_t n = publish_version(v, (unsigned)i, cases[c].versions[i] == 'g');
            if (cases[c].versions[i] == 'p')
                cr_assert_eq(store_pin(v, "m", n, true, &err), 0);
        }
        const struct store_keep keep = {.in_use = &cases[c].in_use,
                                        .in_use_count = 1,
                                        .good = cases[c].good,
                                        .total = cases[c].total};
        cr_assert_eq(store_collect(v, "m", &keep, &removed, &err), 0, "%s", err.message);
        cr_assert_eq(store_list(v, a, "m", false, &rows, &count, &err), 0);
        char kept[128] = "";
        for (size_t i = 0; i < count; i++)
            snprintf(kept + strlen(kept), sizeof kept - strlen(kept), "%s%u", i > 0 ? "," : "",
                     rows[i].number);
        cr_expect_str_eq(kept, cases[c].kept, "%s: %s", cases[c].what, kept);
        cr_expect_eq(removed, all - count);
        expect_consistent(v, &d, cases[c].what);
        cr_expect_eq(publish_version(v, 1000, false), all + 1, "numbers are never used again");
    }
}

/* Not those with the highest numbers: a rollback would have nothing to go back to. */
Test(store, what_was_good_last_is_kept)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    struct error err = ERROR_INIT;
    uint64_t attempt;
    size_t removed;
    for (unsigned i = 0; i < 7; i++)
        publish_version(v, i, true);
    const int64_t then = db_now_ms();
    while (db_now_ms() == then)
        continue;
    const struct attempt_start back = {
        .module = "m", .kind = "rollback", .cause = "command", .from = 7, .to = 1};
    const struct attempt_end good = {.state = ATTEMPT_GOOD};
    cr_assert_eq(history_start(v, &back, &attempt, &err), 0);
    cr_assert_eq(history_note(v, attempt, ATTEMPT_INTENT, 1, NULL, &err), 0);
    cr_assert_eq(history_note(v, attempt, ATTEMPT_ACTIVATED, 1, NULL, &err), 0);
    cr_assert_eq(history_end(v, attempt, &good, &err), 0);
    publish_version(v, 8, true);
    const struct store_keep keep = {.good = 2, .total = 1};
    cr_assert_eq(store_collect(v, "m", &keep, &removed, &err), 0);
    cr_expect_eq(removed, 6, "8 serves, 1 did before");
    cr_expect_eq(store_check(v, "m", 1, &err), 0, "%s", err.message);
}

Test(store, publishes_over_what_a_failure_left_in_the_stage)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    cr_assert(mkdirat(d.fd, "stage", 0755) == 0 && mkdirat(d.fd, "stage/m.1", 0755) == 0);
    cr_assert_eq(symlinkat("7", d.fd, "stage/m.current"), 0);
    cr_expect_eq(publish_version(v, 1, true), 1);
    cr_expect_eq(store_set_current(v, "m", 1, NULL), 0);
    expect_consistent(v, &d, "published");
}

Test(store, collected_versions_say_so)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    struct error err = ERROR_INIT;
    size_t removed;
    for (unsigned i = 0; i < 3; i++)
        publish_version(v, i, false);
    const struct store_keep keep = {.good = 1, .total = 1};
    cr_assert_eq(store_collect(v, "m", &keep, &removed, &err), 0);
    cr_expect_eq(store_open(v, "m", 1, &err), -1);
    cr_expect_str_eq(err.code, "store.collected");
    cr_expect_eq(store_pin(v, "m", 1, true, &err), -1);
}

/* --- crashes --------------------------------------------------------------------------------- */

static int save_state(struct versions *v, const struct sandbox_dir *d, enum state_slot slot,
                      uint32_t version, const char *text)
{
    (void)v;
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd;
    const struct state_expect e = {.module = "m", .version = version, .any_schema = true};
    if (state_writer_open(&w, "m", version, 1, 0, &err) < 0 ||
        cloche_write(&w.api, text, strlen(text)) != 0 || state_writer_seal(&w, 0, &fd, &err) < 0)
        return -1;
    int r = state_save(d->fd, slot, fd, &e, true, &err);
    close(fd);
    return r;
}

/* a whole reload of version 2 over 1, with everything that it writes */
static void reload(struct versions *v, const struct sandbox_dir *d)
{
    struct made_artifact m;
    struct error err = ERROR_INIT;
    uint64_t attempt;
    uint32_t number;
    size_t removed;
    const struct attempt_start start = {
        .module = "m", .kind = "reload", .cause = "watch", .from = 1};
    const struct attempt_end good = {.state = ATTEMPT_GOOD};
    const struct store_keep keep = {.in_use = &number, .in_use_count = 1, .good = 1, .total = 1};
    if (history_start(v, &start, &attempt, &err) < 0 ||
        store_publish(v, "m", make_artifact(&m, 2, 1), attempt, &number, &err) < 0 ||
        history_note(v, attempt, ATTEMPT_INTENT, number, NULL, &err) < 0 ||
        history_note(v, attempt, ATTEMPT_ACTIVATED, number, NULL, &err) < 0 ||
        store_set_current(v, "m", number, &err) < 0 ||
        save_state(v, d, STATE_PROBATION, number, "of 2") < 0 ||
        history_end(v, attempt, &good, &err) < 0 || state_promote(d->fd, "m", &err) < 0 ||
        store_collect(v, "m", &keep, &removed, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
}

/* SIGKILL before each step of it: the next start has version 1 and its state, or 2 and its own. */
Test(store, killed_at_every_step_recovers_to_old_or_new, .timeout = 120)
{
    bool old = false, new = false;
    long at = 1;
    for (;; at++) {
        _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
        struct versions *v = open_versions(&d);
        struct error err = ERROR_INIT;
        publish_version(v, 1, true);
        cr_assert_eq(save_state(v, &d, STATE_GOOD, 1, "of 1"), 0);
        versions_close(v);
        pid_t pid = fork();
        if (pid == 0) {
            struct versions *child = NULL;
            if (versions_open(d.fd, &child, &err) < 0)
                _exit(1);
            fault_set(at, 0);
            reload(child, &d);
            _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) == 0);

        char when[64];
        snprintf(when, sizeof when, "killed at step %ld", at);
        _cleanup_arena_ struct arena *a = arena_new();
        struct versions_start *starts;
        size_t count;
        v = open_versions(&d);
        cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0, "%s: %s", when, err.message);
        cr_assert_eq(count, 1);
        cr_assert(starts[0].good == 1 || starts[0].good == 2, "%s: %u serves", when,
                  starts[0].good);
        old |= starts[0].good == 1;
        new |= starts[0].good == 2;
        expect_consistent(v, &d, when);
        expect_history(v, when);
        cr_expect_eq(store_check(v, "m", starts[0].good, &err), 0, "%s: %s", when, err.message);

        struct state_header h;
        int fd = -1;
        const struct state_expect e = {
            .module = "m", .version = starts[0].good, .any_schema = true};
        cr_expect_eq(state_load(d.fd, STATE_GOOD, &e, &fd, &h, &err), 0, "%s: %s", when,
                     err.message);
        close(fd);
        char current[16] = "";
        cr_expect_eq(readlinkat(d.fd, "modules/m/current", current, sizeof current - 1), 1);
        cr_expect_eq((uint32_t)atoi(current), starts[0].good, "%s", when);

        uint32_t next = publish_version(v, 3, true);
        cr_expect_geq(next, 2);
        cr_expect_eq(expect_consistent(v, &d, when) >= 2, 1);
        versions_close(v);
        if (WIFEXITED(status))
            break;
    }
    cr_expect(old && new, "both outcomes are seen");
    cr_expect_gt(at, 40, "only %ld steps", at);
}

Test(store, recovery_is_told_what_was_interrupted)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct versions_start *starts;
    struct history_attempt *attempts;
    size_t count;
    uint64_t one, two;
    publish_version(v, 1, true);
    publish_version(v, 2, false);
    const struct attempt_start s = {
        .module = "m", .kind = "rollback", .from = 1, .to = 2, .cause = "command"};
    cr_assert_eq(history_start(v, &s, &one, &err), 0);
    cr_assert_eq(history_note(v, one, ATTEMPT_INTENT, 2, NULL, &err), 0);
    cr_assert_eq(history_start(v, &s, &two, &err), 0);
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0, "%s", err.message);
    cr_assert_eq(count, 1);
    cr_expect(starts[0].good == 1 && starts[0].candidate == 2 && starts[0].interrupted == 2);
    cr_assert_eq(history_attempts(v, a, "m", 2, &attempts, &count, &err), 0);
    cr_expect_eq(attempts[0].state, ATTEMPT_ROLLED_BACK);
    cr_expect_str_eq(attempts[0].reason, "keeper-crash");
    cr_expect_eq(attempts[1].state, ATTEMPT_ABORTED);
    struct version row;
    cr_assert_eq(store_find(v, a, "m", 2, &row, &err), 0);
    cr_expect_eq(row.status, VERSION_PUBLISHED, "a crash of the keeper is not the version's fault");
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0);
    cr_expect_eq(starts[0].interrupted, 0, "once");
}

Test(store, recovery_never_gives_a_number_twice)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct versions_start *starts;
    size_t count;
    publish_version(v, 1, true);
    /* as a crash between rename and commit leaves it; a worker may have seen it */
    cr_assert_eq(mkdirat(d.fd, "modules/m/2", 0755), 0);
    cr_assert_eq(mkdirat(d.fd, "modules/n", 0755), 0);
    cr_assert_eq(mkdirat(d.fd, "modules/n/5", 0755), 0);
    cr_assert_eq(mkdirat(d.fd, "stage/m.9", 0755), 0);
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0, "%s", err.message);
    cr_expect_eq(entries(&d, "modules/n"), 0);
    expect_consistent(v, &d, "recovered");
    cr_expect_eq(publish_version(v, 3, true), 3);
    struct made_artifact m;
    uint32_t number;
    cr_assert_eq(store_publish(v, "n", make_artifact(&m, 1, 0), 0, &number, &err), 0);
    cr_expect_eq(number, 6);
}

static void overwrite(const struct sandbox_dir *d, const char *path)
{
    cr_assert_eq(fchmodat(d->fd, path, 0644, 0), 0);
    _cleanup_close_ int fd = openat(d->fd, path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "X", 1, 3), 1);
}

Test(store, recovery_starts_no_damaged_version)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct versions_start *starts;
    struct version row;
    size_t count;
    for (unsigned i = 1; i <= 4; i++)
        publish_version(v, i, true);
    overwrite(&d, "modules/m/4/module.so");
    cr_assert_eq(unlinkat(d.fd, "modules/m/3/module.so", 0), 0);
    cr_expect_eq(store_check(v, "m", 4, &err), -1);
    cr_expect_str_eq(err.code, "store.damaged");
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0, "%s", err.message);
    cr_expect_eq(starts[0].good, 2);
    cr_assert_eq(store_find(v, a, "m", 4, &row, &err), 0);
    cr_expect(row.status == VERSION_BAD && strcmp(row.reason, "damaged") == 0);
    cr_assert_eq(store_find(v, a, "m", 3, &row, &err), 0);
    cr_expect(row.collected);
    overwrite(&d, "modules/m/1/module.so");
    overwrite(&d, "modules/m/2/module.so");
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0);
    cr_expect_eq(starts[0].good, 0);
    cr_expect_eq(starts[0].candidate, 0, "nothing that is worth a try");
}

/* --- a full disk ----------------------------------------------------------------------------- */

static void fill(const struct sandbox_dir *d)
{
    static const char block[4096];
    _cleanup_close_ int fd = openat(d->fd, "ballast", O_WRONLY | O_CREAT | O_APPEND, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    cr_assert_eq(errno, ENOSPC);
}

Test(store, rollback_is_recorded_on_a_full_disk)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    struct sandbox_dir d = sandbox_dir_new();
    cr_assert_eq(unshare(CLONE_NEWNS), 0);
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    cr_assert_eq(mount("tmpfs", d.path, "tmpfs", 0, "size=4m"), 0);
    close(d.fd);
    d.fd = open(d.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    struct versions *v = open_versions(&d);
    struct made_artifact m;
    struct error err = ERROR_INIT;
    uint32_t number;
    uint64_t attempt;
    publish_version(v, 1, true);
    publish_version(v, 2, false);
    fill(&d);
    cr_expect_eq(store_publish(v, "m", make_artifact(&m, 3, 0), 0, &number, &err), -1);
    cr_expect_str_eq(err.code, "store.full", "%s", err.message);
    expect_consistent(v, &d, "full");

    struct stat st;
    cr_assert_eq(fstatat(d.fd, "reserve", &st, 0), 0);
    cr_expect_eq(st.st_size, 1 << 20, "still held");
    const struct attempt_start s = {
        .module = "m", .kind = "rollback", .from = 2, .to = 1, .cause = "automatic"};
    const struct attempt_end rolled = {
        .state = ATTEMPT_ROLLED_BACK, .reason = "crash", .verdict = VERSION_BAD};
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(history_start(v, &s, &attempt, &err), 0, "%s", err.message);
        cr_assert_eq(history_note(v, attempt, ATTEMPT_INTENT, 1, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(history_end(v, attempt, &rolled, &err), 0, "%s", err.message);
    }
    cr_assert_eq(fstatat(d.fd, "reserve", &st, 0), 0);
    cr_expect_eq(st.st_size, 0, "the reserve was used");
    versions_close(v);

    /* also a start on the full disk works, and space that comes back is held again */
    _cleanup_arena_ struct arena *a = arena_new();
    struct versions_start *starts;
    size_t count;
    v = open_versions(&d);
    cr_assert_eq(versions_recover(v, a, &starts, &count, &err), 0, "%s", err.message);
    cr_expect_eq(starts[0].good, 1);
    cr_assert_eq(unlinkat(d.fd, "ballast", 0), 0);
    cr_expect_eq(publish_version(v, 3, true), 3);
    cr_assert_eq(fstatat(d.fd, "reserve", &st, 0), 0);
    cr_expect_eq(st.st_size, 1 << 20);
    expect_consistent(v, &d, "room again");
    versions_close(v);
    close(d.fd);
    cr_assert_eq(umount2(d.path, MNT_DETACH), 0);
    rmdir(d.path);
}

/* --- export and import ----------------------------------------------------------------------- */

static const struct elf_policy any = {.file = "m.so"};

static void publish_counter(struct versions *v, unsigned seed, uint32_t expected)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_free_ char *data = NULL;
    char command[1024], name[64];
    struct elf_info info;
    struct error err = ERROR_INIT;
    uint32_t number;
    snprintf(name, sizeof name, "export-%d-%u.so", getpid(), seed);
    snprintf(command, sizeof command, GCC "-Wl,--build-id=0x%08x @D/counter.c && true", seed);
    size_t size = modules_build(name, command, &data);
    cr_assert_eq(elf_verify(a, data, size, &any, &info, &err), 0, "%s", err.message);
    const struct store_artifact artifact = {
        .data = data, .size = size, .elf = &info, .toolchain = "c", .compiler = "gcc 12"};
    cr_assert_eq(store_publish(v, "counter", &artifact, 0, &number, &err), 0, "%s", err.message);
    cr_expect_eq(number, expected);
    snprintf(command, sizeof command, "%s/%s", modules_dir(), name);
    unlink(command);
}

static int exported(const struct sandbox_dir *d, struct versions *v)
{
    struct error err = ERROR_INIT;
    int fd = openat(d->fd, "out.tar", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(store_export(v, "counter", fd, &err), 0, "%s", err.message);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

Test(store, travels_as_one_tar)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new(), e = sandbox_dir_new();
    _cleanup_versions_ struct versions *from = open_versions(&d);
    _cleanup_versions_ struct versions *to = open_versions(&e);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct store_imported *list;
    struct version row;
    size_t count;
    publish_counter(from, 1, 1);
    publish_counter(from, 2, 2);
    publish_counter(from, 3, 3);
    cr_assert_eq(store_pin(from, "counter", 2, true, &err), 0);
    _cleanup_close_ int fd = exported(&d, from);

    char command[3000];
    snprintf(command, sizeof command,
             "test \"$(tar tf %s/out.tar | tr '\\n' ' ')\" = 'cloche-versions.json 1/module.so "
             "1/manifest.json 1/build.log 2/module.so 2/manifest.json 2/build.log 3/module.so "
             "3/manifest.json 3/build.log ' && tar xOf %s/out.tar 2/module.so | "
             "cmp - %s/modules/counter/2/module.so",
             d.path, d.path, d.path);
    cr_expect_eq(system(command), 0, "%s", command);

    cr_assert_eq(store_import(to, a, "counter", &any, fd, &list, &count, &err), 0, "%s",
                 err.message);
    cr_assert_eq(count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect(list[i].from == i + 1 && list[i].to == i + 1 && !list[i].known);
        cr_expect_eq(store_check(to, "counter", i + 1, &err), 0);
    }
    cr_assert_eq(store_find(to, a, "counter", 2, &row, &err), 0);
    cr_expect(row.pinned && row.status == VERSION_PUBLISHED);

    /* once more: all known; into a module that went on: new numbers for what is new */
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    cr_assert_eq(store_import(to, a, "counter", &any, fd, &list, &count, &err), 0);
    cr_expect(list[0].known && list[2].known && list[2].to == 3);
    publish_counter(from, 4, 4);
    publish_counter(to, 5, 4);
    _cleanup_close_ int more = exported(&d, from);
    cr_assert_eq(store_import(to, a, "counter", &any, more, &list, &count, &err), 0);
    cr_assert_eq(count, 4);
    cr_expect(list[3].from == 4 && list[3].to == 5 && !list[3].known);
}

static const char *import_code(struct versions *v, const char *module, const void *data,
                               size_t size, const struct elf_policy *policy)
{
    static struct error err;
    _cleanup_arena_ struct arena *a = arena_new();
    struct store_imported *list;
    size_t count;
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    cr_assert_eq(io_write_all(fd, data, size), 0);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    err = (struct error)ERROR_INIT;
    return store_import(v, a, module, policy, fd, &list, &count, &err) == 0 ? "ok" : err.code;
}

Test(store, imports_nothing_of_a_damaged_archive)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new(), e = sandbox_dir_new();
    _cleanup_versions_ struct versions *from = open_versions(&d);
    _cleanup_versions_ struct versions *to = open_versions(&e);
    _cleanup_arena_ struct arena *a = arena_new();
    publish_counter(from, 1, 1);
    publish_counter(from, 2, 2);
    _cleanup_close_ int fd = exported(&d, from);
    _cleanup_free_ char *data = NULL;
    ssize_t size = io_read_to_end(fd, 16 << 20, &data);
    cr_assert_gt(size, 4096);

    cr_expect_str_eq(import_code(to, "other", data, (size_t)size, &any), "archive.invalid");
    cr_expect_str_eq(import_code(to, "counter", "", 0, &any), "archive.invalid");
    cr_expect_str_eq(import_code(to, "counter", "PK\3\4", 4, &any), "archive.invalid");
    const struct elf_policy small = {.file = "m.so", .size_cap_bytes = 1000};
    cr_expect_str_eq(import_code(to, "counter", data, (size_t)size, &small), "verify.size");

    for (size_t n = 0; n < (size_t)size - 512; n += 256)
        cr_expect_str_eq(import_code(to, "counter", data, n, &any), "archive.invalid", "%zu", n);
    size_t fine = 0;
    for (size_t at = 0; at < (size_t)size - 1024; at += 37) {
        data[at] ^= 0x41;
        const char *code = import_code(to, "counter", data, (size_t)size, &any);
        if (strcmp(code, "ok") == 0)
            fine++; /* padding, a manifest, or a log */
        else
            cr_expect(strcmp(code, "archive.invalid") == 0, "byte %zu: %s", at, code);
        data[at] ^= 0x41;
        struct version *rows;
        size_t count;
        cr_assert_eq(store_list(to, a, "counter", false, &rows, &count, NULL), 0);
        cr_assert_eq(count, fine == 0 ? 0 : 2, "all or nothing");
    }
    cr_expect_lt(fine, (size_t)size / 37 / 3);
    cr_expect_eq(store_check(to, "counter", 2, NULL), 0);
}
