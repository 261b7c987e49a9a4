#include "tests/unit/seccomp.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[64], folder[96];

static void start(void)
{
    strcpy(root, "/tmp/cloche-seccomp.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    setenv("CLOCHE_ROOT", root, 1);
    snprintf(folder, sizeof folder, "%s/cache/seccomp", root);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(seccomp_cache, .init = start, .fini = end);

static struct seccomp_filter fetch(const char *name)
{
    struct spec spec = {.seccomp = {.kind = SECCOMP_NAMED, .name = name}};
    struct seccomp_filter f;
    struct error err = ERROR_INIT;
    cr_assert_eq(seccomp_filter_get(&f, &spec, &err), 0, "%s", err.message);
    return f;
}

static void expect_good(const char *what)
{
    struct seccomp_filter f = fetch("tight"), fresh;
    struct error err = ERROR_INIT;
    cr_assert_eq(seccomp_filter_build(&fresh, list_text("tight"), &err), 0);
    cr_expect_eq(f.count, fresh.count, "%s", what);
    cr_expect_eq(f.notifies, fresh.notifies, "%s", what);
    cr_expect_arr_eq(f.instructions, fresh.instructions, f.count * sizeof *f.instructions, "%s",
                     what);
    seccomp_filter_free(&f);
    seccomp_filter_free(&fresh);
}

/* The only file of the cache, and how many there are. */
static int cached_file(char *ret_path, size_t size)
{
    _cleanup_closedir_ DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(ret_path, size, "%s/%s", folder, e->d_name);
        n++;
    }
    return n;
}

struct file {
    char path[512];
    unsigned char *bytes;
    size_t size;
};

static struct file read_cache(void)
{
    struct file f;
    cr_assert_eq(cached_file(f.path, sizeof f.path), 1);
    _cleanup_close_ int fd = open(f.path, O_RDONLY);
    char *data;
    ssize_t n = io_read_to_end(fd, 1 << 20, &data);
    cr_assert_gt(n, 56);
    f.bytes = (unsigned char *)data;
    f.size = (size_t)n;
    return f;
}

static void write_cache(const struct file *f, size_t size)
{
    _cleanup_close_ int fd = open(f->path, O_WRONLY | O_TRUNC);
    cr_assert_eq(io_write_all(fd, f->bytes, size), 0);
}

Test(seccomp_cache, made_once_with_tight_modes)
{
    char path[512];
    struct stat st;
    expect_good("first");
    cr_assert_eq(cached_file(path, sizeof path), 1);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(stat(folder, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0700);
    expect_good("second");
    struct seccomp_filter f = fetch("wide");
    seccomp_filter_free(&f);
    cr_expect_eq(cached_file(path, sizeof path), 2);
}

/* A start that finds its filter compiles nothing: it gets what the file says, whatever that is. */
Test(seccomp_cache, what_is_cached_is_used)
{
    expect_good("first");
    struct file file = read_cache();
    unsigned char *magic = file.bytes;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    uint32_t count = 1, none = 0;
    memcpy(magic + 8, &count, 4);
    memcpy(magic + 16, &none, 4); /* notifies */
    memcpy(magic + 56, &allow, sizeof allow);
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, 24, magic);
    sha256_update(&ctx, sizeof allow, magic + 56);
    sha256_digest(&ctx, 32, magic + 24);
    write_cache(&file, 56 + sizeof allow);
    struct seccomp_filter f = fetch("tight");
    cr_expect_eq(f.count, 1);
    cr_expect_eq(f.instructions[0].k, SECCOMP_RET_ALLOW);
    cr_expect_not(f.notifies);
    seccomp_filter_free(&f);
    free(file.bytes);
}

Test(seccomp_cache, every_damaged_byte_is_noticed)
{
    expect_good("first");
    struct file f = read_cache();
    for (size_t i = 0; i < f.size; i += i < 64 ? 1 : 37) {
        if (i >= 20 && i < 24)
            continue; /* reserved: covered by the digest, but zero either way */
        f.bytes[i] ^= 1;
        write_cache(&f, f.size);
        f.bytes[i] ^= 1;
        expect_good("a flipped bit");
        struct file again = read_cache();
        cr_assert_eq(again.size, f.size);
        cr_assert_arr_eq(again.bytes, f.bytes, f.size, "byte %zu is not repaired", i);
        free(again.bytes);
    }
    static const size_t sizes[] = {0, 1, 8, 55, 56, 57, 100};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_cache(&f, sizes[i]);
        expect_good("a cut file");
    }
    free(f.bytes);
}

Test(seccomp_cache, files_of_others_are_not_trusted)
{
    expect_good("first");
    struct file f = read_cache();
    char elsewhere[128];
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", root);

    cr_assert_eq(chmod(f.path, 0620), 0);
    expect_good("writable by the group");
    if (geteuid() == 0) {
        cr_assert_eq(chown(f.path, 65534, 65534), 0);
        expect_good("of another user");
    }
    cr_assert_eq(rename(f.path, elsewhere), 0);
    cr_assert_eq(symlink(elsewhere, f.path), 0);
    expect_good("a symlink");
    struct stat st;
    cr_assert_eq(lstat(f.path, &st), 0);
    cr_expect(S_ISREG(st.st_mode));
    cr_assert_eq(unlink(f.path), 0);
    cr_assert_eq(mkfifo(f.path, 0600), 0);
    expect_good("a fifo");
    cr_assert_eq(lstat(f.path, &st), 0);
    cr_expect(S_ISREG(st.st_mode));
    cr_assert_eq(unlink(f.path), 0);
    cr_assert_eq(mkdir(f.path, 0700), 0);
    expect_good("a directory");
    free(f.bytes);
}

Test(seccomp_cache, nowhere_to_write)
{
    setenv("CLOCHE_ROOT", "/proc/nowhere", 1);
    expect_good("no directory");
    /* a state directory that others can write is not used */
    setenv("CLOCHE_ROOT", root, 1);
    expect_good("first");
    char path[512];
    struct file f = read_cache();
    cr_assert_eq(chmod(folder, 0777), 0);
    f.bytes[60] ^= 1;
    write_cache(&f, f.size);
    expect_good("a directory that others can write");
    cr_assert_eq(chmod(folder, 0700), 0);
    cr_expect_eq(cached_file(path, sizeof path), 1);
    free(f.bytes);
}

Test(seccomp_cache, a_dead_writer_leaves_nothing_in_the_way)
{
    expect_good("first");
    struct file f = read_cache();
    char temporary[640];
    snprintf(temporary, sizeof temporary, "%.*s.new", (int)(strlen(f.path) - 4), f.path);
    _cleanup_close_ int fd = open(temporary, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(io_write_all(fd, "half", 4), 0);
    cr_assert_eq(unlink(f.path), 0);
    expect_good("with a half-written file");
    struct file again = read_cache(); /* one file: the temporary became it */
    cr_expect_eq(again.size, f.size);
    free(f.bytes);
    free(again.bytes);
}

Test(seccomp_cache, many_builders_at_once)
{
    enum { BUILDERS = 12 };
    pid_t pids[BUILDERS];
    int status;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < BUILDERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                struct spec spec = {.seccomp = {.kind = SECCOMP_NAMED, .name = "tight"}};
                struct seccomp_filter f;
                _exit(seccomp_filter_get(&f, &spec, NULL) == 0 && f.count > 100 ? 0 : 1);
            }
        }
        for (int i = 0; i < BUILDERS; i++) {
            cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
            cr_expect_eq(status, 0);
        }
        struct file f = read_cache();
        expect_good("after the race");
        cr_assert_eq(unlink(f.path), 0);
        free(f.bytes);
    }
}

Test(seccomp_cache, custom_lists_are_cached_by_their_text)
{
    struct seccomp_filter f;
    char path[512];
    static const char *const texts[] = {
        "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "{\"defaultAction\":\"SCMP_ACT_ALLOW\" }",
        "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"]}"};
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 2; k++) {
            struct spec spec = {.seccomp = {.kind = SECCOMP_JSON, .json = texts[i]}};
            cr_assert_eq(seccomp_filter_get(&f, &spec, NULL), 0);
            cr_expect_eq(f.flags, i == 2 ? SECCOMP_FILTER_FLAG_LOG : 0);
            cr_expect_not(f.notifies);
            seccomp_filter_free(&f);
            cr_expect_eq(cached_file(path, sizeof path), i + 1);
        }
    }
}

Test(seccomp_cache, unconfined_and_unknown)
{
    struct spec spec = {.seccomp = {.kind = SECCOMP_UNCONFINED}};
    struct seccomp_filter f;
    struct error err = ERROR_INIT;
    cr_assert_eq(seccomp_filter_get(&f, &spec, &err), 0);
    cr_expect_null(f.instructions);
    cr_expect_eq(seccomp_filter_load(&f), 0);
    spec.seccomp = (struct spec_seccomp){.kind = SECCOMP_NAMED, .name = "tihgt"};
    cr_expect_eq(seccomp_filter_get(&f, &spec, &err), -1);
    cr_expect_str_eq(err.code, "seccomp.unknown_name");
    cr_expect_str_eq(err.message, "there is no syscall filter \"tihgt\"");
    cr_expect_str_eq(err.hint,
                     "the filters are: build, tight, wide; or give linux.seccomp in a spec");
}

/* --- lists that are wrong --- */

#define RULE(inner) "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" inner "]}"
#define KILL_READ   "\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\""

static const struct {
    const char *text, *code, *message;
} wrong[] = {
    {"", "seccomp.invalid", "linux.seccomp: not JSON"},
    {"{", "seccomp.invalid", "linux.seccomp: not JSON"},
    {"[]", "seccomp.invalid", "linux.seccomp: expected an object, found an array"},
    {"{}", "seccomp.invalid",
     "linux.seccomp.defaultAction: expected a string such as \"SCMP_ACT_KILL_PROCESS\", found "
     "nothing"},
    {"{\"defaultAction\":\"SCMP_ACT_ALOW\"}", "seccomp.invalid",
     "linux.seccomp.defaultAction: \"SCMP_ACT_ALOW\" is not known here, did you mean "
     "\"SCMP_ACT_ALLOW\"?"},
    {"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "seccomp.invalid",
     "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY can only stand in a rule"},
    {"{\"defaultAction\":\"SCMP_ACT_TRACE\"}", "seccomp.unsupported",
     "linux.seccomp.defaultAction: SCMP_ACT_TRACE needs a tracer, which a sandbox never has"},
    {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":5000}", "seccomp.invalid",
     "linux.seccomp.defaultErrnoRet: expected 0 to 4095, found 5000"},
    {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/run/x\"}", "seccomp.unsupported",
     "linux.seccomp.listenerPath: notifications go to Cloche itself, not to another agent"},
    {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_46\"]}",
     "seccomp.invalid",
     "linux.seccomp.architectures[0]: \"SCMP_ARCH_X86_46\" is not known here, did you mean "
     "\"SCMP_ARCH_X86_64\"?"},
    {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":\"x\"}", "seccomp.invalid",
     "linux.seccomp.flags: expected an array of strings, found a string"},
    {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}", "seccomp.invalid",
     "linux.seccomp.syscalls: expected an array, found an object"},
    {RULE("7"), "seccomp.invalid", "linux.seccomp.syscalls[0]: expected an object, found a number"},
    {RULE("{\"action\":\"SCMP_ACT_KILL\"}"), "seccomp.invalid",
     "linux.seccomp.syscalls[0].names: expected an array of names, found nothing"},
    {RULE("{\"names\":[],\"action\":\"SCMP_ACT_KILL\"}"), "seccomp.invalid",
     "linux.seccomp.syscalls[0].names: expected an array of names, found an empty one"},
    {RULE("{\"names\":[7],\"action\":\"SCMP_ACT_KILL\"}"), "seccomp.invalid",
     "linux.seccomp.syscalls[0].names: expected strings, found a number"},
    {RULE("{\"names\":[\"read\"]}"), "seccomp.invalid",
     "linux.seccomp.syscalls[0].action: expected a string such as \"SCMP_ACT_KILL_PROCESS\", "
     "found nothing"},
    {RULE("{" KILL_READ ",\"args\":7}"), "seccomp.invalid",
     "linux.seccomp.syscalls[0].args: expected an array, found a number"},
    {RULE("{" KILL_READ ",\"args\":[{\"index\":6,\"value\":-1,\"op\":\"SCMP_CMP_E\"}]}"),
     "seccomp.invalid",
     "linux.seccomp.syscalls[0].args[0].op: \"SCMP_CMP_E\" is not known here, did you mean "
     "\"SCMP_CMP_NE\"?\n"
     "linux.seccomp.syscalls[0].args[0].index: expected 0 to 5, found 6\n"
     "linux.seccomp.syscalls[0].args[0].value: expected 0 to 9007199254740992, found -1"},
    {RULE("{" KILL_READ ",\"args\":[{\"index\":0,\"value\":1.5,\"op\":\"SCMP_CMP_EQ\"}]}"),
     "seccomp.invalid",
     "linux.seccomp.syscalls[0].args[0].value: expected a whole number, found 1.5"},
    {RULE("{" KILL_READ ",\"args\":[{\"index\":0,\"value\":1e999,\"op\":\"SCMP_CMP_EQ\"}]}"),
     "seccomp.invalid",
     "linux.seccomp.syscalls[0].args[0].value: expected 0 to 9007199254740992, found inf"},
    {RULE("{" KILL_READ ",\"includes\":{\"caps\":[\"CAP_BPF\"]}}"), "seccomp.unsupported",
     "linux.seccomp.syscalls[0].includes: this is a container engine's template, not an OCI "
     "filter: its conditions must be resolved first"},
    {RULE("{\"names\":[\"execve\"],\"action\":\"SCMP_ACT_NOTIFY\"}"), "seccomp.invalid",
     "linux.seccomp.syscalls: execve cannot be SCMP_ACT_NOTIFY: the launch itself uses it"},
    {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"bpf\"],\"action\":"
     "\"SCMP_ACT_NOTIFY\"}]}",
     "seccomp.invalid",
     "linux.seccomp.syscalls: a list with SCMP_ACT_NOTIFY must allow sendmsg: the launch hands the "
     "listener over with it"},
};

Test(seccomp_lists, wrong_ones_are_refused)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct seccomp_filter f;
        struct error err = ERROR_INIT;
        cr_assert_eq(seccomp_filter_build(&f, wrong[i].text, &err), -1, "%s", wrong[i].text);
        cr_expect_str_eq(err.code, wrong[i].code, "%s", wrong[i].text);
        cr_expect_str_eq(err.message, wrong[i].message);
        cr_expect_eq(seccomp_filter_build(&f, wrong[i].text, NULL), -1);
    }
}

Test(seccomp_lists, a_thousand_problems_fit_into_one_error)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[7", f);
    for (int i = 0; i < 1000; i++)
        fputs(",7", f);
    fputs("]}", f);
    fclose(f);
    struct seccomp_filter filter;
    struct error err = ERROR_INIT;
    cr_expect_eq(seccomp_filter_build(&filter, text, &err), -1);
    cr_expect_lt(strlen(err.message), sizeof err.message);
    free(text);
}

Test(seccomp_lists, without_notify_the_never_tier_kills)
{
    struct seccomp_program p;
    const char *text = list_text("tight");
    struct seccomp_abilities can = {.notify = false};
    cr_assert_eq(seccomp_compile(&p, text, strlen(text), can, NULL), 0);
    cr_expect_not(p.notifies);
    struct seccomp_data d = {.nr = seccomp_syscall_number("bpf"), .arch = seccomp_native_arch()};
    cr_expect_eq(bpf_run(p.instructions, p.count, &d), SECCOMP_RET_KILL_PROCESS);
    free(p.instructions);
}

Test(seccomp_lists, names)
{
    cr_expect_str_eq(seccomp_syscall_name(seccomp_syscall_number("openat")), "openat");
    cr_expect_str_eq(seccomp_syscall_name(452), "fchmodat2");
    cr_expect_null(seccomp_syscall_name(-1));
    cr_expect_null(seccomp_syscall_name(1023));
    cr_expect_null(seccomp_syscall_name(1 << 20));
    cr_expect_eq(seccomp_syscall_number("no_such_call"), -1);
}
