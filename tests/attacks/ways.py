"""The ways in which a row of the table is run: its second column names a function here.

Each takes the bench of one test and returns a list of problems; none means that the attack bounced.
"""

import contextlib
import fcntl
import json
import os
import pty
import shutil
import socket
import stat
import subprocess
import termios
import time

from harness import STATUS_SKIP, Running, Skip, children_left, terminal_queue
from roots import hostile_root, make_special

REPORT_KEYS = {
    "verdict",
    "exit_code",
    "signal",
    "wall_ms",
    "cpu_ms",
    "user_ms",
    "system_ms",
    "memory_peak_bytes",
    "processes_peak",
    "stdout_bytes",
    "stderr_bytes",
    "blocked_syscall",
    "enforced_by",
    "measured_by",
    "detail",
}


def fill(bench, words, extra=None):
    """Put what only this run knows in the place of @names."""
    values = {
        "@attacks": bench.settings.attacks,
        "@marker": str(bench.marker),
        "@host": str(bench.host),
        "@vol": str(bench.volume),
        "@work": str(bench.work),
        "@dir": str(bench.dir),
        "@secret": bench.settings.secret[1:],
        "@hostname": os.uname().nodename,
        **(extra or {}),
    }
    filled = []
    for word in words:
        if word == "@users":
            filled += host_users()
            continue
        if "@bystander" in word:
            values["@bystander"] = str(bench.start_bystander())
        for name in sorted(values, key=len, reverse=True):
            word = word.replace(name, values[name])
        filled.append(word)
    return filled


def host_users():
    """Accounts that no invented /etc/passwd would have."""
    with open("/etc/passwd") as f:
        rows = [line.split(":") for line in f]
    return [row[0] for row in rows if len(row) > 2 and 1000 <= int(row[2]) < 65534][:20]


def judge(bench, finished, said=("contained",)):
    """Compare one run with its row."""
    row, patience = bench.test, bench.settings.patience
    bench.said = finished.stderr.decode(errors="replace") or f"{finished.verdict} {finished.status}"
    problems = [finished.problem] if finished.problem else []
    problems += finished.breaches()
    if finished.status == STATUS_SKIP and not problems:
        reasons = [line[6:] for line in finished.said() if line.startswith("skip: ")]
        raise Skip(reasons[0] if reasons else "the program gave no reason")
    if finished.verdict not in row.verdicts:
        problems.append(f"verdict {finished.verdict}, expected {' or '.join(sorted(row.verdicts))}")
    if row.exits is not None and finished.status not in row.exits:
        problems.append(f"status {finished.status}, expected {sorted(row.exits)}")
    report = finished.report
    if report is not None:
        if missing := REPORT_KEYS - report.keys():
            problems.append(f"the report lacks {sorted(missing)}")
        if report.get("blocked_syscall") != row.blocked and finished.verdict != "setup_error":
            problems.append(
                f"blocked_syscall {report.get('blocked_syscall')}, expected {row.blocked}"
            )
    elif finished.verdict != "setup_error":
        problems.append("no report")
    if finished.status == 0 and finished.said() != list(said):
        problems.append(f"printed {finished.said()[:5]}, expected {list(said)}")
    if finished.wall_ms > row.bound_ms * patience:
        problems.append(f"took {finished.wall_ms:.0f} ms, at most {row.bound_ms * patience:.0f}")
    if problems:
        tail = finished.stderr.decode(errors="replace").strip().splitlines()[-3:]
        notes = [line for line in finished.lines() if line.startswith(("note: ", "skip: "))][:5]
        problems += [f"  {line}" for line in notes + tail]
    return problems


def checked(bench, options=None, program=None, **kw):
    row = bench.test
    extra = kw.pop("extra", None)
    finished = bench.run(
        fill(bench, row.options if options is None else options, extra),
        fill(bench, row.program if program is None else program, extra),
        **kw,
    )
    return judge(bench, finished)


def once(bench):
    return checked(bench)


def alone(bench):
    """Takes something that the kernel counts by user, and the sandboxes of an ordinary user share: no
    other test runs beside it."""
    return checked(bench)


def tries(bench, text):
    """Fewer where everything is slow."""
    return max(10, int(int(text) / bench.settings.slow))


def repeat(bench):
    """A race needs many tries; the first problem ends it. The bound holds for each."""
    for _ in range(tries(bench, bench.test.way_argument)):
        problems = checked(bench)
        if problems:
            return problems
    return []


def leak_fds(bench):
    """The caller has descriptors open that are not close-on-exec."""
    fds = [os.open(path, os.O_RDONLY) for path in ("/", bench.host, bench.marker)]
    try:
        return checked(bench, pass_fds=fds)
    finally:
        for fd in fds:
            os.close(fd)


def stdio_files(bench):
    """Standard input and error are files of the caller, for reading and for writing."""
    error = bench.dir / "stderr"
    error.write_text("")
    bench.own(error)
    with open(bench.marker, "rb") as source, open(error, "wb") as sink:
        return checked(bench, stdin=source, stderr=sink)


def stdin_directory(bench):
    fd = os.open(bench.host, os.O_RDONLY)
    try:
        return checked(bench, stdin=fd)
    finally:
        os.close(fd)


def setid_made(bench):
    """Looks at the volume afterwards: a set-id file there is one of the caller's."""
    problems = checked(bench)
    for path in bench.volume.rglob("*"):
        if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID):
            problems.append(f"a set-id file of user {path.lstat().st_uid} was left: {path.name}")
    return problems


def device_nodes(bench):
    """Nodes that anybody may open lie on the volume and in the root."""
    if os.getuid() != 0:
        raise Skip("needs root")
    root = bench.make_dir("root", 0o777)
    (root / "attacks").mkdir()
    for place in (bench.volume, root):
        for name, kind, number in DEVICES:
            path = place / name
            os.mknod(path, kind | 0o666, os.makedev(*number))
            os.chmod(path, 0o666)
    return checked(bench, extra={"@root": str(root)})


def host_only(bench):
    """A program outside of the sandbox's root, for names that lead there."""
    copy = bench.host / "host-only"
    shutil.copy(f"{bench.settings.attacks}/fds/host-only", copy)
    bench.baseline()
    return checked(bench)


@contextlib.contextmanager
def listening():
    """The host listens: on 127.0.0.1 and on an abstract socket."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        name = f"cloche-attack-{os.getpid()}"
        unix.bind("\0" + name)
        unix.listen()
        yield {"@port": str(tcp.getsockname()[1]), "@abstract": name}


def listener(bench):
    with listening() as extra:
        return checked(bench, extra=extra)


def setid_file(bench):
    """A program with the set-id bits of whoever runs the tests."""
    path = bench.volume / "setid"
    shutil.copy(f"{bench.settings.attacks}/entering/setuid-file", path)
    bench.own(path)
    os.chmod(path, 0o6755)
    return checked(bench)


# --- hostile roots ---------------------------------------------------------------------------------


def rootfs(bench):
    root = hostile_root(bench, bench.test.way_argument)
    return checked(
        bench,
        options=["--rootfs", str(root), *bench.test.options],
        extra={"@root": str(root)},
    )


def rootfs_repeat(bench):
    """Many starts in the same hostile root, two at a time, so that one may meet the other's file busy."""
    kind, count, *complete = bench.test.way_argument.split(":")
    root = hostile_root(bench, kind)
    if complete:  # the program with everything, which `cloche` hands over to; it loads libraries
        bench.cloche = bench.settings.programs[1]
    options = ["--rootfs", str(root), *fill(bench, bench.test.options)]
    for _ in range(tries(bench, count) // 2):
        pair = [bench.start(options, fill(bench, bench.test.program)) for _ in range(2)]
        for running in pair:
            finished = running.wait()
            try:
                problems = judge(bench, finished)
            except Skip:
                problems = []  # the hand-over itself was refused: the best answer
            if problems:
                pair[1].wait()
                return problems
    return []


def bundle(bench):
    """A bundle as other runtimes have it: root, /sys, cgroup file systems, a few capabilities."""
    root = bench.make_dir("bundle/rootfs")
    (root / "attacks").mkdir()
    bench.own(root / "attacks")
    config = bench.dir / "bundle" / "config.json"
    shutil.copy(os.path.join(os.path.dirname(__file__), "bundle.json"), config)
    bench.own(config)
    return checked(bench, options=["--spec", str(config), *bench.test.options])


def flip(bench):
    """One sandbox exchanges a directory and a symlink on a volume, another one mounts into it."""
    left = tries(bench, bench.test.way_argument)
    (bench.volume / "a" / "x").mkdir(parents=True)
    os.symlink(bench.host / "directory", bench.volume / "b")
    for path in (bench.volume / "a", bench.volume / "a/x"):
        os.chmod(path, 0o777)
        bench.own(path)
    bench.own(bench.volume / "b")
    shared = ["-v", f"{bench.volume}:/vol"]
    flipper = bench.start(
        [*shared, "--timeout", "60s", "--cpu-time", "60s"],
        ["/attacks/rootfs/flip", "/vol/a", "/vol/b"],
        stdin=subprocess.PIPE,
        bound_ms=60000,
    )
    problems = []
    if not flipper.out.wait_for(b"flipping", 5 * bench.settings.patience):
        problems.append("the flipper did not start")
    started = 0
    while not problems and left > 0:
        left -= 1
        finished = bench.run([*shared, *fill(bench, bench.test.options)], fill(bench, bench.test.program))
        started += finished.status == 0
        problems = judge(bench, finished)
    flipper.process.stdin.close()
    problems += flipper.wait().breaches()
    if not problems and started == 0:
        problems.append("the mounting sandbox never came up, so nothing was proved")
    return problems


# --- terminals -------------------------------------------------------------------------------------


def take_terminal(fd):
    """Make it the controlling terminal of this new session. The number may have been another's until
    just now, and is then free a moment later."""
    for left in range(100, -1, -1):
        try:
            fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
            return
        except PermissionError:
            if left == 0:
                raise
            time.sleep(0.01)


def terminal(bench):
    """Run on a pseudo terminal of the runner's; afterwards its queue is empty, its settings the same."""
    primary, secondary = pty.openpty()
    try:
        settings = termios.tcgetattr(secondary)
        settings[3] &= ~(termios.ICANON | termios.ECHO)  # so that the queue can be counted
        termios.tcsetattr(secondary, termios.TCSANOW, settings)
        before = termios.tcgetattr(secondary)

        def control():
            take_terminal(secondary)

        options = fill(bench, bench.test.options)
        report = bench.work / "report-terminal.json"
        running = bench.start(
            options,
            fill(bench, bench.test.program),
            stdin=secondary,
            stdout=secondary,
            stderr=subprocess.PIPE if "-t" not in options else secondary,
            preexec_fn=control,
        )
        running.out = TerminalDrain(primary, secondary)
        finished = running.wait()
        report.unlink(missing_ok=True)
        problems = judge(bench, finished)
        if termios.tcgetattr(secondary) != before:
            problems.append("the caller's terminal settings were changed")
        if queued := terminal_queue(secondary):
            problems.append(f"{queued} bytes were pushed into the caller's terminal")
        return problems
    finally:
        os.close(primary)
        os.close(secondary)


class TerminalDrain:
    """What Running expects of a drain, over the runner's side of a terminal."""

    def __init__(self, primary, secondary):
        self._primary, self._secondary = primary, secondary

    def finish(self, _seconds):
        os.set_blocking(self._primary, False)
        kept = b""
        try:
            while chunk := os.read(self._primary, 65536):
                kept += chunk
        except (BlockingIOError, OSError):
            pass
        return kept.replace(b"\r\n", b"\n"), True


# --- neighbours ------------------------------------------------------------------------------------


def neighbours(bench):
    """`leave` in one sandbox, `find` in another: "at-once", or "in-turn" after the first has ended."""
    row = bench.test
    options, program = fill(bench, row.options), fill(bench, row.program)
    leaver = bench.start(
        options, [program[0], "leave", *program[1:]], stdin=subprocess.PIPE
    )
    problems = []
    ready = leaver.out.wait_for(b"ready\n", 5 * bench.settings.patience)

    def end_leaver():
        leaver.process.stdin.close()
        finished = leaver.wait()
        finished.wall_ms = 0  # it waited for the other one
        return judge(bench, finished, said=("ready", "contained"))

    if not ready or row.way_argument == "in-turn":
        problems += end_leaver()
    if not problems:
        problems += judge(bench, bench.run(options, [program[0], "find", *program[1:]]))
        if row.way_argument == "at-once":
            problems += end_leaver()
    elif row.way_argument == "at-once" and leaver.process.poll() is None:
        end_leaver()
    return problems


# --- the caller's end ------------------------------------------------------------------------------


def unread_output(bench):
    """The caller reads nothing until the end: no limit may wait for it."""
    read, write = os.pipe()
    try:
        return judge(bench, bench.run(bench.test.options, bench.test.program, stdout=write))
    finally:
        os.close(read)
        os.close(write)


def closed_output(bench):
    """The caller has closed its end, as `| head -1` does."""
    read, write = os.pipe()
    os.close(read)
    try:
        return judge(bench, bench.run(bench.test.options, bench.test.program, stdout=write))
    finally:
        os.close(write)


def killed_runtime(bench):
    """SIGKILL to the runtime itself: the tree goes with it, the next run sweeps what is left."""
    running = bench.start(bench.test.options, bench.test.program)
    came_up = running.out.wait_for(b"ready\n", 5 * bench.settings.patience)
    running.process.kill()
    finished = running.wait()
    if not came_up:
        return [f"the program did not come up: {finished.stderr[:200]!r}", *finished.breaches()]
    problems = finished.breaches() + children_left(2 * bench.settings.patience)
    swept = bench.run([], ["/attacks/kernel/personality"])
    if swept.status != 0:
        problems.append(f"the next run failed: {swept.stderr[:200]!r}")
    return problems


def distinct_ids(bench):
    """Two sandboxes at once have no id of the host in common."""
    if bench.settings.uid is not None or os.getuid() != 0:
        raise Skip("needs root")
    program = ["/attacks/neighbours/ids"]
    pair = [bench.start([], program, stdin=subprocess.PIPE) for _ in range(2)]
    maps, problems = [], []
    for running in pair:
        if not running.out.wait_for(b"ready\n", 5 * bench.settings.patience):
            problems.append("a sandbox did not come up")
        maps.append([int(word) for word in bytes(running.out.kept).split()[:3]])
    for running in pair:
        running.process.stdin.close()
        problems += running.wait().breaches()
    if not problems:
        (_, first, size), (_, second, _) = maps
        if abs(first - second) < size:
            problems.append(f"ids overlap: {maps}")
        if min(first, second) < 65536:
            problems.append(f"ids of the host's own users: {maps}")
    return problems


# --- what must be refused --------------------------------------------------------------------------


def judge_refusal(bench, finished):
    """One clear error, nothing started."""
    problems = [finished.problem] if finished.problem else []
    problems += finished.breaches()
    if finished.status not in bench.test.exits:
        problems.append(f"status {finished.status}, expected {sorted(bench.test.exits)}")
    text = finished.stderr.decode(errors="replace")
    bench.said = text
    if not text.startswith("cloche: "):
        problems.append(f"no error of Cloche's, but: {text[:200]!r}")
    if finished.stdout:
        problems.append(f"printed {finished.stdout[:100]!r}")
    if finished.wall_ms > bench.test.bound_ms * bench.settings.patience:
        problems.append(f"took {finished.wall_ms:.0f} ms")
    return problems


def refused(bench):
    """Every one of the options, given alone beside what it needs, is an error."""
    extra = {}
    for what in ("fifo", "socket", "sparse", "link"):
        make_special(bench.dir / what, what, bench)
        extra[f"@{what}"] = str(bench.dir / what)
    (bench.dir / "deep.json").write_text("[" * 100000)
    extra["@deep"] = str(bench.dir / "deep.json")
    bench.baseline()
    finished = bench.run(
        fill(bench, bench.test.options, extra), fill(bench, bench.test.program, extra)
    )
    return judge_refusal(bench, finished)


def refused_spec(bench):
    """A spec with one bad value, written over the one that `cloche spec` prints."""
    made = bench.popen([bench.settings.cloche, "spec", "--profile", "student"])
    printed = Running(made, None, 5000, bench.settings).wait()
    if printed.status != 0:
        return [f"cloche spec: status {printed.status}: {printed.stderr[:200]!r}"]
    spec = json.loads(printed.stdout)
    patch = " ".join(bench.test.options)
    merge(spec, json.loads(fill(bench, [patch])[0]))
    path = bench.dir / "bad.json"
    path.write_text(json.dumps(spec))
    bench.own(path)
    bench.baseline()
    finished = bench.run(["--spec", str(path)], fill(bench, bench.test.program))
    return judge_refusal(bench, finished)


def merge(into, patch):
    """JSON merge patch (RFC 7396)."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


# The kernel's memory and log, FUSE, the first loop device and the first disk.
DEVICES = [
    ("mem", stat.S_IFCHR, (1, 1)),
    ("kmsg", stat.S_IFCHR, (1, 11)),
    ("fuse", stat.S_IFCHR, (10, 229)),
    ("loop", stat.S_IFBLK, (7, 0)),
    ("disk", stat.S_IFBLK, (254, 0)),
]

WAYS = {
    "stdio-files": stdio_files,
    "stdin-directory": stdin_directory,
    "setid-made": setid_made,
    "device-nodes": device_nodes,
    "unread-output": unread_output,
    "closed-output": closed_output,
    "killed-runtime": killed_runtime,
    "distinct-ids": distinct_ids,
    "once": once,
    "alone": alone,
    "repeat": repeat,
    "leak-fds": leak_fds,
    "host-only": host_only,
    "listener": listener,
    "setid": setid_file,
    "rootfs": rootfs,
    "rootfs-repeat": rootfs_repeat,
    "bundle": bundle,
    "flip": flip,
    "terminal": terminal,
    "neighbours": neighbours,
    "refused": refused,
    "refused-spec": refused_spec,
}
