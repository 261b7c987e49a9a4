"""Starts sandboxes for the attack corpus and looks after the host.

Theory of operation. Every test runs in one of a few worker processes, one test at a time. A worker is
a child subreaper: whatever a runtime leaves running becomes its child, so that "nothing left" is
"no children". Mounts, network links and System V objects are compared over the whole namespace, which
the runner has made private; control groups by the pids of the runtimes that the test started. What
must never change on the host (the runtime's digest, core_pattern, the marker files) is read before
and after every test.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time

STATUS_BREACH, STATUS_SKIP = 66, 77
KEEP_BYTES = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


class Skip(Exception):
    """This test cannot be tried here; the reason is printed and counted."""


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Settings:
    """What is the same for all tests of this run."""

    def __init__(self, programs, attacks, top, slow, uid=None, best_effort=False):
        self.programs = [str(p) for p in programs]
        self.cloche = self.programs[0]
        self.attacks = str(attacks)
        self.top = pathlib.Path(top)
        self.slow = slow
        self.uid = uid
        self.best_effort = best_effort
        self.secret = "S7c1f-caller-token"

    @property
    def patience(self):
        """What deadlines are multiplied by: more than asked for where others keep the CPUs busy."""
        return max(self.slow, os.getloadavg()[0] / (os.cpu_count() or 1))


class Finished:
    """One run of the runtime that has ended."""

    def __init__(self, process, stdout, stderr, report, wall_ms, problem=None):
        self.pid = process.pid
        self.status = process.returncode
        self.stdout, self.stderr = stdout, stderr
        self.report = report
        self.wall_ms = wall_ms
        self.problem = problem

    @property
    def verdict(self):
        if self.report is not None:
            return self.report.get("verdict")
        return "setup_error" if self.status in (2, 125) else None

    def lines(self):
        return self.stdout.decode(errors="replace").splitlines()

    def breaches(self):
        found = [line for line in self.lines() if line.startswith("BREACH")]
        if self.status == STATUS_BREACH and not found:
            found = ["BREACH by status alone"]
        return found

    def said(self):
        """What the program printed, without notes."""
        return [line for line in self.lines() if not line.startswith("note: ")]


class Drain:
    """Reads a pipe to its end, keeps the beginning; a flood must not fill the runner's memory."""

    def __init__(self, stream):
        self.kept, self.size = bytearray(), 0
        self._stream = stream
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with self._stream as stream:
            while chunk := stream.read1(1 << 16):
                with self._changed:
                    self.size += len(chunk)
                    self.kept += chunk[: KEEP_BYTES - len(self.kept)]
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, text, seconds):
        end = time.monotonic() + seconds
        with self._changed:
            while text not in self.kept:
                left = end - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return text in self.kept
                self._changed.wait(min(left, 0.2))
        return True

    def finish(self, seconds):
        self._thread.join(seconds)
        return bytes(self.kept), not self._thread.is_alive()


class Running:
    """A runtime that was started and not yet waited for."""

    def __init__(self, process, report_path, bound_ms, settings):
        self.process = process
        self.started = time.monotonic()
        self.out = Drain(process.stdout) if process.stdout else None
        self.err = Drain(process.stderr) if process.stderr else None
        self._report_path = report_path
        self._bound_ms = bound_ms
        self._slow = settings.patience

    def wait(self):
        deadline = self._bound_ms * self._slow / 1000 + 5
        problem = None
        try:
            self.process.wait(max(0.1, deadline - (time.monotonic() - self.started)))
        except subprocess.TimeoutExpired:
            problem = f"did not end within {deadline:.1f} s and was killed"
            self.process.kill()
            self.process.wait()
        wall_ms = (time.monotonic() - self.started) * 1000
        stdout, out_ended = self.out.finish(2 * self._slow) if self.out else (b"", True)
        stderr, err_ended = self.err.finish(2 * self._slow) if self.err else (b"", True)
        if not (out_ended and err_ended):
            problem = problem or "somebody holds its output open after its end"
        report = None
        if self._report_path is not None:
            try:
                report = json.loads(self._report_path.read_text())
            except FileNotFoundError:
                pass
            except ValueError as e:
                problem = problem or f"the report is no JSON: {e}"
        return Finished(self.process, stdout, stderr, report, wall_ms, problem)


class Bench:
    """The place of one test: its directories, what it starts, and what has to be in order afterwards."""

    def __init__(self, settings, test):
        self.settings, self.test = settings, test
        self.cloche = settings.cloche
        self.pids = []
        self.count = 0
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="t.", dir=settings.top))
        os.chmod(self.dir, 0o755)
        self.work = self.make_dir("work")  # the runtime's working directory
        self.volume = self.make_dir("volume", 0o777)
        self.host = self.make_dir("host")  # stands for the host's files; must not change
        self.marker = self.host / "marker"
        self.marker.write_text("a file of the host\n")
        self.own(self.marker)
        (self.host / "directory").mkdir()
        self.own(self.host / "directory")
        self.bystander = None
        self.said = ""  # what the runtime said last, for --verbose

    def make_dir(self, name, mode=0o755):
        path = self.dir / name
        path.mkdir(parents=True)
        os.chmod(path, mode)
        self.own(path)
        return path

    def own(self, path):
        if self.settings.uid is not None:
            os.chown(path, self.settings.uid, self.settings.uid, follow_symlinks=False)

    def environment(self):
        state = self.settings.top / "state"
        sanitizers = {k: v for k, v in os.environ.items() if k == "ASAN_OPTIONS"}
        return sanitizers | {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.settings.top / "home"),
            "TMPDIR": str(self.work),
            "XDG_RUNTIME_DIR": str(self.settings.top / "run"),
            "CLOCHE_ROOT": str(state),
            "CLOCHE_ATTACK_SECRET": self.settings.secret,
        }

    def popen(self, argv, **kw):
        identity = {}
        if self.settings.uid is not None and os.getuid() == 0:
            identity = {
                "user": self.settings.uid,
                "group": self.settings.uid,
                "extra_groups": [],
            }
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("start_new_session", True)
        process = subprocess.Popen(
            argv, cwd=self.work, env=self.environment(), umask=0o022, **identity, **kw
        )
        self.pids.append(process.pid)
        return process

    def start(self, options, program, base=True, bound_ms=None, **kw):
        """Start `cloche run`; @base: with the options that all tests share."""
        argv = [self.cloche, "run"]
        report = None
        if base:
            self.count += 1
            report = self.work / f"report-{self.count}.json"
            argv += ["--report", str(report)]
            if "--profile" not in options and "--spec" not in options:
                argv += ["--profile", "student"]
                if self.settings.slow > 1 and not {"--cpu-time", "--timeout"} & set(options):
                    seconds = int(self.settings.slow * 2)  # the profile's limits are real time
                    argv += ["--cpu-time", f"{seconds}s", "--timeout", f"{seconds * 5}s"]
            if "--rootfs" not in options and "bundle" not in self.test.way:
                argv += ["--rootfs", "empty"]
            argv += ["-v", f"{self.settings.attacks}:/attacks:ro"]
            if self.settings.best_effort:
                argv += ["--best-effort"]
        argv += [*options, *(["--", *program] if program else [])]
        process = self.popen(argv, **kw)
        return Running(process, report, bound_ms or self.test.bound_ms, self.settings)

    def run(self, options, program, **kw):
        return self.start(options, program, **kw).wait()

    def start_bystander(self):
        """A process outside, of the same user, that has to survive."""
        if self.bystander is None:
            self.bystander = self.popen(["sleep", "1000"])
            self.pids.remove(self.bystander.pid)
        return self.bystander.pid

    def close(self):
        """Ends what the test itself started; returns problems."""
        problems = []
        if self.bystander is not None:
            if self.bystander.poll() is not None:
                problems.append("the bystander outside was killed")
            else:
                self.bystander.kill()
                self.bystander.wait()
        problems += children_left(2 * self.settings.patience)
        problems += cgroups_left(self.pids, 2 * self.settings.patience)
        problems += self.work_left()
        return problems

    def work_left(self):
        """A core file, a scribble: nothing but reports may be in the runtime's working directory."""
        return [
            f"left in the working directory: {p.name}"
            for p in self.work.iterdir()
            if not p.name.startswith("report-")
        ]

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def wait_for_an_end(pids, seconds):
    """Until one of these children has ended."""
    poller, pidfds = select.poll(), []
    for pid in pids:
        try:
            pidfds.append(os.pidfd_open(pid))
        except ProcessLookupError:  # reaped by somebody, or a grandchild that came and went
            continue
        poller.register(pidfds[-1], select.POLLIN)
    poller.poll(max(0, seconds) * 1000)
    for fd in pidfds:
        os.close(fd)


def children_left(seconds):
    """Waits for children to go; names and kills those that stay."""
    end = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0 and time.monotonic() > end:
            break
        if pid == 0:
            wait_for_an_end(list_children(), end - time.monotonic())
    problems = []
    for pid in list_children():
        name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        problems.append(f"left running: process {pid} ({name})")
        os.kill(pid, signal.SIGKILL)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return problems


def list_children():
    found = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def cgroup_mounts():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            if right.startswith("cgroup"):
                yield left.split()[4]


def cgroups_left(pids, seconds):
    """Groups run-<pid>-<n> of the runtimes that this test started."""
    own = {f"run-{pid}" for pid in pids}
    end = time.monotonic() + seconds
    while True:
        found = []
        for mount in cgroup_mounts():
            for path, directories, _ in os.walk(mount):
                for name in directories:
                    if name.rpartition("-")[0] in own:
                        found.append(os.path.join(path, name))
        if not found or time.monotonic() > end:
            return [f"left over: control group {path}" for path in found]
        time.sleep(0.01)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def identity(path):
    """Changes with every write, change of mode or replacement; the digest is compared at the end."""
    st = os.stat(path)
    return (st.st_ino, st.st_size, st.st_mode, st.st_mtime_ns, st.st_ctime_ns)


def tree(path):
    """Everything below @path: kind, mode, owner, size, contents."""
    found = {}
    for where, directories, files in os.walk(path):
        for name in [".", *directories, *files]:
            full = os.path.join(where, name)
            st = os.lstat(full)
            contents = pathlib.Path(full).read_bytes() if stat.S_ISREG(st.st_mode) else b""
            found[os.path.normpath(full)] = (st.st_mode, st.st_uid, st.st_gid, st.st_rdev, contents)
    return found


def read_or_none(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return None


class Invariants:
    """What no sandbox may change on the host."""

    FILES = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/domainname",
        "/proc/sys/kernel/sysrq",
        "/proc/sys/vm/overcommit_memory",
    ]
    SHARED = ["/dev/shm", "/dev/mqueue", "/run/netns"]

    def __init__(self, settings, bench):
        self.facts = {f"the file {path}": identity(path) for path in settings.programs}
        for path in self.FILES:
            self.facts[path] = read_or_none(path)
        self.facts["the host's marker directory"] = tree(bench.host)
        self.sets = {"mount": self.mounts(settings), "object": self.objects()}

    @staticmethod
    def mounts(settings):
        private = os.environ.get("CLOCHE_TEST_PRIVATE")
        found = set()
        with open("/proc/self/mountinfo") as f:
            for line in f:
                fields = line.split()
                if private or str(settings.top) in line:
                    found.add(f"{fields[3]} on {fields[4]}")
        return found

    @classmethod
    def objects(cls):
        found = set()
        for place in cls.SHARED:
            try:
                found |= {
                    f"{place}/{name}" for name in os.listdir(place) if "cloche" in name or "bomb" in name
                }
            except OSError:
                pass
        if os.environ.get("CLOCHE_TEST_PRIVATE"):
            for kind in ("shm", "sem", "msg"):
                lines = (read_or_none(f"/proc/sysvipc/{kind}") or "").splitlines()[1:]
                found |= {f"System V {kind} {line.split()[1]}" for line in lines}
            lines = (read_or_none("/proc/self/net/dev") or "").splitlines()[2:]
            found |= {f"network interface {line.split(':')[0].strip()}" for line in lines}
        return found

    def compare(self, after):
        problems = [
            f"changed on the host: {name}"
            for name, value in self.facts.items()
            if after.facts[name] != value
        ]
        for kind, members in self.sets.items():
            problems += [f"left over: {kind} {m}" for m in sorted(after.sets[kind] - members)]
        return problems


def terminal_queue(fd):
    """How many bytes wait to be read from a terminal."""
    size = fcntl.ioctl(fd, 0x541B, b"\0\0\0\0")  # FIONREAD
    return int.from_bytes(size, "little")
