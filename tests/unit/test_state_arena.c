#include "tests/unit/sandbox_dir.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define BYTES (3u * 128 * 1024 + 8192) /* moves in four pieces */

static const struct state_expect strict = {
    .module = "m", .version = 3, .schema = 2, .arena_bytes = BYTES};
static const struct state_expect given = {
    .module = "m", .version = 3, .schema = 2, .arena_bytes = BYTES, .given = true};

static struct state_arena opened(void)
{
    struct state_arena a;
    struct error err = ERROR_INIT;
    cr_assert_eq(state_arena_open(&a, BYTES, &err), 0, "%s", err.message);
    return a;
}

/** Its state, with "text" outside; still mapped when @give. */
static int state_of(struct state_arena *a, bool give)
{
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd = -1;
    cr_assert_eq(state_writer_open_arena(&w, "m", 3, 2, a, give, &err), 0, "%s", err.message);
    cr_assert_eq(cloche_write(&w.api, "text", 4), 0);
    if (!give)
        cr_assert_eq(state_arena_detach(a), 0);
    cr_assert_eq(state_writer_seal(&w, 77, &fd, &err), 0, "%s", err.message);
    a->fresh = a->fresh && !give;
    return fd;
}

static void settle(struct state_arena *a)
{
    int r, steps = 0;
    while ((r = state_arena_step(a)) == 0)
        steps++;
    cr_assert_eq(r, 1);
    cr_assert_leq(steps, 4);
}

static const char *judged(int fd, const struct state_expect *e, struct state_header *h)
{
    static struct error err;
    err = (struct error)ERROR_INIT;
    return state_check(fd, e, h, &err) == 0 ? "ok" : err.code;
}

Test(arena, given_is_nobody_elses_to_write_and_sealed_nobodys)
{
    struct state_arena a = opened();
    struct state_header h;
    memset(a.at, 1, BYTES);
    _cleanup_close_ int fd = state_of(&a, true);
    cr_expect_str_eq(judged(fd, &given, &h), "ok");
    cr_expect_str_eq(judged(fd, &strict, &h), "state.foreign");
    cr_expect_eq(h.arena_pages, BYTES / 4096);
    cr_expect_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, STATE_ARENA_AT), MAP_FAILED);
    cr_expect_eq(pwrite(fd, "x", 1, STATE_ARENA_AT), -1);
    cr_expect_eq(ftruncate(fd, 4096), -1);
    cr_expect_eq(ftruncate(fd, 1 << 30), -1);

    struct state_arena n = opened();
    struct error err = ERROR_INIT;
    cr_assert_eq(state_arena_load(&n, fd, &h, &err), 0, "%s", err.message);
    n.at[5] = 2;
    cr_expect(a.at[5] == 1, "the new one's writes are its own");
    cr_assert_eq(state_arena_seal(&a), 0);
    cr_expect_str_eq(judged(fd, &strict, &h), "ok");
    a.at[6] = 3;
    unsigned char bytes[8];
    cr_assert_eq(pread(fd, bytes, 8, STATE_ARENA_AT), 8);
    cr_expect(bytes[5] == 1 && bytes[6] == 1 && n.at[6] == 1);
    state_arena_close(&n);
    state_arena_close(&a);
}

Test(arena, cannot_be_sealed_while_somebody_can_write)
{
    struct state_arena a = opened();
    struct state_header h;
    void *kept = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a.fd, STATE_ARENA_AT);
    cr_assert_neq(kept, MAP_FAILED);
    _cleanup_close_ int fd = state_of(&a, true);
    cr_expect_eq(state_arena_seal(&a), -1);
    cr_expect_str_eq(judged(fd, &strict, &h), "state.foreign");
    munmap(kept, 4096);
    cr_expect_eq(state_arena_seal(&a), 0);
    cr_expect_str_eq(judged(fd, &strict, &h), "ok");
    state_arena_close(&a);
}

Test(arena, moves_with_what_was_written_meanwhile_and_leaves_holes)
{
    struct state_arena a = opened();
    unsigned char *at = a.at;
    memset(a.at + 4096, 7, 100);
    a.at[BYTES - 1] = 8;
    _cleanup_close_ int fd = state_of(&a, false);
    cr_expect_eq(a.fresh, false);
    a.at[2] = 1;              /* in the first piece, before it moves */
    a.at[128 * 1024 + 9] = 2; /* a hole until now */
    cr_assert_eq(state_arena_step(&a), 0);
    a.at[3] = 4;         /* after */
    a.at[BYTES - 2] = 5; /* before */
    settle(&a);
    cr_expect(a.fresh && a.at == at);
    cr_expect(a.at[2] == 1 && a.at[3] == 4 && a.at[4096 + 99] == 7 && a.at[128 * 1024 + 9] == 2 &&
              a.at[BYTES - 1] == 8 && a.at[BYTES - 2] == 5);
    unsigned char bytes[4];
    cr_assert_eq(pread(fd, bytes, 4, STATE_ARENA_AT), 4);
    cr_expect(bytes[2] == 0 && bytes[3] == 0, "the snapshot is what it was");
    /* fresh: what is written is in the file */
    cr_assert_eq(pread(a.fd, bytes, 4, STATE_ARENA_AT), 4);
    cr_expect(bytes[2] == 1 && bytes[3] == 4);
    struct stat st;
    cr_assert_eq(fstat(a.fd, &st), 0);
    cr_expect_leq((size_t)st.st_blocks * 512, 3 * 128 * 1024 + 8192,
                  "the third piece was never touched");
    cr_expect_eq(lseek(a.fd, STATE_ARENA_AT + 256 * 1024, SEEK_DATA),
                 (off_t)(STATE_ARENA_AT + BYTES - 8192));
    state_arena_close(&a);
}

Test(arena, one_of_a_smaller_snapshot_is_zero_behind_it)
{
    struct state_arena small, a = opened();
    struct error err = ERROR_INIT;
    struct state_header h;
    cr_assert_eq(state_arena_open(&small, 8192, &err), 0);
    memset(small.at, 1, 8192);
    memset(a.at, 9, BYTES);
    _cleanup_close_ int fd = state_of(&small, false);
    cr_expect_str_eq(judged(fd, &strict, &h), "ok");
    cr_assert_eq(state_arena_load(&a, fd, &h, &err), 0);
    cr_expect(a.at[8191] == 1 && a.at[8192] == 0 && a.at[BYTES - 1] == 0);
    a.at[BYTES - 1] = 3;
    settle(&a);
    cr_expect(a.at[8191] == 1 && a.at[8192] == 0 && a.at[BYTES - 1] == 3);
    _cleanup_close_ int large = state_of(&a, false);
    cr_expect_str_eq(judged(large, &strict, &h), "ok");
    cr_expect_eq(state_arena_load(&small, large, &h, &err), -1);
    cr_expect_str_eq(err.code, "state.too_large");
    state_arena_close(&small);
    state_arena_close(&a);
}

Test(arena, believes_no_header)
{
    const struct state_header fine = {.magic = STATE_MAGIC,
                                      .format = STATE_FORMAT,
                                      .header_bytes = sizeof fine,
                                      .version = 3,
                                      .schema = 2,
                                      .arena_pages = 2,
                                      .length_bytes = 4,
                                      .module = "m"};
    static const struct {
        uint32_t pages;
        uint64_t length, size;
        int seals;
        bool given;
        const char *code;
    } rows[] = {
        {2, 4, STATE_ARENA_AT + 8192, STATE_SEALS, false, "ok"},
        {2, 4, STATE_ARENA_AT + 8192, STATE_SEALS_GIVEN, true, "ok"},
        {2, 4, STATE_ARENA_AT + 8192, STATE_SEALS_GIVEN, false, "state.foreign"},
        {2, 4, STATE_ARENA_AT + 8192, F_SEAL_SHRINK | F_SEAL_GROW, true, "state.foreign"},
        {2, 4, STATE_ARENA_AT + 8192, F_SEAL_FUTURE_WRITE | F_SEAL_GROW, true, "state.foreign"},
        {0, 4, sizeof fine + 4, STATE_SEALS_GIVEN, true, "state.foreign"},
        {2, 4, STATE_ARENA_AT + 8191, STATE_SEALS, false, "state.torn"},
        {2, 4, STATE_ARENA_AT + 8193, STATE_SEALS, false, "state.torn"},
        {2, 4, sizeof fine + 4, STATE_SEALS, false, "state.torn"},
        {2, STATE_ARENA_AT, STATE_ARENA_AT + 8192, STATE_SEALS, false, "state.torn"},
        {2, UINT64_MAX, STATE_ARENA_AT + 8192, STATE_SEALS, false, "state.torn"},
        {UINT32_MAX, 4, STATE_ARENA_AT + 8192, STATE_SEALS, false, "state.torn"},
        {UINT32_MAX, 4, STATE_ARENA_AT + 4096ull * UINT32_MAX, STATE_SEALS, false,
         "state.too_large"},
        {BYTES / 4096 + 1, 4, STATE_ARENA_AT + BYTES + 4096, STATE_SEALS, false, "state.too_large"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct state_header h = fine, got;
        h.arena_pages = rows[i].pages;
        h.length_bytes = rows[i].length;
        _cleanup_close_ int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        cr_assert(fd >= 0 && ftruncate(fd, (off_t)rows[i].size) == 0);
        cr_assert_eq(pwrite(fd, &h, sizeof h, 0), (ssize_t)sizeof h);
        cr_assert_eq(fcntl(fd, F_ADD_SEALS, rows[i].seals), 0);
        const char *code = judged(fd, rows[i].given ? &given : &strict, &got);
        cr_expect_str_eq(code, rows[i].code, "row %zu: %s", i, code);
    }
}

/* --- checkpoints ----------------------------------------------------------------------------- */

static int save_one(int dir, unsigned char mark, bool durable, struct error *err)
{
    struct state_arena a = opened();
    memset(a.at + 65536, mark, 5000);
    a.at[BYTES - 1] = mark;
    _cleanup_close_ int fd = state_of(&a, false);
    state_arena_close(&a);
    return state_save(dir, STATE_GOOD, fd, &strict, durable, err);
}

/** What the slot has: its mark, or -1 with *ret_code. */
static int mark_of(int dir, const char **ret_code)
{
    static struct error err;
    struct state_header h;
    int fd = -1;
    err = (struct error)ERROR_INIT;
    *ret_code = "ok";
    if (state_load(dir, STATE_GOOD, &strict, &fd, &h, &err) < 0) {
        *ret_code = err.code;
        return -1;
    }
    struct state_arena a = opened();
    cr_assert_eq(state_arena_load(&a, fd, &h, &err), 0, "%s", err.message);
    int mark = a.at[BYTES - 1];
    for (size_t i = 0; i + 1 < BYTES; i++)
        cr_assert_eq(a.at[i], i >= 65536 && i < 65536 + 5000 ? mark : 0, "byte %zu", i);
    state_arena_close(&a);
    close(fd);
    return mark;
}

Test(arena, a_checkpoint_has_it_and_its_holes)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    struct stat st;
    const char *code;
    cr_assert_eq(save_one(d.fd, 5, true, &err), 0, "%s", err.message);
    cr_expect_eq(mark_of(d.fd, &code), 5, "%s", code);
    cr_assert_eq(fstatat(d.fd, "state/m/good", &st, 0), 0);
    cr_expect_eq(st.st_size, (off_t)(STATE_ARENA_AT + BYTES));
    cr_expect_lt(st.st_blocks * 512, 300 * 1024);
}

Test(arena, every_damaged_part_of_a_checkpoint_is_noticed)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    const char *code;
    cr_assert_eq(save_one(d.fd, 5, true, &err), 0, "%s", err.message);
    _cleanup_close_ int fd = openat(d.fd, "state/m/good", O_RDWR | O_CLOEXEC);
    static const off_t places[] = {0,
                                   8,
                                   44, /* has_digest, arena_pages */
                                   48,
                                   100,
                                   143,
                                   146,
                                   STATE_ARENA_AT + 65536,
                                   STATE_ARENA_AT + 65536 + 4999,
                                   STATE_ARENA_AT + 100000,
                                   STATE_ARENA_AT + BYTES - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        unsigned char kept, wrong;
        cr_assert_eq(pread(fd, &kept, 1, places[i]), 1);
        wrong = kept ^ 0x20;
        cr_assert_eq(pwrite(fd, &wrong, 1, places[i]), 1);
        cr_expect_eq(mark_of(d.fd, &code), -1, "at %lld", (long long)places[i]);
        cr_assert_eq(pwrite(fd, &kept, 1, places[i]), 1);
    }
    cr_expect_eq(mark_of(d.fd, &code), 5, "%s", code);
    static const off_t sizes[] = {STATE_ARENA_AT + BYTES - 1, STATE_ARENA_AT, 148, 144, 20, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert_eq(ftruncate(fd, sizes[i]), 0);
        cr_expect_eq(mark_of(d.fd, &code), -1);
        cr_expect_str_eq(code, "state.torn", "%lld bytes: %s", (long long)sizes[i], code);
    }
}

Test(arena, failed_saves_leave_the_old_checkpoint)
{
    static const int errnos[] = {ENOSPC, EIO, 0};
    for (size_t e = 0; e < 3; e++) {
        for (long at = 1;; at++) {
            _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
            struct error err = ERROR_INIT;
            const char *code;
            cr_assert_eq(save_one(d.fd, 1, true, &err), 0);
            int status = 0;
            pid_t pid = fork();
            if (pid == 0) {
                fault_set(at, errnos[e]);
                int r = save_one(d.fd, 2, true, &err);
                _exit(fault_name[0] == '\0' ? 9 : r < 0);
            }
            waitpid(pid, &status, 0);
            int mark = mark_of(d.fd, &code);
            cr_expect(mark == 1 || mark == 2, "step %ld: %d, %s", at, mark, code);
            cr_assert_eq(save_one(d.fd, 3, true, &err), 0, "%s", err.message);
            cr_expect_eq(mark_of(d.fd, &code), 3);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 9) {
                cr_expect_gt(at, 6, "only %ld steps", at);
                break;
            }
        }
    }
}
