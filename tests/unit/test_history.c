#include "tests/unit/sandbox_dir.h"

#include <criterion/criterion.h>
#include <sqlite3.h>

static uint64_t start(struct versions *v, const char *module, uint32_t from, uint32_t to)
{
    uint64_t attempt = 0;
    struct error err = ERROR_INIT;
    const struct attempt_start s = {
        .module = module, .kind = "rollback", .cause = "command", .from = from, .to = to};
    cr_assert_eq(history_start(v, &s, &attempt, &err), 0, "%s", err.message);
    return attempt;
}

static int note(struct versions *v, uint64_t attempt, enum attempt_state state)
{
    struct error err = ERROR_INIT;
    return history_note(v, attempt, state, 0, NULL, &err);
}

static int end(struct versions *v, uint64_t attempt, enum attempt_state state, const char *reason)
{
    struct error err = ERROR_INIT;
    const struct attempt_end e = {.state = state, .reason = reason, .verdict = VERSION_BAD};
    return history_end(v, attempt, &e, &err);
}

Test(history, tells_what_happened)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(publish_version(v, 1, true), 1);
    uint64_t other = start(v, "other", 0, 7);
    cr_assert_eq(end(v, other, ATTEMPT_REFUSED, "verify.no_symbol"), 0);

    struct history_row *rows;
    size_t count;
    cr_assert_eq(history_list(v, a, NULL, 0, &rows, &count, &err), 0, "%s", err.message);
    static const enum attempt_state expected[] = {
        ATTEMPT_STARTED, ATTEMPT_PUBLISHED, ATTEMPT_INTENT, ATTEMPT_ACTIVATED,
        ATTEMPT_GOOD,    ATTEMPT_STARTED,   ATTEMPT_REFUSED};
    cr_assert_eq(count, 7);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(rows[i].sequence, i + 1);
        cr_expect_eq(rows[i].state, expected[i], "row %zu is %s", i,
                     attempt_state_name(rows[i].state));
    }
    cr_expect_str_eq(rows[6].reason, "verify.no_symbol");
    cr_expect_eq(rows[4].to, 1, "the number was learnt on the way");
    cr_assert_eq(history_list(v, a, "m", 2, &rows, &count, &err), 0);
    cr_assert_eq(count, 2);
    cr_expect_eq(rows[1].state, ATTEMPT_GOOD);

    struct history_attempt *attempts;
    cr_assert_eq(history_attempts(v, a, NULL, 0, &attempts, &count, &err), 0, "%s", err.message);
    cr_assert_eq(count, 2);
    cr_expect(attempts[0].ended && attempts[0].state == ATTEMPT_GOOD && attempts[0].to == 1);
    cr_expect_str_eq(attempts[1].module, "other");
}

/* every pair of states, against the order of reload.md written down once more */
Test(history, keeps_the_order_of_states)
{
    static const struct {
        const char *path; /* one letter a state: S P I A */
        const char *next; /* allowed ones; terminal: g b r(ollback) e(refused) a(borted) u s */
    } cases[] = {
        {"S", "PIbeaus"}, {"SP", "Ibeas"}, {"SI", "Aberas"}, {"SPI", "Aberas"}, {"SIA", "grs"},
    };
    static const char letters[] = "SPIAgbreaus";
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t k = 0; k < ATTEMPT_STATES; k++) {
            uint64_t attempt = start(v, "m", 0, 1);
            for (const char *p = cases[c].path + 1; *p != '\0'; p++)
                cr_assert_eq(note(v, attempt, (enum attempt_state)(strchr(letters, *p) - letters)),
                             0);
            enum attempt_state state = (enum attempt_state)k;
            int r = attempt_state_terminal(state) ? end(v, attempt, state, "x")
                                                  : note(v, attempt, state);
            bool allowed = strchr(cases[c].next, letters[k]) != NULL;
            cr_expect_eq(r, allowed ? 0 : -1, "%s then %c", cases[c].path, letters[k]);
            if (!allowed || !attempt_state_terminal(state))
                cr_assert_eq(end(v, attempt, ATTEMPT_SUPERSEDED, "x"), 0);
            cr_expect_eq(end(v, attempt, ATTEMPT_SUPERSEDED, "x"), -1, "one terminal row");
        }
    }
}

/* The database refuses, whoever asks. */
Test(history, is_append_only_and_gapless_by_itself)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    publish_version(v, 1, true);
    uint64_t open = start(v, "m", 1, 1);
    cr_assert_eq(open, 2);

    char path[600];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/sandbox.db", d.path);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA recursive_triggers = ON", NULL, NULL, NULL);
#define ROW(sequence, attempt, module, state)                                                      \
    "INTO history (sequence, attempt, module, kind, cause, state, from_version, to_version,"       \
    " reason, detail, at_ms) VALUES (" sequence ", " attempt ", '" module "', '', '', '" state     \
    "', 0, 0, '', '', 0)"
    static const char *const refused[] = {
        "DELETE FROM history",
        "DELETE FROM history WHERE sequence = 6",
        "UPDATE history SET state = 'BAD' WHERE sequence = 5",
        "UPDATE history SET reason = 'x'",
        "INSERT " ROW("8", "2", "m", "INTENT"),
        "INSERT " ROW("6", "2", "m", "INTENT"),
        "INSERT " ROW("NULL", "2", "m", "INTENT"),
        "INSERT OR REPLACE " ROW("5", "2", "m", "INTENT"),
        "INSERT " ROW("7", "1", "m", "BAD"),
        "INSERT OR REPLACE " ROW("7", "1", "m", "BAD"),
        "INSERT " ROW("7", "4", "m", "STARTED"),
        "INSERT " ROW("7", "2", "m", "STARTED"),
        "INSERT " ROW("7", "3", "m", "INTENT"),
        "INSERT " ROW("7", "2", "n", "INTENT"),
        "INSERT " ROW("7", "2", "m", "DONE"),
        "DELETE FROM version",
        "DELETE FROM module",
        "UPDATE version SET sha256 = replace(sha256, 'a', 'b')",
        "UPDATE version SET number = 2",
        "UPDATE version SET status = 'FINE'",
        "UPDATE module SET high_water = 0",
        "REPLACE INTO module (name) VALUES ('m')",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_expect_eq(sqlite3_exec(db, refused[i], NULL, NULL, NULL), SQLITE_CONSTRAINT, "%s: %s",
                     refused[i], sqlite3_errmsg(db));
    cr_expect_eq(sqlite3_exec(db, "INSERT " ROW("7", "2", "m", "INTENT"), NULL, NULL, NULL),
                 SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(history, judges_versions)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct version row;
    uint32_t good;
    publish_version(v, 1, true);
    publish_version(v, 2, false);
    publish_version(v, 3, false);

    uint64_t attempt = start(v, "m", 1, 2);
    cr_assert_eq(end(v, attempt, ATTEMPT_BAD, "init"), 0);
    cr_assert_eq(store_find(v, a, "m", 2, &row, &err), 0);
    cr_expect(row.status == VERSION_BAD && strcmp(row.reason, "init") == 0);

    attempt = start(v, "m", 1, 3);
    note(v, attempt, ATTEMPT_INTENT);
    note(v, attempt, ATTEMPT_ACTIVATED);
    const struct attempt_end poison = {
        .state = ATTEMPT_ROLLED_BACK, .reason = "poison", .verdict = VERSION_SUSPECT};
    cr_assert_eq(history_end(v, attempt, &poison, &err), 0);
    cr_assert_eq(store_find(v, a, "m", 3, &row, &err), 0);
    cr_expect_eq(row.status, VERSION_SUSPECT);

    attempt = start(v, "m", 1, 1);
    cr_assert_eq(end(v, attempt, ATTEMPT_BAD, "init"), 0);
    cr_assert_eq(store_find(v, a, "m", 1, &row, &err), 0);
    cr_expect_eq(row.status, VERSION_GOOD, "what was GOOD stays GOOD");
    cr_assert_eq(store_good(v, "m", &good, &err), 0);
    cr_expect_eq(good, 1);
}

Test(history, knows_the_previous_good_version)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    struct error err = ERROR_INIT;
    uint32_t previous;
    publish_version(v, 1, true);
    publish_version(v, 2, false);
    publish_version(v, 3, true);
    cr_assert_eq(history_previous_good(v, "m", 3, &previous, &err), 0, "%s", err.message);
    cr_expect_eq(previous, 1);
    cr_assert_eq(history_previous_good(v, "m", 1, &previous, &err), 0);
    cr_expect_eq(previous, 0);
    /* after a rollback from 3 to 1, the one before 1 is 3 */
    uint64_t attempt = start(v, "m", 3, 1);
    note(v, attempt, ATTEMPT_INTENT);
    note(v, attempt, ATTEMPT_ACTIVATED);
    cr_assert_eq(end(v, attempt, ATTEMPT_GOOD, NULL), 0);
    cr_assert_eq(history_previous_good(v, "m", 1, &previous, &err), 0);
    cr_expect_eq(previous, 3);
}

static int end_both(struct versions *v, void *argument, struct error *err)
{
    const uint64_t *attempts = argument;
    const struct attempt_end good = {.state = ATTEMPT_GOOD};
    return history_end(v, attempts[0], &good, err) < 0 ||
                   history_end(v, attempts[1], &good, err) < 0
               ? -1
               : 0;
}

Test(history, several_modules_as_one)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    uint64_t attempts[2] = {start(v, "m", 0, 1), start(v, "n", 0, 1)};
    note(v, attempts[0], ATTEMPT_INTENT);
    note(v, attempts[0], ATTEMPT_ACTIVATED);
    note(v, attempts[1], ATTEMPT_INTENT); /* not yet activated: cannot be GOOD */
    cr_expect_eq(versions_atomically(v, end_both, attempts, &err), -1);
    struct history_attempt *rows;
    size_t count;
    cr_assert_eq(history_attempts(v, a, NULL, 0, &rows, &count, &err), 0);
    cr_expect(!rows[0].ended && !rows[1].ended, "neither has ended");
    note(v, attempts[1], ATTEMPT_ACTIVATED);
    cr_expect_eq(versions_atomically(v, end_both, attempts, &err), 0, "%s", err.message);
    cr_assert_eq(history_attempts(v, a, NULL, 0, &rows, &count, &err), 0);
    cr_expect(rows[0].ended && rows[1].ended);
}

Test(history, can_be_read_beside_the_keeper)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    _cleanup_versions_ struct versions *v = open_versions(&d);
    _cleanup_versions_ struct versions *reader = NULL;
    _cleanup_arena_ struct arena *a = arena_new();
    struct error err = ERROR_INIT;
    struct history_row *rows;
    size_t count;
    publish_version(v, 1, true);
    cr_assert_eq(versions_open_readonly(d.fd, &reader, &err), 0, "%s", err.message);
    cr_assert_eq(history_list(reader, a, "m", 0, &rows, &count, &err), 0, "%s", err.message);
    cr_expect_eq(count, 5);
    publish_version(v, 2, true);
    cr_assert_eq(history_list(reader, a, "m", 0, &rows, &count, &err), 0);
    cr_expect_eq(count, 10);
    const struct attempt_start s = {.module = "m", .kind = "reload", .cause = "command"};
    uint64_t attempt;
    cr_expect_eq(history_start(reader, &s, &attempt, &err), -1);
    cr_expect_str_eq(err.code, "store.unwritable");
}

Test(history, refuses_what_it_cannot_read)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    struct versions *v = NULL;
    cr_expect_eq(versions_open_readonly(d.fd, &v, &err), -1, "there is none");
    int fd = openat(d.fd, "sandbox.db", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char junk[4096] = "this is not a database";
    cr_assert_eq(write(fd, junk, sizeof junk), (ssize_t)sizeof junk);
    close(fd);
    cr_expect_eq(versions_open(d.fd, &v, &err), -1);
    cr_expect_str_eq(err.code, "store.corrupt", "%s", err.message);
    unlinkat(d.fd, "sandbox.db", 0);

    versions_close(open_versions(&d));
    char command[700];
    snprintf(command, sizeof command, "sqlite3 %s/sandbox.db 'PRAGMA user_version = 99'", d.path);
    if (system("command -v sqlite3 >/dev/null") == 0 && system(command) == 0) {
        cr_expect_eq(versions_open(d.fd, &v, &err), -1);
        cr_expect_str_eq(err.code, "store.newer", "%s", err.message);
    }
}
