#include "isolation/landlock.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

/* A directory with w (writable), r (read-only), x (writable, noexec) and a file in each. */
struct tree {
    char top[64], w[80], r[80], x[80];
    struct spec_mount mounts[4];
    struct spec spec;
};

static void run(const char *directory, const char *script)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && %s", directory, script);
    cr_assert_eq(system(command), 0, "%s", command);
}

static void tree_make(struct tree *t)
{
    *t = (struct tree){0};
    strcpy(t->top, "/tmp/cloche-landlock.XXXXXX");
    cr_assert_not_null(mkdtemp(t->top));
    chmod(t->top, 0755);
    snprintf(t->w, sizeof t->w, "%s/w", t->top);
    snprintf(t->r, sizeof t->r, "%s/r", t->top);
    snprintf(t->x, sizeof t->x, "%s/x", t->top);
    run(t->top,
        "mkdir w w/1 w/2 r x && for d in w r x; do cp /bin/true $d/; echo text >$d/file; done");
    t->mounts[0] = (struct spec_mount){.destination = t->w, .attr_set = MOUNT_ATTR_NODEV};
    t->mounts[1] =
        (struct spec_mount){.destination = t->r, .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY};
    t->mounts[2] =
        (struct spec_mount){.destination = t->x, .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    t->mounts[3] =
        (struct spec_mount){.kind = MOUNT_FS,
                            .destination = "/proc",
                            .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    t->spec = (struct spec){.rootfs = ROOTFS_HOST,
                            .rootfs_readonly = true,
                            .mounts = t->mounts,
                            .mount_count = 4,
                            .ns_new[NS_MOUNT] = true};
}

static void tree_remove(const struct tree *t)
{
    char script[96];
    snprintf(script, sizeof script, "rm -rf %s", t->top);
    run("/", script);
}

/* In a child below the plan, in directory @top: the status that @body returns. */
static int under(const struct landlock_plan *plan, const char *top, int (*body)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        const char *path = NULL;
        if (chdir(top) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            _exit(100);
        if (landlock_apply(plan, AT_FDCWD, &path) < 0) {
            fprintf(stderr, "landlock_apply: %s: %m\n", path == NULL ? "-" : path);
            _exit(101);
        }
        _exit(body());
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int under_spec(const struct spec *spec, const char *top, int (*body)(void))
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct landlock_plan plan;
    struct error err = ERROR_INIT;
    cr_assert_eq(landlock_plan_make(&plan, spec, a, &err), 0, "%s", err.message);
    return under(&plan, top, body);
}

#define NEEDS_LANDLOCK(abi)                                                                        \
    if (landlock_abi() < (abi))                                                                    \
    cr_skip_test("this kernel has no Landlock ABI " #abi)

/* Steps of a body: the number of the first that went otherwise. */
#define WORKS(n, call)                                                                             \
    if ((call) < 0)                                                                                \
    return n
#define REFUSED(n, call, code)                                                                     \
    if ((call) >= 0 || errno != (code))                                                            \
    return n

static int exec_status(const char *path)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        execl(path, path, NULL);
        _exit(errno == EACCES ? 77 : 78);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static int what_mounts_allow(void)
{
    int fd;
    WORKS(1, fd = open("w/new", O_CREAT | O_RDWR | O_TRUNC, 0644));
    WORKS(2, ftruncate(fd, 5));
    WORKS(3, truncate("w/new", 0));
    WORKS(4, mkdir("w/dir", 0755));
    WORKS(5, rename("w/new", "w/1/new"));
    WORKS(6, rename("w/1/new", "w/2/other"));
    WORKS(7, link("w/2/other", "w/1/hard"));
    WORKS(8, symlink("/nowhere", "w/link"));
    WORKS(9, mkfifo("w/fifo", 0600));
    WORKS(10, unlink("w/link"));
    WORKS(11, rmdir("w/dir"));
    WORKS(12, open("r/file", O_RDONLY));
    WORKS(13, open("/", O_RDONLY | O_DIRECTORY));
    WORKS(14, open("/etc/passwd", O_RDONLY));
    WORKS(15, open("/dev/null", O_RDWR));
    WORKS(16, open("/proc/self/comm", O_WRONLY | O_TRUNC));
    WORKS(17, open("/proc/self/status", O_RDONLY));
    if (exec_status("w/true") != 0)
        return 18;
    if (exec_status("/bin/true") != 0)
        return 19;
    if (exec_status("r/true") != 0)
        return 20;
    int pair[2];
    WORKS(21, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "w/socket"};
    WORKS(22, bind(pair[0], (struct sockaddr *)&path, sizeof path) < 0 ? -1 : 0);
    WORKS(23, memfd_create("x", 0));
    return 0;
}

static int what_mounts_forbid(void)
{
    REFUSED(1, open("r/file", O_WRONLY), EACCES);
    REFUSED(2, open("r/new", O_CREAT | O_WRONLY, 0644), EACCES);
    REFUSED(3, unlink("r/file"), EACCES);
    REFUSED(4, mkdir("r/dir", 0755), EACCES);
    REFUSED(5, symlink("/", "r/link"), EACCES);
    if (exec_status("x/true") != 77)
        return 6;
    REFUSED(7, open("top", O_CREAT | O_WRONLY, 0644), EACCES);
    REFUSED(8, open("/tmp/cloche-landlock-test-out", O_CREAT | O_WRONLY, 0644), EACCES);
    REFUSED(9, rename("w/file", "r/moved"), EACCES);
    if (landlock_abi() >= 3)
        REFUSED(10, truncate("r/file", 0), EACCES);
    if (geteuid() == 0)
        REFUSED(11, mknod("w/null", S_IFCHR | 0600, makedev(1, 3)), EACCES);
    return 0;
}

Test(landlock, derived_rules_follow_the_mounts)
{
    NEEDS_LANDLOCK(2);
    struct tree t;
    tree_make(&t);
    cr_expect_eq(under_spec(&t.spec, t.top, what_mounts_allow), 0);
    cr_expect_eq(under_spec(&t.spec, t.top, what_mounts_forbid), 0);
    tree_remove(&t);
}

Test(landlock, every_abi_that_this_kernel_can_play)
{
    NEEDS_LANDLOCK(2);
    for (int abi = 2; abi <= landlock_abi(); abi++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct landlock_plan plan;
        struct error err = ERROR_INIT;
        struct tree t;
        tree_make(&t);
        cr_assert_eq(landlock_plan_for(&plan, &t.spec, abi, a, &err), 0, "%s", err.message);
        cr_expect_eq(under(&plan, t.top, what_mounts_allow), 0, "ABI %d", abi);
        tree_remove(&t);
    }
}

static int streams(void)
{
    int fd;
    REFUSED(1, open("r/file", O_WRONLY), EACCES);
    WORKS(2, fd = open("/proc/self/fd/1", O_WRONLY)); /* held for writing */
    WORKS(3, write(fd, "x", 1));
    WORKS(4, open("/proc/self/fd/0", O_RDONLY));
    REFUSED(5, open("/proc/self/fd/0", O_RDWR), EACCES);   /* held for reading only */
    REFUSED(6, open("/proc/self/fd/1", O_RDONLY), EACCES); /* and the other way round */
    return 0;
}

Test(landlock, streams_open_again_in_their_own_mode)
{
    NEEDS_LANDLOCK(2);
    struct tree t;
    tree_make(&t);
    t.spec.rootfs = ROOTFS_HOST;
    _cleanup_arena_ struct arena *a = arena_new();
    struct landlock_plan plan;
    struct error err = ERROR_INIT;
    /* nothing but /proc: the streams lie outside */
    struct spec spec = t.spec;
    char *paths[] = {(char *)(uintptr_t) "/proc"};
    spec.landlock = (struct spec_landlock){.given = true, .read = {paths, 1}};
    cr_assert_eq(landlock_plan_make(&plan, &spec, a, &err), 0, "%s", err.message);
    char in[128], out[128];
    snprintf(in, sizeof in, "%s/file", t.w);
    snprintf(out, sizeof out, "%s/file", t.x);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int from = open(in, O_RDONLY), to = open(out, O_WRONLY);
        dup2(from, 0);
        dup2(to, 1);
        if (chdir(t.top) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            landlock_apply(&plan, AT_FDCWD, NULL) < 0)
            _exit(100);
        _exit(streams());
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "%#x", (unsigned)status);
    tree_remove(&t);
}

static int odd_streams(void)
{
    return 0;
}

Test(landlock, any_kind_of_stream)
{
    NEEDS_LANDLOCK(2);
    struct tree t;
    tree_make(&t);
    int pipe_fds[2], sockets[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    int odd[] = {pipe_fds[0],
                 sockets[0],
                 open("/", O_RDONLY),
                 open("/", O_PATH),
                 open("/dev/null", O_RDWR),
                 memfd_create("m", 0),
                 eventfd(0, 0)};
    int saved = dup(0);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        dup2(odd[i], 0);
        cr_expect_eq(under_spec(&t.spec, t.top, odd_streams), 0, "stream %zu", i);
    }
    close(0);
    cr_expect_eq(under_spec(&t.spec, t.top, odd_streams), 0, "no stream");
    dup2(saved, 0);
    tree_remove(&t);
}

static int given_body(void)
{
    WORKS(1, open("r/file", O_RDONLY));
    REFUSED(2, open("w/file", O_RDONLY), EACCES); /* write alone does not read */
    WORKS(3, open("w/file", O_WRONLY));
    REFUSED(4, open("x/file", O_RDONLY), EACCES);
    REFUSED(5, open("/etc/passwd", O_RDONLY), EACCES);
    REFUSED(6, open("r/file", O_WRONLY), EACCES);
    return exec_status("/bin/true") == 0 ? 0 : 7;
}

Test(landlock, given_lists_are_all_there_is)
{
    NEEDS_LANDLOCK(2);
    struct tree t;
    tree_make(&t);
    char *read_paths[] = {t.r}, *write_paths[] = {t.w};
    char *execute_paths[] = {(char *)(uintptr_t) "/usr", (char *)(uintptr_t) "/lib64"};
    t.spec.landlock = (struct spec_landlock){.given = true,
                                             .read = {read_paths, 1},
                                             .write = {write_paths, 1},
                                             .execute = {execute_paths, 2}};
    cr_expect_eq(under_spec(&t.spec, t.top, given_body), 0);

    /* a path that is not there is an error, and named */
    char *missing[] = {(char *)(uintptr_t) "/not/there"};
    t.spec.landlock.read.items = missing;
    _cleanup_arena_ struct arena *a = arena_new();
    struct landlock_plan plan;
    const char *path = NULL;
    cr_assert_eq(landlock_plan_make(&plan, &t.spec, a, NULL), 0);
    cr_expect_eq(landlock_apply(&plan, AT_FDCWD, &path), -1);
    cr_expect_eq(errno, ENOENT);
    cr_expect_str_eq(path, "/not/there");
    tree_remove(&t);
}

static uint16_t free_port, other_port;

static int tcp(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(other_port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    REFUSED(1, connect(s, (struct sockaddr *)&to, sizeof to), EACCES);
    REFUSED(2, bind(s, (struct sockaddr *)&to, sizeof to), EACCES);
    to.sin_port = htons(free_port);
    REFUSED(3, bind(s, (struct sockaddr *)&to, sizeof to), EACCES);
    REFUSED(4, connect(s, (struct sockaddr *)&to, sizeof to), ECONNREFUSED);
    return 0;
}

Test(landlock, tcp_ports)
{
    NEEDS_LANDLOCK(4);
    struct tree t;
    tree_make(&t);
    free_port = 1; /* nobody listens on tcpmux */
    other_port = 2;
    t.spec.landlock = (struct spec_landlock){
        .given = true, .tcp_given = true, .tcp_connect = &free_port, .tcp_connect_count = 1};
    cr_expect_eq(under_spec(&t.spec, t.top, tcp), 0);
    cr_expect_eq(under_spec(&t.spec, t.top, what_mounts_allow), 0, "files stay derived");
    tree_remove(&t);
}

static int listener;

static int scopes(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t len = sizeof name;
    getsockname(listener, (struct sockaddr *)&name, &len);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    REFUSED(1, connect(s, (struct sockaddr *)&name, len), EPERM);
    REFUSED(2, kill(getppid(), 0), EPERM);
    WORKS(3, kill(getpid(), 0));
    /* among ourselves both work */
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    WORKS(4, bind(l, (struct sockaddr *)&own, sizeof(sa_family_t)));
    WORKS(5, listen(l, 1));
    len = sizeof own;
    getsockname(l, (struct sockaddr *)&own, &len);
    WORKS(6, connect(s, (struct sockaddr *)&own, len));
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    WORKS(7, kill(pid, SIGKILL));
    return 0;
}

Test(landlock, sockets_and_signals_end_at_the_sandbox)
{
    NEEDS_LANDLOCK(6);
    struct tree t;
    tree_make(&t);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&any, sizeof(sa_family_t)), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_expect_eq(under_spec(&t.spec, t.top, scopes), 0);
    tree_remove(&t);
}

Test(landlock, few_rules)
{
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_spec_ struct spec *spec = spec_new();
    struct landlock_plan plan;
    struct error err = ERROR_INIT;
    cr_assert_eq(spec_apply_profile(spec, "student", &err), 0, "%s", err.message);
    cr_assert_eq(landlock_plan_for(&plan, spec, 6, a, &err), 0);
    cr_expect_leq(plan.rule_count, 8);
    cr_expect_str_eq(plan.rules[0].path, "/");
}

Test(landlock, kernels_that_cannot)
{
    _cleanup_arena_ struct arena *a = arena_new();
    struct landlock_plan plan;
    struct tree t;
    tree_make(&t);
    /* derived: no wall rather than a broken one */
    for (int abi = 0; abi < 2; abi++) {
        cr_expect_eq(landlock_plan_for(&plan, &t.spec, abi, a, NULL), 0);
        cr_expect_eq(plan.abi, 0);
        cr_expect_eq(landlock_apply(&plan, AT_FDCWD, NULL), 0);
    }
    struct error err = ERROR_INIT;
    t.spec.landlock = (struct spec_landlock){.given = true};
    cr_expect_eq(landlock_plan_for(&plan, &t.spec, 0, a, &err), -1);
    cr_expect_str_eq(err.code, "landlock.unsupported");
    cr_expect_str_eq(err.message,
                     "cloche.landlock: this kernel has no Landlock, or it is disabled at boot");
    t.spec.landlock.tcp_given = true;
    cr_expect_eq(landlock_plan_for(&plan, &t.spec, 3, a, &err), -1);
    cr_expect_str_eq(
        err.message,
        "cloche.landlock.tcp_bind and tcp_connect needs Landlock ABI 4, this kernel has 3");
    tree_remove(&t);
}
