"""What the tests of this folder share: the command line as a client uses it, and what may be left of a sandbox.

The state directories are those of the environment (CLOCHE_ROOT, CLOCHE_RUN), so that two of these run side by side.
"""

import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent.parent
CLOCHE = str(CHECKOUT / os.environ.get("CLOCHE_BUILD", "build") / "cloche")
SCALE = int(os.environ.get("CLOCHE_TEST_SCALE", "1"))
ROOT = os.environ["CLOCHE_ROOT"] + "/sandboxes"
RUN = os.environ["CLOCHE_RUN"] + "/sandboxes"
DEADLINE_S = 60 * SCALE
TAG = f"-{os.getpid()}"  # of every id: its control groups are told from those of other worlds by it


class Broken(Exception):
    """Something is not as it should be."""


class Outcome:
    """How one command of the command line ended: its status, its output, the code of its error or None."""

    def __init__(self, arguments, status, output, errors):
        self.arguments, self.status, self.output, self.errors = arguments, status, output, errors
        self.code = self.message = None
        problems = []
        for line in errors.splitlines():
            try:
                problems.append(json.loads(line)["error"])
            except (ValueError, KeyError, TypeError):
                pass
        if len(problems) > 1:
            raise Broken(f"{self}: {len(problems)} errors")
        if problems:
            self.code, self.message = problems[0]["code"], problems[0]["message"]
            if not self.code or not self.message:
                raise Broken(f"{self}: an error without code or words")

    def __str__(self):
        text = self.code or self.errors.strip()
        return f"cloche {' '.join(self.arguments)}: {self.status}{' ' + text if text else ''}"

    def json(self):
        return json.loads(self.output)


def cloche(*arguments, data=None):
    """--json goes right behind the command's name."""
    arguments = [arguments[0], "--json", *arguments[1:]]
    try:
        done = subprocess.run([CLOCHE, *arguments], input=data, capture_output=True, timeout=DEADLINE_S, check=False,
                              stdin=subprocess.DEVNULL if data is None else None)
    except subprocess.TimeoutExpired as late:
        raise Broken(f"cloche {' '.join(arguments)}: no end after {DEADLINE_S} s") from late
    return Outcome(arguments, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def must(*arguments):
    outcome = cloche(*arguments)
    if outcome.status != 0:
        raise Broken(f"{outcome}: {outcome.message}")
    return outcome


def sandboxes():
    """All of them, as `list` shows them: by id, oldest first."""
    return {s["id"]: s for s in must("list").json()}


def wait_until(what, condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise Broken(f"after {DEADLINE_S} s still not: {what}")
        time.sleep(0.01)  # a condition of the machine, which has no event to wait for


def signal_process(pid, number, is_it):
    """Send a signal to that very process: looked at when it cannot be another one any more. False: it was gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_it(pid):
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except OSError:
        return False
    finally:
        os.close(pidfd)


def is_keeper(sandbox):
    def check(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == b"cloche-keeper\0" + sandbox.encode() + b"\0"
        except OSError:
            return False
    return check


def parent_is(parent):
    def check(pid):
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            return int(stat.rsplit(")", 1)[1].split()[1]) == parent
        except OSError:
            return False
    return check


def keepers():
    """Pids of this world's keepers, by sandbox: a lock on the state directory says whose it is."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = pathlib.Path(path).read_bytes().split(b"\0")
            if words[0] != b"cloche-keeper":
                continue
            pid = int(path.split("/")[2])
            environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if f"CLOCHE_ROOT={os.environ['CLOCHE_ROOT']}".encode() in environ:
            found.setdefault(words[1].decode(), []).append(pid)
    return found


def control_groups():
    """Ids of this world's sandboxes that have a control group: its name is sandbox-ID-DEVICE-INODE."""
    found = set()
    for depth in range(1, 6):
        for path in glob.glob("/sys/fs/cgroup/" + "*/" * depth + f"sandbox-*{TAG}-*"):
            found.add(os.path.basename(path).split("-", 1)[1].rsplit("-", 2)[0])
    return found


def left(ids):
    """Whatever is there of sandboxes that should be gone."""
    found = []
    for top in ROOT, RUN:
        for name in os.listdir(top) if os.path.isdir(top) else []:
            if name in ids or name.startswith("."):
                found.append(f"{top}/{name}")
    found += [f"keeper {pid} of {name}" for name, pids in keepers().items() if name in ids for pid in pids]
    found += [f"control group of {name}" for name in control_groups() if name in ids]
    return found


def expect_nothing_left(ids):
    """What a killed keeper was removing goes with the next listing."""
    wait_until(f"nothing left of {' '.join(sorted(ids))}: {left(ids)}", lambda: sandboxes() is not None and not left(ids))


def main(run):
    """run() -> text for the last line; the exit status."""
    try:
        print(run())
    except Broken as problem:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {problem}")
