/* Control groups on the kernel at hand: v1 and hybrid hosts, pure v2, delegated subtrees. */
#include "isolation/cgroup_impl.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/syscalls.h"
#include "tests/unit/sandbox_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MIB (1024ULL * 1024)

static struct spec spec;
static struct error err;

static void no_limits(struct spec_resources *r)
{
    memset(r, 0, sizeof *r);
    r->memory_bytes = r->memory_high_bytes = r->processes = LIMIT_NONE;
    r->cpu_quota_us = LIMIT_NONE;
    r->cpu_period_us = 100000;
}

static void setup(void)
{
    memset(&spec, 0, sizeof spec);
    memset(&err, 0, sizeof err);
    no_limits(&spec.resources);
}

/* Names of a pid that ends with the test: whatever goes wrong, the next run sweeps. */
static const char *fresh_name(void)
{
    static char name[64];
    static int n;
    snprintf(name, sizeof name, "run-%d-%d", (int)getpid(), n++);
    return name;
}

static void skip_without_cgroups(void)
{
    struct spec probe = {0};
    struct cgroup *g;
    no_limits(&probe.resources);
    probe.resources.memory_bytes = 64 * MIB;
    probe.resources.processes = 16;
    if (cgroup_create(&g, fresh_name(), &probe, true, &err) == 0) {
        cr_assert_eq(cgroup_remove(g, &err), 0, "%s", err.message);
        return;
    }
    cr_assert_neq(geteuid(), 0, "%s: %s", err.code, err.message);
    cr_assert_str_eq(err.code, "cgroup.not_delegated");
    cr_assert_neq(err.hint[0], '\0');
    cr_skip_test("no cgroup controllers delegated to this user");
}

static struct cgroup *create_or_fail(void)
{
    struct cgroup *g = NULL;
    int r = cgroup_create(&g, fresh_name(), &spec, true, &err);
    cr_assert_eq(r, 0, "%s: %s; %s", err.code, err.message, err.hint);
    return g;
}

static void remove_or_fail(struct cgroup *g)
{
    cr_assert_eq(cgroup_remove(g, &err), 0, "%s: %s", err.code, err.message);
}

/* A process in the group, as isolation/launch.c makes one. */
static pid_t spawn(struct cgroup *g, void (*body)(void *), void *arg)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    int fds[CGROUP_DIRS_MAX], n = cgroup_join_fds(g, fds, CGROUP_DIRS_MAX);
    if (cgroup_v2_fd(g) >= 0) {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_v2_fd(g);
    }
    pid_t pid = sys_clone3(&args);
    cr_assert_geq(pid, 0, "clone3: %s", strerror(errno));
    if (pid == 0) {
        for (int i = 0; i < n; i++) {
            if (write(fds[i], "0", 1) != 1)
                _exit(99);
        }
        /* as in a launch: nothing of the creator stays open, least of all its lock */
        sys_close_range(3, ~0U, 0);
        body(arg);
        _exit(0);
    }
    return pid;
}

static void leave(void *arg)
{
    (void)arg;
}

static void *shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(p, MAP_FAILED);
    return p;
}

static void wait_until(const volatile int *flag)
{
    while (*flag == 0)
        sched_yield();
}

static int wait_status(pid_t pid)
{
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* Directories of a group of this name, in all hierarchies. */
static int count_dirs(const char *name)
{
    char command[256];
    snprintf(command, sizeof command, "find /sys/fs/cgroup -type d -name '%s' 2>/dev/null | wc -l",
             name);
    FILE *p = popen(command, "r");
    int n = -1;
    cr_assert(p != NULL && fscanf(p, "%d", &n) == 1);
    pclose(p);
    return n;
}

static void read_back(struct cgroup *g, enum cgroup_controller c, const char *v1_file,
                      const char *v2_file, char *buf, size_t size)
{
    const struct cgroup_dir *d = cgroup_dir_of(g, c);
    cr_assert_not_null(d, "no group for %s", cgroup_controllers[c].v1);
    const char *file = d->version == 1 ? v1_file : v2_file;
    cr_assert_geq(io_read_file_at(d->fd, file, buf, size), 0, "%s/%s: %s", d->path, file,
                  strerror(errno));
}

static void expect(struct cgroup *g, enum cgroup_controller c, const char *v1_file,
                   const char *v1_value, const char *v2_file, const char *v2_value)
{
    char text[256];
    read_back(g, c, v1_file, v2_file, text, sizeof text);
    cr_assert_str_eq(text, cgroup_dir_of(g, c)->version == 1 ? v1_value : v2_value, "%s has \"%s\"",
                     v2_file, text);
}

TestSuite(cgroup, .init = setup, .timeout = 120);

Test(cgroup, memory_and_processes_are_written)
{
    skip_without_cgroups();
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.memory_high_bytes = 32 * MIB;
    spec.resources.processes = 16;
    struct cgroup *g = create_or_fail();
    expect(g, CTL_MEMORY, "memory.limit_in_bytes", "67108864", "memory.max", "67108864");
    expect(g, CTL_MEMORY, "memory.memsw.limit_in_bytes", "67108864", "memory.swap.max", "0");
    expect(g, CTL_MEMORY, "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432");
    expect(g, CTL_PIDS, "pids.max", "17", "pids.max", "17"); /* and init */
    if (cgroup_dir_of(g, CTL_MEMORY)->version == 2) {
        expect(g, CTL_MEMORY, "", "", "memory.oom.group", "1");
        expect(g, CTL_MEMORY, "", "", "cgroup.max.descendants", "0");
    }
    enum means m = cgroup_dir_of(g, CTL_MEMORY)->version == 1 ? MEANS_CGROUP1 : MEANS_CGROUP2;
    cr_assert_eq(cgroup_enforced_by(g, CGROUP_MEMORY), m);
    cr_assert_eq(cgroup_measured_by(g, CGROUP_MEMORY), m);
    cr_assert_eq(cgroup_enforced_by(g, CGROUP_PROCESSES), m);
    cr_assert_eq(cgroup_measured_by(g, CGROUP_CPU), MEANS_CGROUP2);
    remove_or_fail(g);
}

Test(cgroup, swap_is_beside_memory)
{
    skip_without_cgroups();
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.swap_bytes = 16 * MIB;
    spec.resources.swap_set = true;
    struct cgroup *g = create_or_fail();
    expect(g, CTL_MEMORY, "memory.memsw.limit_in_bytes", "83886080", "memory.swap.max", "16777216");
    remove_or_fail(g);
}

Test(cgroup, cpu_is_written)
{
    skip_without_cgroups();
    spec.resources.cpu_quota_us = 50000;
    spec.resources.cpu_shares = 1024;
    struct cgroup *g = create_or_fail();
    expect(g, CTL_CPU, "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000");
    expect(g, CTL_CPU, "cpu.shares", "1024", "cpu.weight", "100");
    cr_assert_neq(cgroup_enforced_by(g, CGROUP_CPU), MEANS_NONE);
    cr_assert_eq(cgroup_enforced_by(g, CGROUP_MEMORY), MEANS_NONE);
    remove_or_fail(g);
}

Test(cgroup, cpuset_is_written)
{
    skip_without_cgroups();
    if (geteuid() != 0)
        cr_skip_test("needs root");
    spec.resources.cpuset_cpus = "0";
    spec.resources.cpuset_mems = "0";
    struct cgroup *g = create_or_fail();
    expect(g, CTL_CPUSET, "cpuset.cpus", "0", "cpuset.cpus", "0");
    expect(g, CTL_CPUSET, "cpuset.mems", "0", "cpuset.mems", "0");
    remove_or_fail(g);
    /* one of the two given: the other is inherited, and processes can join */
    spec.resources.cpuset_mems = NULL;
    g = create_or_fail();
    pid_t pid = spawn(g, leave, NULL);
    cr_assert_eq(wait_status(pid), 0);
    remove_or_fail(g);
}

/* "8:0" of some disk; the first that sysfs lists */
static bool find_disk(struct spec_blkio_device *ret)
{
    FILE *p =
        popen("cat /sys/block/vd*/dev /sys/block/sd*/dev /sys/block/loop0/dev 2>/dev/null", "r");
    bool found = p != NULL && fscanf(p, "%u:%u", &ret->major, &ret->minor) == 2;
    if (p != NULL)
        pclose(p);
    return found;
}

Test(cgroup, block_io_is_written)
{
    skip_without_cgroups();
    if (geteuid() != 0)
        cr_skip_test("needs root");
    struct spec_blkio_device disk = {.read_iops = LIMIT_NONE, .write_iops = LIMIT_NONE};
    cr_assert(find_disk(&disk));
    disk.read_bps = 1048576;
    disk.write_bps = 2097152;
    spec.resources.blkio_devices = &disk;
    spec.resources.blkio_device_count = 1;
    struct cgroup *g = create_or_fail();
    char v1[64], v2[96];
    snprintf(v1, sizeof v1, "%u:%u 2097152", disk.major, disk.minor);
    snprintf(v2, sizeof v2, "%u:%u rbps=1048576 wbps=2097152 riops=max wiops=max", disk.major,
             disk.minor);
    expect(g, CTL_IO, "blkio.throttle.write_bps_device", v1, "io.max", v2);
    struct cgroup_stats s;
    cr_assert_eq(cgroup_read_stats(g, &s), 0);
    remove_or_fail(g);
}

Test(cgroup, unified_files)
{
    skip_without_cgroups();
    struct spec_pair pair = {"cgroup.max.depth", "3"};
    spec.resources.unified = &pair;
    spec.resources.unified_count = 1;
    struct cgroup *g = create_or_fail();
    char text[32];
    cr_assert_geq(io_read_file_at(cgroup_v2_fd(g), "cgroup.max.depth", text, sizeof text), 0);
    cr_assert_str_eq(text, "3");
    remove_or_fail(g);

    static const struct {
        const char *file, *code;
    } bad[] = {{"../cgroup.procs", "cgroup.limit"},
               {"cgroup.procs", "cgroup.limit"},
               {"cgroup.kill", "cgroup.limit"},
               {"cgroup.subtree_control", "cgroup.limit"},
               {"x/memory.max", "cgroup.limit"},
               {"", "cgroup.limit"},
               {"memory.nonsense", "cgroup.missing_controller"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pair.key = bad[i].file;
        cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, true, &err), -1);
        cr_assert_str_eq(err.code, bad[i].code);
        cr_assert_neq(err.hint[0], '\0');
    }
}

static void allocate_too_much(void *arg)
{
    (void)arg;
    for (;;) {
        char *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            _exit(98);
        memset(p, 1, MIB);
    }
}

Test(cgroup, out_of_memory_is_noticed)
{
    skip_without_cgroups();
    spec.resources.memory_bytes = 16 * MIB;
    struct cgroup *g = create_or_fail();
    uint32_t events = 0;
    int fd = cgroup_memory_event_fd(g, &events);
    cr_assert_geq(fd, 0);
    /* quiet before anything happened */
    struct pollfd p = {.fd = fd, .events = (short)events};
    cr_assert_eq(poll(&p, 1, 0), 0);
    cr_assert_not(cgroup_memory_exceeded(g));

    pid_t pid = spawn(g, allocate_too_much, NULL);
    do
        cr_assert_eq(poll(&p, 1, 60000), 1, "no event");
    while (!cgroup_memory_exceeded(g));
    int status = wait_status(pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", (unsigned)status);
    cr_assert(cgroup_memory_exceeded(g));
    struct cgroup_stats s;
    cr_assert_eq(cgroup_read_stats(g, &s), 0);
    cr_assert_geq(s.oom_kills, 1);
    /* memory.peak came with 5.19 */
    cr_assert(s.memory_peak_bytes > 15 * MIB && s.memory_peak_bytes <= 16 * MIB + MIB / 2,
              "peak %lu", (unsigned long)s.memory_peak_bytes);
    remove_or_fail(g);
}

static void sleep_forever(void *arg)
{
    if (arg != NULL)
        *(volatile int *)arg = 1;
    for (;;)
        pause();
}

static void fork_to_the_limit(void *arg)
{
    pid_t pids[64];
    int made = 0;
    for (; made < 64; made++) {
        pids[made] = fork();
        if (pids[made] == 0)
            sleep_forever(NULL);
        if (pids[made] < 0)
            break;
    }
    *(int *)arg = made;
    for (int i = 0; i < made; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

Test(cgroup, forks_stop_at_the_limit)
{
    skip_without_cgroups();
    spec.resources.processes = 5;
    struct cgroup *g = create_or_fail();
    int *made = shared(sizeof *made);
    cr_assert_eq(wait_status(spawn(g, fork_to_the_limit, made)), 0);
    cr_assert_eq(*made, 5, "%d forks", *made); /* what forks stands for init */
    struct cgroup_stats s;
    cgroup_read_stats(g, &s);
    cr_assert_eq(s.process_limit_hits, 1);
    cr_assert(s.processes_peak == 6 || s.processes_peak == 0); /* pids.peak came with 6.2 */
    cr_assert_eq(s.processes, 0);
    remove_or_fail(g);
}

static void burn(void *arg)
{
    struct timespec t;
    volatile unsigned long x = 0;
    (void)arg;
    do {
        for (int i = 0; i < 10000; i++)
            x += (unsigned long)i;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    } while (t.tv_sec == 0 && t.tv_nsec < 300000000);
}

Test(cgroup, cpu_time_agrees_with_rusage)
{
    skip_without_cgroups();
    struct cgroup *g = create_or_fail();
    struct rusage u;
    struct cgroup_stats s;
    pid_t pid = spawn(g, burn, NULL);
    cr_assert_eq(wait4(pid, NULL, 0, &u), pid);
    int64_t used = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec +
                   u.ru_stime.tv_usec;
    int64_t counted = cgroup_cpu_usec(g);
    cr_assert(llabs(counted - used) * 50 <= used, "group %ld, rusage %ld", (long)counted,
              (long)used);
    cgroup_read_stats(g, &s);
    cr_assert_eq(s.cpu_usec, counted);
    cr_assert_leq(llabs((long long)(s.user_usec + s.system_usec) - (long long)s.cpu_usec), 2);
    remove_or_fail(g);
}

static void fork_and_sleep(void *arg)
{
    for (int i = 0; i < 3; i++) {
        if (fork() == 0)
            setsid();
    }
    *(volatile int *)arg = 1;
    sleep_forever(NULL);
}

Test(cgroup, kill_reaches_every_process_and_removal_follows)
{
    skip_without_cgroups();
    struct cgroup *g = create_or_fail();
    volatile int *ready = shared(sizeof *ready);
    pid_t pid = spawn(g, fork_and_sleep, (void *)(uintptr_t)ready);
    wait_until(ready);
    cr_assert_eq(cgroup_kill(g), 0, "%s", strerror(errno));
    cr_assert_eq(WTERMSIG(wait_status(pid)), SIGKILL);
    /* the others are still dying: removal waits for them */
    remove_or_fail(g);
}

Test(cgroup, removal_says_what_stays)
{
    skip_without_cgroups();
    struct cgroup *g = create_or_fail();
    char name[64], pid_text[24];
    snprintf(name, sizeof name, "%s", g->name);
    volatile int *ready = shared(sizeof *ready);
    pid_t pid = spawn(g, sleep_forever, (void *)(uintptr_t)ready);
    wait_until(ready);
    cr_assert_eq(cgroup_remove(g, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.busy");
    snprintf(pid_text, sizeof pid_text, "processes %d", (int)pid);
    cr_assert_not_null(strstr(err.message, name), "%s", err.message);
    cr_assert_not_null(strstr(err.message, pid_text), "%s", err.message);
    cr_assert_geq(cgroup_sweep(name, &err), 1, "%s", err.message);
    cr_assert_eq(count_dirs(name), 0);
    cr_assert_eq(WTERMSIG(wait_status(pid)), SIGKILL);
    cr_assert_geq(cgroup_sweep(name, &err), 0);
}

static void count_up(void *arg)
{
    volatile uint64_t *n = arg;
    for (;;)
        ++*n;
}

Test(cgroup, frozen_means_still)
{
    skip_without_cgroups();
    struct cgroup *g = create_or_fail();
    volatile uint64_t *n = shared(sizeof *n);
    pid_t pid = spawn(g, count_up, (void *)(uintptr_t)n);
    while (*n == 0)
        sched_yield();
    cr_assert_eq(cgroup_freeze(g, true, &err), 0, "%s", err.message);
    uint64_t before = *n;
    for (int i = 0; i < 2000; i++)
        sched_yield();
    cr_assert_eq(*n, before, "it ran on");
    cr_assert_eq(cgroup_freeze(g, false, &err), 0, "%s", err.message);
    while (*n == before)
        sched_yield();
    /* a frozen group can be killed as well */
    cr_assert_eq(cgroup_freeze(g, true, &err), 0, "%s", err.message);
    cr_assert_eq(cgroup_kill(g), 0);
    cr_assert_eq(WTERMSIG(wait_status(pid)), SIGKILL);
    remove_or_fail(g);
}

Test(cgroup, limits_change_both_ways)
{
    skip_without_cgroups();
    static const struct {
        uint64_t memory, processes;
        const char *v1_memory, *v1_sum, *v2_memory, *pids;
    } steps[] = {
        {128 * MIB, 32, "134217728", "134217728", "134217728", "33"},
        {32 * MIB, 8, "33554432", "33554432", "33554432", "9"},
        {LIMIT_NONE, LIMIT_NONE, "9223372036854771712", "9223372036854771712", "max", "max"},
        {64 * MIB, 16, "67108864", "67108864", "67108864", "17"},
    };
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.processes = 16;
    struct cgroup *g = create_or_fail();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct spec_resources r = spec.resources;
        r.memory_bytes = steps[i].memory;
        r.processes = steps[i].processes;
        cr_assert_eq(cgroup_update(g, &r, true, &err), 0, "%s", err.message);
        expect(g, CTL_MEMORY, "memory.limit_in_bytes", steps[i].v1_memory, "memory.max",
               steps[i].v2_memory);
        expect(g, CTL_MEMORY, "memory.memsw.limit_in_bytes", steps[i].v1_sum, "memory.max",
               steps[i].v2_memory);
        expect(g, CTL_PIDS, "pids.max", steps[i].pids, "pids.max", steps[i].pids);
    }
    remove_or_fail(g);
}

/* A run that dies without a word: makes its group, perhaps leaves a process in it. */
static void die_at_work(char *name, size_t size, bool leave_process, pid_t *ret_left)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct cgroup *g;
        struct {
            char name[64];
            pid_t left;
        } told = {.left = -1};
        snprintf(told.name, sizeof told.name, "%s", fresh_name());
        if (cgroup_create(&g, told.name, &spec, true, &err) < 0)
            _exit(1);
        if (leave_process) {
            volatile int *ready = shared(sizeof *ready);
            told.left = spawn(g, sleep_forever, (void *)(uintptr_t)ready);
            wait_until(ready);
        }
        if (write(fds[1], &told, sizeof told) != sizeof told)
            _exit(1);
        _exit(0);
    }
    struct {
        char name[64];
        pid_t left;
    } told;
    cr_assert_eq(read(fds[0], &told, sizeof told), (ssize_t)sizeof told);
    cr_assert_eq(wait_status(pid), 0);
    close(fds[0]);
    close(fds[1]);
    snprintf(name, size, "%s", told.name);
    *ret_left = told.left;
}

Test(cgroup, create_sweeps_what_a_dead_run_left)
{
    skip_without_cgroups();
    char name[64];
    pid_t left;
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.cpu_quota_us = 50000; /* a hierarchy that the sweeper itself does not use */
    die_at_work(name, sizeof name, false, &left);
    setup();
    struct cgroup *g = create_or_fail();
    while (count_dirs(name) > 0) /* another test beside this one may be at it, too */
        sched_yield();
    remove_or_fail(g);
}

Test(cgroup, sweep_kills_what_a_dead_run_left_running)
{
    skip_without_cgroups();
    char name[64];
    pid_t left;
    spec.resources.memory_bytes = 64 * MIB;
    die_at_work(name, sizeof name, true, &left);
    int pidfd = sys_pidfd_open(left, 0);
    /* another test beside this one may have swept it already */
    cr_assert(pidfd >= 0 || errno == ESRCH);
    struct cgroup *g = create_or_fail();
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    cr_assert(pidfd < 0 || poll(&p, 1, 10000) == 1, "it still runs");
    if (pidfd >= 0)
        close(pidfd);
    while (count_dirs(name) > 0) /* until the test's deadline */
        sched_yield();
    remove_or_fail(g);
}

Test(cgroup, sweep_leaves_the_living_of_other_pid_namespaces)
{
    skip_without_cgroups();
    /* a pid that is nobody's here, as a creator in another pid namespace would have */
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    wait_status(pid);
    char name[64];
    snprintf(name, sizeof name, "run-%d-77", (int)pid);
    struct cgroup *g, *other;
    cr_assert_eq(cgroup_create(&g, name, &spec, true, &err), 0, "%s", err.message);
    other = create_or_fail();
    cr_assert_gt(count_dirs(name), 0);
    remove_or_fail(other);
    remove_or_fail(g);
}

/* How many sweeps a dead run's group needs beside @living; a directory is slice enough. */
static int sweeps_among(int living)
{
    _cleanup_sandbox_dir_ struct sandbox_dir d = sandbox_dir_new();
    const struct cgroup g = {.dir_count = 1, .dirs = {{.version = 1, .slice_fd = d.fd}}};
    char name[64];
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    wait_status(dead);
    for (int i = 0; i < living; i++) {
        snprintf(name, sizeof name, "sandbox-%d", i);
        cr_assert_eq(mkdirat(d.fd, name, 0755), 0);
    }
    snprintf(name, sizeof name, "run-%d-0", (int)dead);
    cr_assert_eq(mkdirat(d.fd, name, 0755), 0);
    int sweeps = 0;
    for (; faccessat(d.fd, name, F_OK, 0) == 0; sweeps++) /* until the test's deadline */
        cgroup_sweep_dead(&g);
    return sweeps;
}

Test(cgroup, a_crowd_is_swept_in_turns)
{
    cr_assert_eq(sweeps_among(0), 1);
    cr_assert_eq(sweeps_among(CGROUP_SWEEP_ALWAYS - 1), 1);
    int sweeps = 0;
    for (int i = 0; i < 6; i++)
        sweeps += sweeps_among(CGROUP_SWEEP_ALWAYS);
    cr_assert_gt(sweeps, 6, "every start reads the whole list");
}

Test(cgroup, the_same_name_twice)
{
    skip_without_cgroups();
    struct cgroup *g = create_or_fail(), *second = NULL;
    cr_assert_eq(cgroup_create(&second, g->name, &spec, true, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.exists");
    cr_assert_eq(cgroup_create(&second, g->name, &spec, false, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.exists");
    remove_or_fail(g);
}

Test(cgroup, a_leftover_of_the_same_id_is_replaced)
{
    skip_without_cgroups();
    char name[64];
    snprintf(name, sizeof name, "id-%d", (int)getpid());
    spec.resources.memory_bytes = 64 * MIB;
    pid_t pid = fork();
    if (pid == 0) {
        struct cgroup *g;
        _exit(cgroup_create(&g, name, &spec, true, &err) == 0 ? 0 : 1);
    }
    cr_assert_eq(wait_status(pid), 0);
    cr_assert_gt(count_dirs(name), 0);
    struct cgroup *g;
    cr_assert_eq(cgroup_create(&g, name, &spec, true, &err), 0, "%s", err.message);
    remove_or_fail(g);
    cr_assert_eq(count_dirs(name), 0);
}

Test(cgroup, a_path_chosen_by_the_spec)
{
    skip_without_cgroups();
    char top[64], path[128];
    snprintf(top, sizeof top, "path-%d", (int)getpid());
    snprintf(path, sizeof path, "/%s/b/c", top);
    spec.cgroups_path = path;
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.processes = 8;
    if (geteuid() == 0)
        spec.resources.cpuset_cpus = "0";
    struct cgroup *g = create_or_fail();
    expect(g, CTL_MEMORY, "memory.limit_in_bytes", "67108864", "memory.max", "67108864");
    cr_assert_not_null(strstr(g->dirs[0].path, path), "%s", g->dirs[0].path);
    pid_t pid = spawn(g, leave, NULL);
    cr_assert_eq(wait_status(pid), 0);
    remove_or_fail(g);
    cr_assert_eq(count_dirs(top), 0);

    spec.cgroups_path = "/../../escape";
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, false, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.path");
}

Test(cgroup, refused_names)
{
    static const char *const names[] = {"", "..", "../x", "a/b", ".x", "a\nb"};
    struct cgroup *g;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_eq(cgroup_create(&g, names[i], &spec, false, &err), -1);
        cr_assert_str_eq(err.code, "cgroup.name");
        cr_assert_eq(cgroup_sweep(names[i], &err), -1);
    }
}

Test(cgroup, a_refused_value_is_an_error_only_when_required)
{
    skip_without_cgroups();
    struct cgroup *g;
    const char *name = fresh_name();
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.cpu_quota_us = 1; /* the kernel's least is 1000 */
    cr_assert_eq(cgroup_create(&g, name, &spec, true, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.limit");
    cr_assert_eq(err.errnum, EINVAL);
    cr_assert_not_null(strstr(err.message, name), "%s", err.message);
    cr_assert_eq(count_dirs(name), 0);

    cr_assert_eq(cgroup_create(&g, name, &spec, false, &err), 0, "%s", err.message);
    expect(g, CTL_MEMORY, "memory.limit_in_bytes", "67108864", "memory.max", "67108864");
    remove_or_fail(g);
}

static void create_and_remove(void)
{
    for (int i = 0; i < 50; i++) {
        struct cgroup *g;
        if (cgroup_create(&g, fresh_name(), &spec, true, &err) < 0 || cgroup_remove(g, &err) < 0) {
            fprintf(stderr, "round %d: %s: %s\n", i, err.code, err.message);
            _exit(1);
        }
    }
    _exit(0);
}

Test(cgroup, creators_side_by_side)
{
    skip_without_cgroups();
    spec.resources.memory_bytes = 64 * MIB;
    spec.resources.processes = 8;
    pid_t pids[4];
    for (int i = 0; i < 4; i++) {
        if ((pids[i] = fork()) == 0)
            create_and_remove();
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(wait_status(pids[i]), 0);
}

Test(cgroup, without_a_group_everything_answers)
{
    /* as an ordinary user without delegation would have it */
    struct cgroup *g = calloc(1, sizeof *g);
    g->v2 = g->oom_fd = -1;
    g->name = strdup("none");
    struct cgroup_stats s;
    uint32_t events;
    int fd;
    cr_assert_eq(cgroup_v2_fd(g), -1);
    cr_assert_eq(cgroup_join_fds(g, &fd, 1), 0);
    cr_assert_eq(cgroup_enforced_by(g, CGROUP_MEMORY), MEANS_NONE);
    cr_assert_eq(cgroup_measured_by(g, CGROUP_CPU), MEANS_NONE);
    cr_assert_eq(cgroup_read_stats(g, &s), 0);
    cr_assert_eq(s.cpu_usec, 0);
    cr_assert_eq(cgroup_cpu_usec(g), -1);
    cr_assert_eq(cgroup_memory_event_fd(g, &events), -1);
    cr_assert_not(cgroup_memory_exceeded(g));
    cr_assert_eq(cgroup_kill(g), -1);
    cr_assert_eq(errno, ENOTSUP);
    cr_assert_eq(cgroup_freeze(g, true, &err), -1);
    cr_assert_eq(cgroup_update(g, &spec.resources, true, &err), 0);
    spec.resources.memory_bytes = MIB;
    cr_assert_eq(cgroup_update(g, &spec.resources, true, &err), -1);
    cr_assert_eq(cgroup_update(g, &spec.resources, false, &err), 0);
    cr_assert_eq(cgroup_remove(g, &err), 0);
}

/* A mount namespace of this test, where every cgroup mount is read-only. */
static void make_read_only(void)
{
    struct cgroup_layout l;
    cr_assert_eq(cgroup_layout_read(&l, &err), 0);
    cr_assert_eq(unshare(CLONE_NEWNS), 0);
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    for (size_t i = 0; i < l.mount_count; i++) {
        const char *at = l.mounts[i].point;
        if (mount(at, at, NULL, MS_BIND, NULL) == 0)
            cr_assert_eq(mount(NULL, at, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    }
    cgroup_layout_done(&l);
}

Test(cgroup, read_only_tree)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    make_read_only();
    struct cgroup *g;
    spec.resources.memory_bytes = 64 * MIB;
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, true, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.read_only");
    cr_assert_not_null(strstr(err.hint, "--best-effort"));
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, false, &err), 0, "%s", err.message);
    cr_assert_eq(cgroup_enforced_by(g, CGROUP_MEMORY), MEANS_NONE);
    remove_or_fail(g);
    /* no limit, no need */
    setup();
    g = create_or_fail();
    remove_or_fail(g);

    struct cgroup_ability a[8];
    int n = cgroup_abilities(a, 8);
    cr_assert_eq(n, 6);
    for (int i = 0; i < n; i++) {
        cr_assert_not(a[i].usable, "%s", a[i].controller);
        cr_assert_neq(a[i].fix[0], '\0', "%s", a[i].controller);
    }
}

Test(cgroup, v1_without_the_v2_tree)
{
    struct cgroup_layout l;
    const char *rel;
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert_eq(cgroup_layout_read(&l, &err), 0);
    const struct cgroup_mount *m = cgroup_find_mount(&l, CTL_COUNT, 0, &rel);
    if (l.own_v1[CTL_MEMORY] == NULL || m == NULL)
        cr_skip_test("this machine has no cgroup v1");
    cr_assert_eq(unshare(CLONE_NEWNS), 0);
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    cr_assert_eq(mount("none", m->point, "tmpfs", 0, NULL), 0);
    cgroup_layout_done(&l);

    spec.resources.memory_bytes = 64 * MIB;
    struct cgroup *g = create_or_fail();
    cr_assert_eq(cgroup_v2_fd(g), -1);
    cr_assert_eq(cgroup_measured_by(g, CGROUP_CPU), MEANS_CGROUP1);
    cr_assert_eq(cgroup_kill(g), -1);
    cr_assert_eq(errno, ENOTSUP);
    cr_assert_eq(wait_status(spawn(g, burn, NULL)), 0);
    int64_t used = cgroup_cpu_usec(g);
    cr_assert(used >= 300000 && used < 360000, "%ld", (long)used);
    volatile uint64_t *n = shared(sizeof *n);
    pid_t pid = spawn(g, count_up, (void *)(uintptr_t)n);
    while (*n == 0)
        sched_yield();
    cr_assert_eq(cgroup_freeze(g, true, &err), 0, "%s", err.message);
    uint64_t before = *n;
    for (int i = 0; i < 2000; i++)
        sched_yield();
    cr_assert_eq(*n, before, "it ran on");
    cr_assert_eq(cgroup_freeze(g, false, &err), 0, "%s", err.message);
    kill(pid, SIGKILL);
    wait_status(pid);
    remove_or_fail(g);

    /* without cgroup.kill, a sweep kills by the list of processes */
    char name[64];
    pid_t left;
    die_at_work(name, sizeof name, true, &left);
    cr_assert_geq(cgroup_sweep(NULL, &err), 0, "%s", err.message);
    while (count_dirs(name) > 0)
        sched_yield();
}

Test(cgroup, no_procfs)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert_eq(unshare(CLONE_NEWNS), 0);
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    cr_assert_eq(mount("none", "/proc", "tmpfs", 0, NULL), 0);
    struct cgroup *g;
    spec.resources.memory_bytes = 64 * MIB;
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, true, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.unreadable");
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, false, &err), 0);
    remove_or_fail(g);
    cr_assert_eq(umount2("/proc", MNT_DETACH), 0); /* the leak sanitizer looks there in the end */
}

Test(cgroup, an_ordinary_user_is_told_what_to_do)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert_eq(setresgid(12345, 12345, 12345), 0);
    cr_assert_eq(setresuid(12345, 12345, 12345), 0);
    struct cgroup *g;
    spec.resources.memory_bytes = 64 * MIB;
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, true, &err), -1);
    cr_assert_str_eq(err.code, "cgroup.not_delegated");
    cr_assert_not_null(strstr(err.message, "memory"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "12345"), "%s", err.message);
    cr_assert_neq(err.hint[0], '\0');
    cr_assert_eq(cgroup_create(&g, fresh_name(), &spec, false, &err), 0, "%s", err.message);
    remove_or_fail(g);
}

Test(cgroup, abilities_agree_with_creation)
{
    struct cgroup_ability a[8];
    int n = cgroup_abilities(a, 8);
    cr_assert_eq(n, 6);
    cr_assert_str_eq(a[0].controller, "memory");
    for (int i = 0; i < n; i++) {
        cr_assert(a[i].usable ? a[i].version != 0 : a[i].fix[0] != '\0', "%s", a[i].controller);
        cr_assert(!a[i].usable || a[i].where[0] == '/', "%s", a[i].controller);
    }
    spec.resources.memory_bytes = 64 * MIB;
    struct cgroup *g;
    int r = cgroup_create(&g, fresh_name(), &spec, true, &err);
    cr_assert_eq(r == 0, a[0].usable, "create %d, usable %d: %s", r, a[0].usable, err.message);
    if (r == 0)
        remove_or_fail(g);
}

Test(cgroup, the_usual_mount_is_what_mountinfo_says)
{
    _cleanup_layout_ struct cgroup_layout first = {0}, whole = {0};
    cr_assert_eq(cgroup_layout_begin(&first, &err), 0);
    if (first.mountinfo_text != NULL)
        cr_skip("no cgroup2 at a usual place, or a kernel without statmount");
    cr_assert_eq(first.mount_count, 1);
    cr_assert_eq(cgroup_layout_read(&whole, &err), 0);
    const struct cgroup_mount *m = &first.mounts[0];
    for (size_t i = 0; i < whole.mount_count; i++) {
        const struct cgroup_mount *w = &whole.mounts[i];
        if (strcmp(w->point, m->point) == 0 && w->dev == m->dev && w->version == 2) {
            cr_assert_str_eq(w->root, m->root);
            return;
        }
    }
    cr_assert_fail("mountinfo does not show a cgroup2 at %s", m->point);
}
