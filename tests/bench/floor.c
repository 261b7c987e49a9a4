/* The floor: what the kernel itself costs. One clone3 with the namespaces of a sandbox, its mounts,
 * exec, wait; no filter, no cgroup, no report, no error messages. floor PROGRAM. */
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if ((x) < 0) {                                                                             \
            perror(#x);                                                                            \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    CHECK(fd);
    CHECK(write(fd, text, strlen(text)));
    close(fd);
}

static int make(const char *type, const char *const *options)
{
    int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    CHECK(fs);
    for (; options != NULL && *options != NULL; options += 2)
        CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[0], options[1], 0));
    CHECK(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
    CHECK(mnt);
    close(fs);
    return mnt;
}

static void attach(int tree, int root, const char *at)
{
    CHECK(syscall(SYS_move_mount, tree, "", root, at, MOVE_MOUNT_F_EMPTY_PATH));
}

static int bind_of(const char *path)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    CHECK(fd);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const settings[] = {"alternatives", "ld.so.cache", "ssl/certs"};
    int usr = bind_of("/usr"), node[6], setting[3], pipe_fd[2];
    for (int i = 0; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", nodes[i]);
        node[i] = bind_of(path);
    }
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof path, "/etc/%s", settings[i]);
        setting[i] = bind_of(path);
    }
    CHECK(pipe2(pipe_fd, O_CLOEXEC));
    struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
                                       CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
                              .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    CHECK(pid);
    if (pid == 0) {
        char c;
        close(pipe_fd[1]);
        if (read(pipe_fd[0], &c, 1) < 0)
            _exit(1);
        CHECK(setresgid(0, 0, 0));
        CHECK(setresuid(0, 0, 0));
        const char *root_options[] = {"mode", "755", NULL},
                   *proc_options[] = {"hidepid", "2", "subset", "pid", NULL};
        int root = make("tmpfs", root_options), proc = make("proc", proc_options),
            dev = make("tmpfs", root_options);
        int pts = make("devpts", NULL), shm = make("tmpfs", NULL), tmp = make("tmpfs", NULL);
        attach(root, AT_FDCWD, "/");
        static const char *const dirs[] = {"usr",     "etc",           "etc/alternatives",
                                           "etc/ssl", "etc/ssl/certs", "proc",
                                           "dev",     "tmp",           "home",
                                           "root",    "run",           "var"};
        for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
            CHECK(mkdirat(root, dirs[i], 0755));
        static const char *const links[][2] = {
            {"usr/bin", "bin"}, {"usr/sbin", "sbin"}, {"usr/lib", "lib"}, {"usr/lib64", "lib64"}};
        for (size_t i = 0; i < 4; i++)
            CHECK(symlinkat(links[i][0], root, links[i][1]));
        static const char *const files[] = {"etc/passwd", "etc/group", "etc/hosts",
                                            "etc/nsswitch.conf", "etc/ld.so.cache"};
        for (size_t i = 0; i < 5; i++)
            close(openat(root, files[i], O_CREAT | O_WRONLY, 0644));
        attach(usr, root, "usr");
        attach(setting[0], root, "etc/alternatives");
        attach(setting[1], root, "etc/ld.so.cache");
        attach(setting[2], root, "etc/ssl/certs");
        attach(dev, root, "dev");
        for (int i = 0; i < 6; i++) {
            close(openat(dev, nodes[i], O_CREAT | O_WRONLY, 0644));
            attach(node[i], dev, nodes[i]);
        }
        CHECK(mkdirat(dev, "pts", 0755));
        CHECK(mkdirat(dev, "shm", 0755));
        attach(pts, dev, "pts");
        attach(shm, dev, "shm");
        attach(proc, root, "proc");
        attach(tmp, root, "tmp");
        CHECK(fchdir(root));
        CHECK(syscall(SYS_pivot_root, ".", "."));
        CHECK(umount2(".", MNT_DETACH));
        CHECK(chdir("/"));
        pid_t program = fork();
        CHECK(program);
        if (program == 0) {
            execv(argv[1], argv + 1);
            _exit(127);
        }
        int status;
        CHECK(waitpid(program, &status, 0));
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
    write_file(path, "0 1879048192 65536");
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)pid);
    write_file(path, "0 1879048192 65536");
    close(pipe_fd[1]);
    int status;
    CHECK(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
