"""Shows that an attack can succeed: every row with a proof is run in a place that is weaker on
purpose, and has to report a breach there. A row's last column says which place:

  args WORDS      the same sandbox, but the program is told that less is allowed
  with OPTIONS    the same sandbox with these options beside the row's
  outside         no sandbox of Cloche's, but one of unshare(1) and setpriv(1): namespaces for PIDs,
                  mounts and IPC, an ordinary user, an empty /tmp and /dev/shm, and nothing else
"""

import os
import pty

from harness import STATUS_BREACH, STATUS_SKIP, Running, Skip
from ways import TerminalDrain, fill, listening, take_terminal

# Root prepares the mounts; the attack then runs as nobody. A descriptor (7) and a process of the
# same user are there to be found.
PREPARE = r"""
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p "/mnt/${1%/*}"
cp "$2/$1" "/mnt/$1"
chown 65534 "/mnt/$1"
for place in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
cd /
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \
    prlimit --as=1073741824 --nproc=200 --cpu=10 -- sh -c "$3" "$@"
"""
ATTACK = r"""
exec 7</
sleep 100 & other=$!
shift 2
status=0
"$@" || status=$?
kill -9 $other 2>/dev/null
exit $status
"""
NEIGHBOURS = r"""
shift 2
program=$1
shift
mkfifo /tmp/hold
"$program" leave "$@" </tmp/hold >/tmp/said &
exec 8>/tmp/hold
until grep -q ready /tmp/said; do :; done
status=0
"$program" find "$@" || status=$?
exec 8>&-
wait
exit $status
"""


def run(bench):
    kind, _, rest = bench.test.proof.partition(" ")
    if kind == "outside":
        finished = outside(bench)
    else:
        options = fill(bench, bench.test.options)
        program = fill(bench, bench.test.program)
        if kind == "args":
            program = [program[0], *rest.split()]
        else:
            options += fill(bench, rest.split())
        finished = bench.run(options, program)
    if finished.status == STATUS_SKIP:
        raise Skip(" ".join(finished.said()))
    if finished.status == STATUS_BREACH and finished.breaches():
        return []
    text = (finished.stdout + finished.stderr).decode(errors="replace")
    return [f"no breach where there has to be one: status {finished.status}: {text[:300]!r}"]


def outside(bench):
    if os.getuid() != 0:
        raise Skip("needs root")
    program = bench.test.program
    name = program[0].removeprefix("/attacks/")
    with listening() as extra:
        extra |= {"@marker": "/etc/passwd", "@host": "/etc"}
        return outside_of(bench, name, fill(bench, program[1:], extra))


def outside_of(bench, name, arguments):
    words = [f"/mnt/{name}", *arguments]
    words = [w.replace("/attacks/", "/mnt/") for w in words]
    script = NEIGHBOURS if bench.test.way == "neighbours" else ATTACK
    argv = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    argv += ["sh", "-c", PREPARE, "sh", name, bench.settings.attacks, script, *words]
    user, bench.settings.uid = bench.settings.uid, None
    try:
        if bench.test.way == "terminal":
            return on_terminal(bench, argv)
        return Running(bench.popen(argv), None, 20000, bench.settings).wait()
    finally:
        bench.settings.uid = user


def on_terminal(bench, argv):
    primary, secondary = pty.openpty()
    try:
        os.chown(os.ttyname(secondary), 65534, -1)

        def control():
            take_terminal(secondary)

        process = bench.popen(
            argv, stdin=secondary, stdout=secondary, stderr=secondary, preexec_fn=control
        )
        running = Running(process, None, 20000, bench.settings)
        running.out = TerminalDrain(primary, secondary)
        return running.wait()
    finally:
        os.close(primary)
        os.close(secondary)
