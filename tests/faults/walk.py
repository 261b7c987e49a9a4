#!/usr/bin/env python3
"""Makes each system call of a launch fail in turn, and judges what became of it.

  walk.py WORK CLOCHE INJECT PROBE OPTION...      the options of `cloche run`; WORK is mounted at /m

First two runs without a fault, with a root of the sandbox's own and with a template's: what the probe says then is the
complete sandbox. Then a run for each call of the parent, of init and of the program up to its exec. Either the program
did not run (no mark), the status is 125 and stderr is one line that says what could not be done; or the call is in the
table of harmless ones below, and the probe says the very same as in one of the two. In both cases no control group is
left. Prints the cases that went wrong and a summary.

Another test beside this one may make the machine a crowded one for a while, or end that: a launch then makes other
calls. A call that did not come is waited for in further runs, and few may be missed.

Where the machine is a crowded one (isolation/bare.c) the parent may also die of it that there is no way back.
WALK_TEMPLATE=1: each run makes its template anew, as one that was asked for before.
"""
import concurrent.futures, errno, glob, json, os, re, shutil, subprocess, sys

work, cloche, inject, probe = sys.argv[1:5]
options = sys.argv[5:]
# Whose calls: the complete program begins with hundreds of calls of its loader.
template_anew = "WALK_TEMPLATE" in os.environ
roles = os.environ.get("WALK_ROLES", "parent init program").split()
# Wide enough for a machine under emulation; not a measure.
deadline_s = 20 * float(os.environ.get("CLOCHE_TEST_SCALE", "1"))

# These cannot fail: the kernel has no path on which they return an error, or what they do is done all the same.
cannot_fail = {
    "close": "releases the descriptor whatever it returns",
    "getpid": "", "getppid": "", "geteuid": "", "getuid": "", "getegid": "", "getgid": "", "gettid": "", "umask": "",
    "exit_group": "", "exit": "", "set_tid_address": "", "arch_prctl": "", "rseq": "", "set_robust_list": "",
    "execve parent": "the launch has not begun",
    "sched_yield": "", "clock_gettime": "", "brk": "malloc then asks mmap",
    "munmap": "of one's own mapping",
    "kill parent": "of one's own child",
    "futex parent": "libc waits for its own thread",
    "rt_sigaction parent": "constant arguments", "rt_sigprocmask parent": "constant arguments",
}

# Fails, and the sandbox is complete all the same. "role syscall" -> why.
harmless = {
    "parent access": "a profile that is not installed: the one compiled in holds",
    "parent faccessat": "what a killed maker of a template left: the next run sees it",
    "parent faccessat2": "one cgroup hierarchy: the CPU time is counted by another",
    "parent clone": "a network made ahead: the clone makes one; a template",
    "parent socket": "by which that is opened: /proc has it, too",
    "parent mprotect": "the stack of that thread",
    "parent sched_getaffinity": "the same", "parent sched_setaffinity": "it begins behind its maker",
    "parent capget": "libcap asks for the version of the interface",
    "parent eventfd2": "the event of the memory limit: the verdict is then read at the end",
    "parent fchown": "the program's pipe: it can write, only not open it again by its name",
    "parent fcntl": "close-on-exec, which open has set already",
    "parent flock": "the mark of a living creator: its pid says the same",
    "parent fstat": "a group's hierarchy, or whether a stream is a pipe",
    "parent getdents64": "groups of dead runs: the next run sweeps them",
    "parent landlock_create_ruleset": "a kernel without Landlock: the wall behind the mounts is not there",
    "parent lseek": "groups of dead runs",
    "parent lstat": "whether it is a directory: a Landlock rule less",
    "parent mkdirat": "a slice that is there already, or another hierarchy",
    "parent mmap": "a guard page of the heap, or a larger buffer",
    "parent mount_setattr": "a read-only volume without an id map still serves what all may read",
    "parent open_tree": "a template: init makes a root of its own",
    "parent open": "/etc/subuid, or one cgroup hierarchy: there is another way",
    "parent openat": "a slice is made, then opened again; the event of the memory limit",
    "parent prlimit64": "whether a core limit of 0 would do: it is not asked for here",
    "parent prctl": "the number of capabilities: the kernel says it again when they are dropped",
    "parent read": "/etc/subuid: blocks of the default range",
    "parent readlink": "whether a path has symlinks",
    "parent seccomp": "a kernel without notifications: the call then ends the program, too",
    "parent sysinfo": "whether the machine is crowded: init comes to its root in another way",
    "parent statx": "the one mount of cgroup2: all of mountinfo is read instead",
    "parent 457": "statmount, the same", "parent statmount": "the same",
    "parent wait4": "the helper of an id map, reaped at the end",
    "parent write": "the swap limit is written again with the reason; the event of the memory limit",
    "parent ioctl": "the size of the terminal's window",
    "parent epoll_ctl": "input of a terminal that cannot be watched is read at once",
    "init fcntl": "close-on-exec, which open has set already",
    "init fchownat": "an overlay's directory for an owner that is not mapped is init's own",
    "program fcntl": "close-on-exec, which dup has set already; a stream without a Landlock rule",
    "program fstat": "a stream without a Landlock rule", "program newfstatat": "the same, by glibc",
    "program prctl": "the first capability that there is none of: asked for again",
    "program futex": "the wait for the new root: asked again until it is there",
    "init futex": "the wake-up or the wait for the program's process: it looks again",
    "program rt_sigprocmask": "libc around its clone()",
}

if template_anew:  # without one, init makes a root of its own
    harmless |= dict.fromkeys((f"parent {call}" for call in "pread64 pwrite64 openat2 mknodat mknod mkdir symlinkat symlink fchmod "
                               "renameat rename unlinkat rmdir unlink".split()), "a template")

harmless |= dict.fromkeys((f"parent {call}" for call in "unshare setns fchdir chroot umount2 move_mount".split()), "a bare namespace: init pivots")
no_way_back = {"parent setns", "parent fchdir", "parent chroot"}

# The one who should tell is the one who cannot: the other side sees only that.
silent = {"init sendmsg", "init recvmsg", "program sendmsg", "doorstep sendmsg"}

errnos = {"EPERM": errno.EPERM, "ENOSYS": errno.ENOSYS}
# What an old kernel or a filter around us may not have.
new_calls = {"clone3", "openat2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr",
             "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp", "close_range",
             "pidfd_open", "pidfd_send_signal", "memfd_create", "statx"}


def run(case, *arguments):
    here = os.path.join(work, str(case))
    os.mkdir(here, 0o755)
    os.chmod(here, 0o777)
    command = [inject, *arguments, os.path.join(here, "pid"), cloche, "run", *options,
               "-v", f"{here}:/m:rw", "-v", f"{probe}:/probe:ro", "--report", f"{here}/report", "--", "/probe", "/m/ran", outside]
    environment = dict(os.environ)
    if case == "own":  # where no template can be
        environment["CLOCHE_RUN"] = f"{work}/none"
    elif template_anew:
        environment["CLOCHE_RUN"] = f"{here}/run"
        if case != "asked":
            shutil.copytree(f"{work}/asked/run", f"{here}/run")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, stdin=subprocess.DEVNULL, env=environment)
    except subprocess.TimeoutExpired as e:
        return here, 124, "", f"hangs ({e})", False
    return here, done.returncode, done.stdout, done.stderr, os.path.exists(os.path.join(here, "ran"))


def seen(output, here):
    try:
        with open(os.path.join(here, "report")) as f:
            by = json.load(f)
    except OSError:
        by = {}
    return output.replace(here, "HERE").replace(run_dir, "RUN") + f"enforced {by.get('enforced_by')} measured {by.get('measured_by')}\n".replace("cgroup1", "cgroup").replace("cgroup2", "cgroup")


def injected(here):
    """The pid of the command, and whether the call was met."""
    try:
        with open(os.path.join(here, "pid")) as f:
            pid, met = f.read().split()
    except (OSError, ValueError):
        return None, True
    return pid, met == "met"


def left(pid):
    return [g for s in slices for g in glob.glob(f"{s}/run-{pid}-*")]


def judge(case):
    number, role, call, n, error = case
    name = f"{role} {call} #{n} {error}"
    for attempt in range(5):
        here, status, output, message, ran = run(f"{number}.{attempt}", role, call, str(n), str(errnos[error]))
        pid, met = injected(here)
        if met:
            break
    lines = message.splitlines()
    wrong = []
    if not met and ran and status == 0 and seen(output, here) in references:
        return name, wrong, message.strip(), None
    if f"{role} {call}" in no_way_back and status == 128 + 6 and not ran and len(lines) == 1 and "cannot return" in message:
        return name, wrong, message.strip(), ran
    if ran:
        if f"{role} {call}" not in harmless:
            wrong.append("the program ran")
        if status != 0:
            wrong.append(f"it ran, and the status is {status}")
        if seen(output, here) not in references:
            wrong.append("it ran in another sandbox:\n" + "\n".join(
                f"      {a!r} for {b!r}" for a, b in zip(seen(output, here).splitlines() + ["-"] * 99, references[-1].splitlines()) if a != b))
    else:
        if status not in (125, 126, 127) or (status != 125 and not (role == "program" and call == "execve")):
            wrong.append(f"the status is {status}")
        if len(lines) != 1 or not lines[0].startswith("cloche: "):
            wrong.append("not one line")
        elif f"{role} {call}" not in silent and re.search(r"died|: Success|: No error|unknown", message):
            wrong.append("no clear line")
    if pid is None:
        wrong.append("inject did not end well")
    elif call not in ("rmdir", "unlinkat") and left(pid):
        wrong.append(f"left over: {left(pid)}")
    return name, wrong, message.strip(), ran


outside = " ".join(os.readlink(f"/proc/self/ns/{n}") for n in ("user", "pid", "mnt", "ipc", "uts", "net", "cgroup"))
run_dir, references = os.environ["CLOCHE_RUN"], []
os.mkdir(f"{work}/none")
open(f"{work}/none/templates", "w").close()
for case in "own", "asked", "first", "list":  # the first makes what the others find
    here, status, output, message, ran = run(case, "list")
    if status != 0 or not ran:
        sys.exit(f"without a fault: status {status}, {message}")
    references.append(seen(output, here))
with open(os.path.join(here, "pid")) as f:
    listed = [line.split() for line in f]
slices = [d for d in glob.glob("/sys/fs/cgroup/**/cloche.slice", recursive=True)]

cases = []
for role, call, count in listed:
    if role not in roles or call in cannot_fail or f"{call} {role}" in cannot_fail:
        continue
    for error in errnos:
        if error == "EPERM" or call in new_calls:
            cases += [(len(cases) + i, role, call, i + 1, error) for i in range(int(count))]
bad, ran_count, missed = 0, 0, 0
with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("CLOCHE_TEST_JOBS", "2"))) as pool:
    for name, wrong, message, ran in pool.map(judge, cases):
        ran_count += ran is True
        missed += ran is None
        if wrong:
            bad += 1
            print(f"{name}: {'; '.join(wrong)}\n    {message}")
print(f"{len(cases)} faults, {len(cases) - ran_count - missed} refused, {ran_count} harmless, {missed} missed, {bad} wrong")
sys.exit(1 if bad or len(cases) < 100 or missed > len(cases) / 20 else 0)
