#include "tests/unit/sandbox_dir.h"

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/resource.h>

static const struct state_expect counter = {.module = "counter", .version = 3, .schema = 2};

static int snapshot_of(const void *data, size_t size, size_t piece)
{
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd = -1;
    cr_assert_eq(state_writer_open(&w, "counter", 3, 2, 0, &err), 0, "%s", err.message);
    for (size_t at = 0; at < size; at += piece)
        cr_assert_eq(
            cloche_write(&w.api, (const char *)data + at, size - at < piece ? size - at : piece),
            0);
    cr_assert_eq(state_writer_seal(&w, 77, &fd, &err), 0, "%s", err.message);
    return fd;
}

static void expect_bytes(int fd, const void *data, size_t size, size_t piece)
{
    struct state_reader r;
    struct error err = ERROR_INIT;
    cr_assert_eq(state_reader_open(&r, fd, &counter, &err), 0, "%s", err.message);
    cr_expect_eq(r.header.sequence, 77);
    cr_expect_eq(r.api.remaining, size);
    cr_expect_eq(r.api.schema, 2);
    _cleanup_free_ char *got = malloc(size + 1);
    for (size_t at = 0; at < size; at += piece)
        cr_assert_eq(cloche_read(&r.api, got + at, size - at < piece ? size - at : piece), 0);
    cr_expect_eq(memcmp(got, data, size), 0);
    cr_expect_eq(cloche_read(&r.api, got, 1), -1, "nothing is left");
    cr_expect_eq(cloche_read(&r.api, got, 0), 0);
    state_reader_close(&r);
}

Test(state, travels_whole)
{
    static const size_t sizes[] = {0, 1, 64, 16383, 16384, 16385, 65536, 1 << 20};
    _cleanup_free_ unsigned char *data = malloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        data[i] = (unsigned char)(i * 31 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        static const size_t pieces[] = {7, 4096, 100000};
        for (size_t k = 0; k < 3; k++) {
            _cleanup_close_ int fd = snapshot_of(data, sizes[i], pieces[k]);
            expect_bytes(fd, data, sizes[i], pieces[2 - k]);
        }
    }
}

Test(state, helpers_of_the_abi_agree_with_each_other)
{
    struct state_writer w;
    struct state_reader r;
    struct error err = ERROR_INIT;
    char text[6], small[5];
    uint32_t narrow;
    uint64_t wide;
    cr_assert_eq(state_writer_open(&w, "counter", 3, 2, 0, &err), 0);
    cr_assert(cloche_write_u32(&w.api, 0xfedcba98) == 0 &&
              cloche_write_u64(&w.api, UINT64_MAX - 5) == 0 &&
              cloche_write_text(&w.api, "hello") == 0 && cloche_write_text(&w.api, "hello") == 0);
    int fd;
    cr_assert_eq(state_writer_seal(&w, 0, &fd, &err), 0);
    cr_assert_eq(state_reader_open(&r, fd, &counter, &err), 0);
    close(fd);
    cr_assert(cloche_read_u32(&r.api, &narrow) == 0 && narrow == 0xfedcba98);
    cr_assert(cloche_read_u64(&r.api, &wide) == 0 && wide == UINT64_MAX - 5);
    cr_assert(cloche_read_text(&r.api, text, sizeof text) == 0 && strcmp(text, "hello") == 0);
    cr_expect_eq(cloche_read_text(&r.api, small, sizeof small), -1, "does not fit");
    state_reader_close(&r);
}

Test(state, is_sealed_against_its_writer)
{
    _cleanup_close_ int fd = snapshot_of("abc", 3, 3);
    cr_expect_eq(pwrite(fd, "X", 1, 0), -1);
    cr_expect_eq(ftruncate(fd, 0), -1);
    cr_expect_eq(ftruncate(fd, 1 << 20), -1);
    cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    cr_expect_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), -1);
}

Test(state, is_as_long_as_what_was_written_last)
{
    static const size_t sizes[] = {0, 100, 999, 1000, 40000};
    static const char zeros[1000 + sizeof(struct state_header)];
    static char data[40000];
    memset(data, 'x', sizeof data);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct state_writer w;
        struct error err = ERROR_INIT;
        int fd = -1;
        cr_assert_eq(state_writer_open(&w, "counter", 3, 2, 0, &err), 0);
        cr_assert_eq(pwrite(w.fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
        w.file_bytes = sizeof zeros;
        cr_expect_eq(cloche_write(&w.api, data, sizes[i]), 0);
        cr_assert_eq(state_writer_seal(&w, 77, &fd, &err), 0, "%s", err.message);
        expect_bytes(fd, data, sizes[i], 4096);
        close(fd);
    }
}

Test(state, stops_at_the_cap)
{
    struct state_writer w;
    struct error err = ERROR_INIT;
    int fd = -1;
    static const char block[1000];
    cr_assert_eq(state_writer_open(&w, "counter", 3, 2, 2500, &err), 0);
    cr_expect_eq(cloche_write(&w.api, block, sizeof block), 0);
    cr_expect_eq(cloche_write(&w.api, block, sizeof block), 0);
    cr_expect_eq(cloche_write(&w.api, block, sizeof block), -1);
    cr_expect_eq(cloche_write(&w.api, block, SIZE_MAX), -1);
    cr_expect_eq(cloche_write(&w.api, block, 1), -1, "what failed once stays failed");
    cr_expect_eq(state_writer_seal(&w, 0, &fd, &err), -1);
    cr_expect_str_eq(err.code, "state.too_large");
    cr_expect_eq(fd, -1);
}

/* A sealed memfd made by hand, as a hostile worker would. */
static int forged(const struct state_header *h, size_t header_bytes, off_t size, int seals)
{
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert(fd >= 0 && ftruncate(fd, size) == 0);
    cr_assert_eq(pwrite(fd, h, header_bytes, 0), (ssize_t)header_bytes);
    if (seals != 0)
        cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

#define ALL (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char *code_of(int fd, const struct state_expect *e)
{
    static struct error err;
    struct state_header h;
    err = (struct error)ERROR_INIT;
    int r = state_check(fd, e, &h, &err);
    close(fd);
    return r == 0 ? "ok" : err.code;
}

Test(state, believes_no_header)
{
    const struct state_header fine = {.magic = STATE_MAGIC,
                                      .format = STATE_FORMAT,
                                      .header_bytes = sizeof fine,
                                      .version = 3,
                                      .schema = 2,
                                      .length_bytes = 8,
                                      .module = "counter"};
    const off_t size = sizeof fine + 8;
    struct state_header h = fine;
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "ok");
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, 0), &counter), "state.foreign");
    cr_expect_str_eq(
        code_of(forged(&h, sizeof h, size, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW), &counter),
        "state.foreign");
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size - 1, ALL), &counter), "state.torn");
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size + 1, ALL), &counter), "state.torn");
    cr_expect_str_eq(code_of(forged(&h, 20, 20, ALL), &counter), "state.torn");
    cr_expect_str_eq(code_of(forged(&h, 0, 0, ALL), &counter), "state.torn");

    h.length_bytes = UINT64_MAX - sizeof h + 1; /* wraps to the file's size */
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.torn");
    h = fine;
    h.magic++;
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.foreign");
    h = fine;
    h.header_bytes = 8;
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.foreign");
    h = fine;
    h.version = 4;
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.foreign");
    h = fine;
    h.schema = 1;
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.schema");
    h = fine;
    memcpy(h.module, "counter2", 8);
    cr_expect_str_eq(code_of(forged(&h, sizeof h, size, ALL), &counter), "state.foreign");

    h = fine;
    h.length_bytes = 1ull << 40; /* sparse: costs nothing to make */
    cr_expect_str_eq(code_of(forged(&h, sizeof h, sizeof h + (1ll << 40), ALL), &counter),
                     "state.too_large");
    cr_expect_str_eq(code_of(open("/etc/passwd", O_RDONLY), &counter), "state.foreign");
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_expect_str_eq(code_of(pipes[0], &counter), "state.foreign");
    cr_expect_str_eq(code_of(-1, &counter), "state.foreign");
}

/* --- checkpoints ----------------------------------------------------------------------------- */

static char *load_text(int dir, enum state_slot slot, const struct state_expect *e,
                       const char **ret_code)
{
    static struct error err;
    struct state_header h;
    int fd = -1;
    err = (struct error)ERROR_INIT;
    *ret_code = "ok";
    if (state_load(dir, slot, e, &fd, &h, &err) < 0) {
        *ret_code = err.code;
        return NULL;
    }
    struct state_reader r;
    cr_assert_eq(state_reader_open(&r, fd, e, &err), 0, "%s", err.message);
    char *text = calloc(1, h.length_bytes + 1);
    cr_assert_eq(cloche_read(&r.api, text, h.length_bytes), 0);
    state_reader_close(&r);
    close(fd);
    return text;
}

static void expect_slot(int dir, enum state_slot slot, const char *text)
{
    const char *code;
    _cleanup_free_ char *got = load_text(dir, slot, &counter, &code);
    if (text == NULL)
        cr_expect_str_eq(code, "state.none");
    else
        cr_expect(got != NULL && strcmp(got, text) == 0, "%s: %s", code, got);
}

static int save_text(int dir, enum state_slot slot, const char *text, struct error *err)
{
    _cleanup_close_ int fd = snapshot_of(text, strlen(text), 100);
    return state_save(dir, slot, fd, &counter, true, err);
}

Test(state, two_slots_do_not_touch_each_other)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    expect_slot(d.fd, STATE_GOOD, NULL);
    cr_expect_eq(state_promote(d.fd, "counter", &err), 0, "nothing to promote");
    cr_expect_eq(state_drop(d.fd, "counter", STATE_GOOD, &err), 0, "nothing to drop");
    cr_assert_eq(save_text(d.fd, STATE_GOOD, "one", &err), 0, "%s", err.message);
    cr_assert_eq(save_text(d.fd, STATE_PROBATION, "two", &err), 0);
    expect_slot(d.fd, STATE_GOOD, "one");
    expect_slot(d.fd, STATE_PROBATION, "two");
    cr_assert_eq(save_text(d.fd, STATE_PROBATION, "three", &err), 0);
    cr_assert_eq(state_promote(d.fd, "counter", &err), 0);
    expect_slot(d.fd, STATE_GOOD, "three");
    expect_slot(d.fd, STATE_PROBATION, NULL);
}

Test(state, recovery_promotes_only_the_good_version)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(save_text(d.fd, STATE_GOOD, "old", &err), 0);
    cr_assert_eq(save_text(d.fd, STATE_PROBATION, "tried", &err), 0);
    cr_assert_eq(state_recover(d.fd, "counter", 2, &err), 0);
    expect_slot(d.fd, STATE_GOOD, "old");
    expect_slot(d.fd, STATE_PROBATION, NULL);
    cr_assert_eq(save_text(d.fd, STATE_PROBATION, "confirmed", &err), 0);
    cr_assert_eq(state_recover(d.fd, "counter", 3, &err), 0);
    expect_slot(d.fd, STATE_GOOD, "confirmed");
    cr_assert_eq(state_recover(d.fd, "counter", 3, &err), 0);
    expect_slot(d.fd, STATE_GOOD, "confirmed");
}

Test(state, notices_every_damaged_byte)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(save_text(d.fd, STATE_GOOD, "some bytes of state", &err), 0);
    _cleanup_close_ int fd = openat(d.fd, "state/counter/good", O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    cr_assert_eq(size, (off_t)sizeof(struct state_header) + 19);
    for (off_t at = 0; at < size; at++) {
        unsigned char kept, wrong;
        const char *code;
        cr_assert_eq(pread(fd, &kept, 1, at), 1);
        wrong = kept ^ 0x20;
        cr_assert_eq(pwrite(fd, &wrong, 1, at), 1);
        cr_expect_null(load_text(d.fd, STATE_GOOD, &counter, &code), "byte %lld", (long long)at);
        cr_assert_eq(pwrite(fd, &kept, 1, at), 1);
    }
    for (off_t n = size - 1; n >= 0; n--) {
        const char *code;
        cr_assert_eq(ftruncate(fd, n), 0);
        cr_expect_null(load_text(d.fd, STATE_GOOD, &counter, &code));
        cr_expect_str_eq(code, "state.torn", "%lld bytes: %s", (long long)n, code);
    }
}

/* Whichever step fails, the slot holds what it held, or the new state; never neither. */
Test(state, failed_saves_leave_the_old_checkpoint)
{
    static const int errnos[] = {ENOSPC, EIO, EDQUOT};
    for (size_t e = 0; e < 3; e++) {
        for (long at = 1;; at++) {
            _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
            struct error err = ERROR_INIT;
            cr_assert_eq(save_text(d.fd, STATE_GOOD, "old", &err), 0);
            fault_set(at, errnos[e]);
            int r = save_text(d.fd, STATE_GOOD, "new", &err);
            fault_clear();
            if (fault_name[0] == '\0') {
                cr_expect_eq(r, 0);
                cr_expect_gt(at, 5, "only %ld steps", at);
                break;
            }
            if (strncmp(fault_name, "mkdir", 5) != 0)
                cr_expect_eq(r, -1, "%s", fault_name);
            const char *code;
            _cleanup_free_ char *got = load_text(d.fd, STATE_GOOD, &counter, &code);
            cr_expect(got != NULL && (strcmp(got, "old") == 0 || strcmp(got, "new") == 0),
                      "after %s: %s", fault_name, code);
            cr_assert_eq(save_text(d.fd, STATE_GOOD, "next", &err), 0, "%s", err.message);
            expect_slot(d.fd, STATE_GOOD, "next");
        }
    }
}

Test(state, killed_saves_leave_the_old_checkpoint)
{
    for (long at = 1;; at++) {
        _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
        struct error err = ERROR_INIT;
        cr_assert_eq(save_text(d.fd, STATE_GOOD, "old", &err), 0);
        pid_t pid = fork();
        if (pid == 0) {
            fault_set(at, 0);
            _exit(save_text(d.fd, STATE_GOOD, "new", &err) == 0 ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        const char *code;
        _cleanup_free_ char *got = load_text(d.fd, STATE_GOOD, &counter, &code);
        cr_expect(got != NULL && (strcmp(got, "old") == 0 || strcmp(got, "new") == 0),
                  "killed at step %ld: %s", at, code);
        if (WIFEXITED(status)) {
            cr_expect_eq(WEXITSTATUS(status), 0);
            cr_expect_str_eq(got, "new");
            cr_expect_gt(at, 5);
            break;
        }
    }
}

/* a real full file: the kernel stops the write half way */
Test(state, short_writes_are_no_checkpoints)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    struct error err = ERROR_INIT;
    cr_assert_eq(save_text(d.fd, STATE_GOOD, "old", &err), 0);
    static const char large[100000];
    _cleanup_close_ int fd = snapshot_of(large, sizeof large, 4096);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit kept, low = {4096, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &kept);
    low.rlim_max = kept.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
    int r = state_save(d.fd, STATE_GOOD, fd, &counter, true, &err);
    setrlimit(RLIMIT_FSIZE, &kept);
    cr_expect_eq(r, -1);
    cr_expect_str_eq(err.code, "state.unwritable");
    cr_expect_neq(faccessat(d.fd, "state/counter/.good.new", F_OK, 0), 0, "nothing staged is left");
    expect_slot(d.fd, STATE_GOOD, "old");
}
